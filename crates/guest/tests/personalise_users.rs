//! Users as the real useradd would make them: compared with useradd itself where it can run, and
//! judged by pwck and grpck.

use crate::personalise_support::*;
use stampo_core::personalisation::{Personalisation, User};
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{FileKind, GuestRead, Owner};
use stampo_guest::personalise::PersonaliseError;

fn with_users(users: Vec<User>) -> Personalisation {
    Personalisation {
        users,
        ..request("a")
    }
}

fn line(tree: &TreeFixture, path: &str, name: &str) -> String {
    let text = text(tree, path);
    let start = format!("{name}:");
    text.lines()
        .find(|line| line.starts_with(&start))
        .map(str::to_owned)
        .unwrap_or_default()
}

#[test]
fn a_new_user_in_every_file() {
    let mut tree = debian();
    let app = User {
        groups: vec!["sudo".into()],
        sudo: true,
        password_hash: Some(HASH.into()),
        ..user("app")
    };
    run(&mut tree, &with_users(vec![app]));
    assert_eq!(
        line(&tree, "/etc/passwd", "app"),
        "app:x:1001:1001::/home/app:/bin/bash"
    );
    assert_eq!(
        line(&tree, "/etc/shadow", "app"),
        format!("app:{HASH}:20454:0:99999:7:::")
    );
    assert_eq!(line(&tree, "/etc/group", "app"), "app:x:1001:");
    assert_eq!(line(&tree, "/etc/gshadow", "app"), "app:!::");
    assert_eq!(line(&tree, "/etc/group", "sudo"), "sudo:x:27:old,app");
    assert_eq!(line(&tree, "/etc/gshadow", "sudo"), "sudo:*::old,app");
    assert_eq!(line(&tree, "/etc/subuid", "app"), "app:165536:65536");
    assert_eq!(line(&tree, "/etc/subgid", "app"), "app:165536:65536");
    assert_eq!(
        text(&tree, "/etc/sudoers.d/90-stampo-app"),
        "app ALL=(ALL:ALL) NOPASSWD: ALL\n"
    );
    assert_eq!(owner(&tree, "/etc/sudoers.d/90-stampo-app"), (0o440, 0, 0));
}

#[test]
fn the_home_is_a_copy_of_skel_that_belongs_to_the_user() {
    let mut tree = debian();
    run(&mut tree, &with_users(vec![user("app")]));
    assert_eq!(owner(&tree, "/home/app"), (0o755, 1001, 1001));
    assert_eq!(
        owner(&tree, "/home/app/.config/app/settings"),
        (0o644, 1001, 1001)
    );
    assert_eq!(text(&tree, "/home/app/.config/app/settings"), "a=1\n");
    assert_eq!(
        tree.metadata("/home/app/.link").expect("there").kind,
        FileKind::Symlink
    );
    let mut strict = debian().file("/etc/login.defs", "HOME_MODE 0700\nUMASK 022\n");
    run(&mut strict, &with_users(vec![user("app")]));
    assert_eq!(owner(&strict, "/home/app"), (0o700, 1001, 1001));
}

#[test]
fn keys_for_root_and_users() {
    let mut tree = debian();
    let own = KEY.replace("me@host", "own@host");
    let app = User {
        ssh_authorized_keys: vec![own.clone(), KEY.into()],
        ..user("app")
    };
    let request = Personalisation {
        ssh_authorized_keys: vec![KEY.into()],
        ..with_users(vec![app])
    };
    run(&mut tree, &request);
    assert_eq!(
        text(&tree, "/root/.ssh/authorized_keys"),
        format!("{KEY}\n")
    );
    assert_eq!(owner(&tree, "/root/.ssh/authorized_keys"), (0o600, 0, 0));
    assert_eq!(owner(&tree, "/root/.ssh"), (0o700, 0, 0));
    assert_eq!(
        text(&tree, "/home/app/.ssh/authorized_keys"),
        format!("{KEY}\n{own}\n")
    );
    assert_eq!(
        owner(&tree, "/home/app/.ssh/authorized_keys"),
        (0o600, 1001, 1001)
    );
    assert_eq!(owner(&tree, "/home/app/.ssh"), (0o700, 1001, 1001));
}

#[test]
fn root_is_locked_unless_a_hash_is_given() {
    let mut tree = debian();
    run(&mut tree, &request("a"));
    assert_eq!(
        line(&tree, "/etc/shadow", "root"),
        "root:*:20454:0:99999:7:::"
    );
    run(
        &mut tree,
        &Personalisation {
            root_password_hash: Some(HASH.into()),
            ..request("a")
        },
    );
    assert_eq!(
        line(&tree, "/etc/shadow", "root"),
        format!("root:{HASH}:20454:0:99999:7:::")
    );
}

#[test]
fn an_existing_user_is_changed_and_keeps_the_rest() {
    let mut tree = debian()
        .file("/home/old/notes", "mine")
        .file("/bin/sh", "elf");
    let old = User {
        password_hash: Some(HASH.into()),
        shell: Some("/bin/sh".into()),
        uid: Some(1000),
        ..user("old")
    };
    run(&mut tree, &with_users(vec![old]));
    assert_eq!(
        line(&tree, "/etc/passwd", "old"),
        "old:x:1000:1000:Old,,,:/home/old:/bin/sh"
    );
    assert_eq!(
        line(&tree, "/etc/shadow", "old"),
        format!("old:{HASH}:20454:0:99999:7:::")
    );
    assert_eq!(text(&tree, "/home/old/notes"), "mine");
}

#[test]
fn lines_of_others_stay_to_the_byte() {
    let latin = b"root:x:0:0:r\xf6\xf6t:/root:/bin/bash\n+::::::\n\nodd line\n".to_vec();
    let mut tree = debian().file("/etc/passwd", &latin);
    run(&mut tree, &with_users(vec![user("app")]));
    let now = bytes(&tree, "/etc/passwd");
    assert!(now.starts_with(&latin), "{}", String::from_utf8_lossy(&now));
    assert_eq!(
        &now[latin.len()..],
        b"app:x:1000:1001::/home/app:/bin/bash\n"
    );
}

#[test]
fn wrong_users_are_refused() {
    let group = with_users(vec![User {
        groups: vec!["ghosts".into()],
        ..user("app")
    }]);
    assert!(matches!(
        refusal(debian(), &group),
        PersonaliseError::UnknownGroup { .. }
    ));
    let shell = with_users(vec![User {
        shell: Some("/bin/fish".into()),
        ..user("app")
    }]);
    assert!(matches!(
        refusal(debian(), &shell),
        PersonaliseError::UnknownShell { .. }
    ));
    let taken = with_users(vec![User {
        uid: Some(1000),
        ..user("app")
    }]);
    let error = refusal(debian(), &taken);
    assert!(error.to_string().contains("the user old has it"), "{error}");
    let moved = with_users(vec![User {
        uid: Some(2000),
        ..user("old")
    }]);
    assert!(matches!(
        refusal(debian(), &moved),
        PersonaliseError::UserId { .. }
    ));
    let mut bare = debian();
    stampo_guest::fs::GuestFs::remove_all(&mut bare, "/etc/sudoers.d").expect("there");
    let sudo = with_users(vec![User {
        sudo: true,
        ..user("app")
    }]);
    assert!(matches!(
        refusal(bare, &sudo),
        PersonaliseError::NoSudo { .. }
    ));
    let full = debian().file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 1000\n");
    let mut full_too = full.clone();
    let error = stampo_guest::personalise::personalise(
        &mut full_too,
        &with_users(vec![user("app")]),
        &secrets(1),
        &context(1),
    );
    assert!(matches!(error, Err(PersonaliseError::NoFreeId { .. })));
}

/// The checkers of the shadow suite find nothing wrong. They read copies and need no root.
#[test]
fn pwck_and_grpck_are_content() {
    let mut tree = debian();
    let users = (1..=5).map(|n| User {
        groups: vec!["sudo".into()],
        ..user(&format!("app-{n}"))
    });
    run(&mut tree, &with_users(users.collect()));
    let copy = tempfile::tempdir().expect("a directory");
    let put = |name: &str| {
        let path = copy.path().join(name);
        std::fs::write(&path, bytes(&tree, &format!("/etc/{name}"))).expect("written");
        path.to_str().expect("text").to_owned()
    };
    // -q leaves out what is about this host: missing homes and shells.
    let pwck = output("pwck", &["-r", "-q", &put("passwd"), &put("shadow")]);
    assert!(
        pwck.status.success(),
        "{}",
        String::from_utf8_lossy(&pwck.stdout)
    );
    let grpck = output("grpck", &["-r", &put("group"), &put("gshadow")]);
    let said = String::from_utf8_lossy(&grpck.stdout).into_owned();
    // It looks members up in this host's own passwd; everything else counts.
    let about_host = ["no user", "delete member", "no changes"];
    let wrong: Vec<&str> = said
        .lines()
        .filter(|line| !about_host.iter().any(|part| line.contains(part)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        said.contains("group sudo: no user app-5"),
        "grpck did not read the copy: {said}"
    );
}

/// The same lines as useradd writes with `--prefix`, which needs no root when the files are ours.
#[test]
fn the_same_as_useradd() {
    let before = debian();
    let copy = tempfile::tempdir().expect("a directory");
    let etc = copy.path().join("etc");
    std::fs::create_dir(&etc).expect("made");
    let files = [
        "passwd",
        "shadow",
        "group",
        "gshadow",
        "subuid",
        "subgid",
        "login.defs",
    ];
    for name in files {
        std::fs::write(etc.join(name), bytes(&before, &format!("/etc/{name}"))).expect("written");
    }
    let prefix = copy.path().to_str().expect("text");
    let made = output(
        "useradd",
        &[
            "--prefix",
            prefix,
            "-U",
            "-M",
            "-s",
            "/bin/bash",
            "-G",
            "sudo",
            "app",
        ],
    );
    let message = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "useradd: {message}");
    let mut after = debian();
    run(
        &mut after,
        &with_users(vec![User {
            groups: vec!["sudo".into()],
            ..user("app")
        }]),
    );
    for name in &files[..6] {
        let theirs = std::fs::read_to_string(etc.join(name)).expect("readable");
        let ours = text(&after, &format!("/etc/{name}"));
        assert_eq!(comparable(&ours), comparable(&theirs), "/etc/{name}");
    }
}

/// Lines without what must differ: the day, and how "no password" is written.
fn comparable(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() == 9 {
            fields[2] = "day";
            let locked = ["!", "*"].contains(&fields[1]) || fields[0] == "root";
            fields[1] = if locked { "locked" } else { fields[1] };
        }
        lines.push(fields.join(":"));
    }
    lines
}

#[test]
fn a_home_that_is_a_link_is_not_followed_for_keys() {
    let mut tree = debian()
        .dir_as(
            "/home/old",
            Owner {
                uid: 1000,
                gid: 1000,
                mode: 0o755,
            },
        )
        .link("/home/old/.ssh", "/etc/ssh");
    let old = User {
        ssh_authorized_keys: vec![KEY.into()],
        ..user("old")
    };
    let result = stampo_guest::personalise::personalise(
        &mut tree,
        &with_users(vec![old]),
        &secrets(1),
        &context(1),
    );
    assert!(
        result.is_err(),
        "keys must not go through a link that the user owns"
    );
    assert!(!tree.exists("/etc/ssh/authorized_keys").expect("readable"));
}
