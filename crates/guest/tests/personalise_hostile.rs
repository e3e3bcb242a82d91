//! A guest that lays traps at every path that personalising writes: nothing is written through a
//! link, and what can't be replaced is an error.

use crate::personalise_support::*;
use stampo_core::personalisation::{Network, Personalisation, User};
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{FileKind, GuestRead};
use stampo_guest::personalise::{GuestSecrets, personalise};
use std::sync::OnceLock;

const BAIT: &str = "untouched";

fn everything() -> Personalisation {
    Personalisation {
        ssh_authorized_keys: vec![KEY.into()],
        users: vec![User {
            sudo: true,
            ..user("app")
        }],
        root_password_hash: Some(HASH.into()),
        networks: vec![Network::Static {
            address: "192.0.2.10/24".parse().expect("valid"),
            gateway: None,
            dns: vec!["192.0.2.53".parse().expect("valid")],
        }],
        time_zone: Some("Europe/Rome".into()),
        first_boot_script: Some("true".into()),
        user_data: Some("#cloud-config\n".into()),
        ..request("a")
    }
}

fn guest() -> TreeFixture {
    debian_with_cloud_init().file("/bait", BAIT)
}

/// Every path that is written on a friendly guest.
fn written() -> Vec<String> {
    let mut context = context(1);
    context.grow_root = true;
    let mut tree = guest();
    let report = personalise(&mut tree, &everything(), &secrets(1), &context).expect("good");
    let mut paths: Vec<String> = report
        .written
        .into_iter()
        .filter(|path| tree.exists(path).expect("readable"))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Personalises a tree with a trap; the trap may make it fail but never panic or hit the bait.
fn spring(mut tree: TreeFixture, path: &str) -> Result<TreeFixture, String> {
    let mut context = context(1);
    context.grow_root = true;
    // Made once: a key costs a tenth of a second in an unoptimised build.
    static SECRETS: OnceLock<GuestSecrets> = OnceLock::new();
    let secrets = SECRETS.get_or_init(|| secrets(1));
    let result = personalise(&mut tree, &everything(), secrets, &context);
    assert_eq!(
        text(&tree, "/bait"),
        BAIT,
        "written through the trap at {path}"
    );
    result.map(|_| tree).map_err(|error| error.to_string())
}

/// Links that are ours, and files that are left alone behind a link: those that are rewritten only
/// where they name something, or that a guest need not have.
fn may_stay_a_link(path: &str) -> bool {
    // A home that exists is the template's and gets no skeleton, but keys.
    let home = path.starts_with("/home/app/") && !path.contains("/.ssh/");
    let ours = ["/etc/localtime", "/var/lib/dbus/machine-id"];
    let left_alone = [
        "/etc/resolv.conf",
        "/etc/fstab",
        "/etc/gshadow",
        "/etc/subuid",
        "/etc/subgid",
        "/etc/postfix/main.cf",
    ];
    home || ours.contains(&path) || left_alone.contains(&path) || path.contains(".wants/")
}

#[test]
fn links_at_every_written_path_are_replaced() {
    let paths = written();
    assert!(paths.len() > 30, "{paths:?}");
    let mut traps = Vec::new();
    for path in &paths {
        for target in ["/bait", "../../../../../../bait", "/nowhere/at/all"] {
            // A file that is read first, as passwd is, may be unusable behind such a link.
            let Ok(tree) = spring(guest().link(path, target), path) else {
                continue;
            };
            let kind = tree.metadata(path).expect("written").kind;
            if kind != FileKind::File && !may_stay_a_link(path) {
                traps.push(format!("{path} -> {target}"));
            }
        }
    }
    assert!(traps.is_empty(), "still links: {traps:#?}");
}

#[test]
fn special_files_and_directories_at_every_written_path() {
    for path in &written() {
        let _ = spring(guest().special(path), path);
        let mut with_directory = guest();
        if with_directory.exists(path).expect("readable") {
            stampo_guest::fs::GuestFs::remove_all(&mut with_directory, path).expect("removed");
        }
        let error = spring(with_directory.dir(&format!("{path}/in/the/way")), path);
        assert!(
            error.is_err() || path.starts_with("/home/app"),
            "{path} is a directory"
        );
    }
}

#[test]
fn parents_that_are_links_stay_inside() {
    // The link ends at the guest's own root: the tree has no way out of itself, and the strace
    // test of the ext4 writer shows the same for real disks.
    let mut tree = guest();
    stampo_guest::fs::GuestFs::remove_all(&mut tree, "/etc/iscsi").expect("removed");
    let tree = tree
        .dir("/elsewhere")
        .link("/etc/iscsi", "../../../../elsewhere");
    let tree = spring(tree, "/etc/iscsi").expect("a link to a directory is fine");
    assert!(
        tree.exists("/elsewhere/initiatorname.iscsi")
            .expect("readable")
    );
}

#[test]
fn nothing_in_a_file_of_the_guest_becomes_a_line_of_ours() {
    let evil = "InitiatorName=iqn.x:y\nInitiatorName=iqn.evil:z\n[Service]\nExecStart=/evil\n";
    let mut tree = guest().file("/etc/iscsi/initiatorname.iscsi", evil);
    run(&mut tree, &everything());
    let name = text(&tree, "/etc/iscsi/initiatorname.iscsi");
    assert!(
        name.starts_with("InitiatorName=iqn.x:") && name.lines().count() == 1,
        "{name}"
    );
}

#[test]
fn lines_can_not_be_injected_by_a_request() {
    let tries: [fn(&mut Personalisation, &str); 6] = [
        |r, s| r.hostname = s.into(),
        |r, s| r.users = vec![user(s)],
        |r, s| {
            r.users = vec![User {
                shell: Some(format!("/bin/{s}")),
                ..user("app")
            }]
        },
        |r, s| r.root_password_hash = Some(format!("$6$a${s}")),
        |r, s| r.ssh_authorized_keys = vec![format!("ssh-ed25519 AAAA {s}")],
        |r, s| r.time_zone = Some(s.into()),
    ];
    for (index, set) in tries.iter().enumerate() {
        for bad in ["a\nroot2::0:0::/:/bin/sh", "a\0b", "a\rb"] {
            let mut wrong = everything();
            set(&mut wrong, bad);
            let mut tree = guest();
            let before = text(&tree, "/etc/passwd");
            let result = personalise(&mut tree, &wrong, &secrets(1), &context(1));
            assert!(result.is_err(), "field {index} takes {bad:?}");
            assert_eq!(text(&tree, "/etc/passwd"), before);
        }
    }
}

#[test]
fn a_damaged_guest_is_an_error() {
    for path in [
        "/etc/passwd",
        "/etc/hosts",
        "/etc/network/interfaces",
        "/etc/fstab",
    ] {
        let damaged = guest().damaged(path);
        assert!(spring(damaged, path).is_err(), "{path} is damaged");
    }
}
