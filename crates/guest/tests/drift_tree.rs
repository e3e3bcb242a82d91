//! Drift of trees in memory: what is found, what it is called, and what is no drift.

use proptest::prelude::*;
use stampo_guest::drift::{Baseline, Change, Class, Drift, Options, Recorder, compare};
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{GuestFs, Owner};
use std::collections::BTreeMap;

const STATUS: &str = "Package: bash\nVersion: 5\nArchitecture: amd64\nStatus: install ok installed\n\n\
                      Package: cron\nVersion: 3\nArchitecture: amd64\nStatus: install ok installed\n\n";

/// A small Debian.
fn version() -> TreeFixture {
    TreeFixture::new()
        .file("/etc/os-release", "ID=debian\n")
        .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        .file_as("/etc/shadow", "root:!:1::::::\n", Owner::root(0o640))
        .file("/etc/ssh/sshd_config", "PermitRootLogin no\n")
        .file("/etc/crontab", "# none\n")
        .file("/etc/motd", "hello\n")
        .file("/etc/machine-id", "")
        .file_as("/usr/bin/bash", "ELF bash", Owner::root(0o755))
        .file_as("/usr/bin/cron", "ELF cron", Owner::root(0o755))
        .file("/usr/share/doc/bash/README", "read me")
        .link("/usr/bin/sh", "bash")
        .file("/usr/lib/systemd/system/cron.service", "[Service]\n")
        .dir("/etc/sudoers.d")
        .dir_as("/tmp", Owner::root(0o1777))
        .file("/var/log/syslog", "a\n")
        .file("/var/lib/dpkg/status", STATUS)
        .file(
            "/var/lib/dpkg/info/bash.list",
            "/usr/bin/bash\n/usr/bin/sh\n/usr/share/doc/bash/README\n",
        )
        .file(
            "/var/lib/dpkg/info/cron.list",
            "/usr/bin/cron\n/usr/lib/systemd/system/cron.service\n/etc/crontab\n",
        )
}

fn drift(guest: &TreeFixture) -> Drift {
    compare(&version(), guest, &Baseline::default(), &Options::default())
}

fn put(guest: &mut TreeFixture, path: &str, content: &str, mode: u32) {
    let (parent, _) = path.rsplit_once('/').expect("absolute");
    guest
        .create_dir_all(&format!("{parent}/"), Owner::root(0o755))
        .expect("directories");
    guest
        .write(path, content.as_bytes(), Owner::root(mode))
        .expect("write");
}

/// What is done to the guest, and what it is to be called.
type Plant = (&'static str, fn(&mut TreeFixture), Class, Change);

fn write(guest: &mut TreeFixture, path: &str) {
    put(guest, path, "planted", 0o644);
}

const PLANTS: &[Plant] = &[
    (
        "/etc/ssh/sshd_config",
        |g| write(g, "/etc/ssh/sshd_config"),
        Class::Security,
        Change::Changed,
    ),
    (
        "/etc/shadow",
        |g| put(g, "/etc/shadow", "root::1::::::\n", 0o640),
        Class::Security,
        Change::Changed,
    ),
    (
        "/etc/sudoers.d/evil",
        |g| write(g, "/etc/sudoers.d/evil"),
        Class::Security,
        Change::Added,
    ),
    (
        "/root/.ssh/authorized_keys",
        |g| write(g, "/root/.ssh/authorized_keys"),
        Class::Security,
        Change::Added,
    ),
    (
        "/home/ann/.ssh/authorized_keys",
        |g| write(g, "/home/ann/.ssh/authorized_keys"),
        Class::Security,
        Change::Added,
    ),
    (
        "/etc/ld.so.preload",
        |g| write(g, "/etc/ld.so.preload"),
        Class::Security,
        Change::Added,
    ),
    (
        "/etc/systemd/system/evil.service",
        |g| write(g, "/etc/systemd/system/evil.service"),
        Class::Security,
        Change::Added,
    ),
    (
        "/etc/cron.d/evil",
        |g| write(g, "/etc/cron.d/evil"),
        Class::Security,
        Change::Added,
    ),
    (
        "/usr/local/share/ca-certificates/evil.crt",
        |g| write(g, "/usr/local/share/ca-certificates/evil.crt"),
        Class::Security,
        Change::Added,
    ),
    (
        "/tmp/suid",
        |g| put(g, "/tmp/suid", "ELF", 0o4755),
        Class::Security,
        Change::Added,
    ),
    (
        "/usr/bin/bash",
        |g| put(g, "/usr/bin/bash", "ELF evil", 0o755),
        Class::Security,
        Change::Changed,
    ),
    (
        "/usr/bin/sh",
        |g| g.symlink("/usr/bin/sh", "/tmp/evil").expect("link"),
        Class::Security,
        Change::Changed,
    ),
    (
        "/usr/bin/cron",
        |g| assert!(g.remove("/usr/bin/cron").expect("gone")),
        Class::Security,
        Change::Removed,
    ),
    (
        "/etc/passwd",
        |g| {
            g.set_owner("/etc/passwd", Owner::root(0o666))
                .expect("mode")
        },
        Class::Security,
        Change::Changed,
    ),
    (
        "/etc/motd",
        |g| write(g, "/etc/motd"),
        Class::Config,
        Change::Changed,
    ),
    (
        "/usr/local/bin/tool",
        |g| put(g, "/usr/local/bin/tool", "x", 0o755),
        Class::Foreign,
        Change::Added,
    ),
    (
        "/var/lib/x/tool",
        |g| put(g, "/var/lib/x/tool", "x", 0o755),
        Class::Foreign,
        Change::Added,
    ),
    (
        "/var/log/syslog",
        |g| write(g, "/var/log/syslog"),
        Class::Expected,
        Change::Changed,
    ),
    (
        "/etc/machine-id",
        |g| write(g, "/etc/machine-id"),
        Class::Expected,
        Change::Changed,
    ),
    (
        "/srv/data/file",
        |g| write(g, "/srv/data/file"),
        Class::Expected,
        Change::Added,
    ),
];

#[test]
fn each_plant_alone_is_found_and_called_by_its_name() {
    for (path, plant, class, change) in PLANTS {
        let mut guest = version();
        plant(&mut guest);
        let found = drift(&guest);
        let at = found.findings.iter().find(|one| one.path == *path);
        let at = at.unwrap_or_else(|| panic!("{path} was not found: {found:?}"));
        assert_eq!((at.class, at.change), (*class, *change), "{path}: {at:?}");
        for other in found.findings.iter().filter(|one| one.path != *path) {
            let is_parent = path.starts_with(&format!("{}/", other.path));
            assert!(is_parent, "{path} brought {other:?}");
            assert!(other.class >= *class, "{path} brought {other:?}");
        }
        assert_eq!(found.unknowns, Vec::<String>::new(), "{path}");
    }
}

#[test]
fn nothing_is_found_where_nothing_was_done() {
    let found = drift(&version());
    assert_eq!((found.findings, found.packages), (Vec::new(), Vec::new()));
    let mut touched = version();
    put(&mut touched, "/etc/motd", "hello\n", 0o644);
    let found = drift(&touched);
    assert_eq!(
        found.findings,
        Vec::new(),
        "the same content in another inode"
    );
    assert_eq!(found.candidates, 1);
}

#[test]
fn a_package_explains_what_came_with_it_but_not_who_gets_in() {
    let mut guest = version();
    put(
        &mut guest,
        "/var/lib/dpkg/status",
        &STATUS.replace("Version: 3", "Version: 4"),
        0o644,
    );
    let list = "/usr/bin/cron\n/usr/lib/systemd/system/cron.service\n/etc/crontab\n/etc/sudoers.d/cron\n/usr/bin/new\n";
    put(&mut guest, "/var/lib/dpkg/info/cron.list", list, 0o644);
    put(&mut guest, "/usr/bin/cron", "ELF cron 4", 0o755);
    put(&mut guest, "/usr/bin/new", "ELF", 0o755);
    put(
        &mut guest,
        "/usr/lib/systemd/system/cron.service",
        "[Service]\nX=1\n",
        0o644,
    );
    guest
        .create_dir_all(
            "/etc/systemd/system/multi-user.target.wants",
            Owner::root(0o755),
        )
        .expect("directories");
    guest
        .symlink(
            "/etc/systemd/system/multi-user.target.wants/cron.service",
            "/lib/systemd/system/cron.service",
        )
        .expect("link");
    put(
        &mut guest,
        "/etc/sudoers.d/cron",
        "cron ALL=(ALL) ALL\n",
        0o440,
    );
    put(&mut guest, "/usr/share/doc/bash/README", "evil", 0o644);
    let found = drift(&guest);
    let names: Vec<_> = found.packages.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["cron:amd64"]);
    assert_eq!(
        (
            found.packages[0].before.as_deref(),
            found.packages[0].after.as_deref()
        ),
        (Some("3"), Some("4"))
    );
    let security: Vec<_> = found.paths(Class::Security).into_iter().collect();
    assert_eq!(
        security,
        ["/etc/sudoers.d/cron", "/usr/share/doc/bash/README"]
    );
    assert!(found.paths(Class::Package).contains("/usr/bin/cron"));
    assert!(found.paths(Class::Package).contains("/usr/bin/new"));
}

#[test]
fn another_name_of_a_file_that_decides_who_gets_in_is_found() {
    let version = version();
    let mut guest = version.clone();
    guest.hard_link("/etc/shadow", "/var/tmp-notes");
    let found = compare(&version, &guest, &Baseline::default(), &Options::default());
    let security = found.paths(Class::Security);
    assert!(security.contains("/var/tmp-notes"), "{found:?}");
}

#[test]
fn what_can_not_be_seen_is_unknown_and_not_gone() {
    let guest = version().damaged("/usr/share");
    let found = drift(&guest);
    assert!(
        found
            .unknowns
            .iter()
            .any(|line| line.contains("/usr/share")),
        "{found:?}"
    );
    let gone: Vec<_> = found.findings.iter().map(|one| one.path.as_str()).collect();
    assert!(!gone.contains(&"/usr/share/doc/bash/README"), "{gone:?}");
}

#[test]
fn what_was_written_before_the_guest_ran_is_no_drift_until_it_is_changed() {
    let mut recorder = Recorder::new(Box::new(version()));
    recorder
        .write("/etc/ssh/sshd_config", b"Port 2222\n", Owner::root(0o600))
        .expect("write");
    recorder
        .create_dir_all("/root/.ssh", Owner::root(0o700))
        .expect("make");
    recorder
        .write(
            "/root/.ssh/authorized_keys",
            b"ssh-ed25519 A\n",
            Owner::root(0o600),
        )
        .expect("write");
    recorder.remove("/etc/motd").expect("remove");
    let baseline = recorder.baseline().expect("read");
    let text = serde_json::to_string(&baseline).expect("JSON");
    let kept: Baseline = serde_json::from_str(&text).expect("what was written");
    assert_eq!(kept, baseline);
    let after = |edit: fn(&mut TreeFixture)| {
        let mut guest = version();
        put(&mut guest, "/etc/ssh/sshd_config", "Port 2222\n", 0o600);
        guest
            .create_dir_all("/root/.ssh", Owner::root(0o700))
            .expect("make");
        put(
            &mut guest,
            "/root/.ssh/authorized_keys",
            "ssh-ed25519 A\n",
            0o600,
        );
        guest.remove("/etc/motd").expect("remove");
        edit(&mut guest);
        let found = compare(&version(), &guest, &kept, &Options::default());
        let changes = found.findings.into_iter().map(|one| (one.path, one.change));
        changes.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(after(|_| {}), BTreeMap::new());
    let found = after(|guest| {
        put(guest, "/etc/ssh/sshd_config", "PermitRootLogin no\n", 0o644);
        guest.remove("/root/.ssh/authorized_keys").expect("remove");
        put(guest, "/etc/motd", "hello\n", 0o644);
    });
    let expected = [
        ("/etc/motd", Change::Added),
        ("/etc/ssh/sshd_config", Change::Changed),
        ("/root/.ssh/authorized_keys", Change::Removed),
    ];
    let expected = expected.map(|(path, change)| (path.to_owned(), change));
    assert_eq!(found, BTreeMap::from(expected), "going back is drift too");
}

#[test]
fn only_rights_of_programs_among_attributes_are_of_class_security() {
    let version = TreeFixture::new().dir("/var/lib").dir("/usr/bin");
    let mut recorder = Recorder::new(Box::new(version.clone()));
    for path in ["/var/lib/seed", "/usr/bin/ping"] {
        recorder
            .write(path, b"x", Owner::root(0o644))
            .expect("write");
    }
    let baseline = recorder.baseline().expect("read");
    let guest = version
        .file("/var/lib/seed", "x")
        .file("/usr/bin/ping", "x")
        .xattr("/var/lib/seed", "user.random-seed-creditable", b"1")
        .xattr("/usr/bin/ping", "security.capability", b"1");
    let found = compare(&TreeFixture::new(), &guest, &baseline, &Options::default());
    let security: Vec<_> = found.paths(Class::Security).into_iter().collect();
    assert_eq!(security, ["/usr/bin/ping"], "{found:?}");
}

#[test]
fn what_was_accepted_is_no_drift_any_more() {
    let mut guest = version();
    write(&mut guest, "/etc/cron.d/job");
    guest.remove("/etc/motd").expect("remove");
    let found = drift(&guest);
    let mut baseline = Baseline::default();
    baseline.accept(&guest, &found.findings).expect("read");
    let again = compare(&version(), &guest, &baseline, &Options::default());
    assert_eq!(again.findings, Vec::new());
    write(&mut guest, "/etc/cron.d/job");
    put(&mut guest, "/etc/cron.d/job", "another", 0o644);
    let later = compare(&version(), &guest, &baseline, &Options::default());
    assert_eq!(later.paths(Class::Security).len(), 1, "{later:?}");
}

/// One edit of a file in a small world.
#[derive(Debug, Clone)]
enum Edit {
    Write(usize, String),
    Remove(usize),
    Mode(usize, u32),
}

const PATHS: [&str; 6] = [
    "/etc/a",
    "/etc/b",
    "/usr/bin/c",
    "/var/d",
    "/opt/e",
    "/home/f",
];

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..PATHS.len();
    prop_oneof![
        (at.clone(), "[ab]{0,3}").prop_map(|(at, text)| Edit::Write(at, text)),
        at.clone().prop_map(Edit::Remove),
        (at, prop_oneof![Just(0o600), Just(0o644), Just(0o755)])
            .prop_map(|(at, mode)| Edit::Mode(at, mode)),
    ]
}

proptest! {
    /// Whatever is done: exactly what is different in the end is found, with and without reading
    /// everything.
    #[test]
    fn exactly_what_is_different_is_found(edits in prop::collection::vec(edit(), 0..12)) {
        let start = PATHS[..4].iter().fold(TreeFixture::new(), |tree, path| tree.file(path, "ab"))
            .dir("/opt").dir("/home");
        let (mut guest, mut model) = (start.clone(), BTreeMap::new());
        for path in &PATHS[..4] {
            model.insert(*path, ("ab".to_owned(), 0o644));
        }
        let first = model.clone();
        for edit in edits {
            match edit {
                Edit::Write(at, text) => {
                    guest.write(PATHS[at], text.as_bytes(), Owner::root(0o644)).expect("write");
                    model.insert(PATHS[at], (text, 0o644));
                }
                Edit::Remove(at) => {
                    guest.remove(PATHS[at]).expect("remove");
                    model.remove(PATHS[at]);
                }
                Edit::Mode(at, mode) => if let Some(entry) = model.get_mut(PATHS[at]) {
                    guest.set_owner(PATHS[at], Owner::root(mode)).expect("mode");
                    entry.1 = mode;
                },
            }
        }
        let differ: Vec<&str> =
            PATHS.into_iter().filter(|path| first.get(path) != model.get(path)).collect();
        for paranoid in [false, true] {
            let options = Options { paranoid, ..Options::default() };
            let found = compare(&start, &guest, &Baseline::default(), &options);
            let mut paths: Vec<&str> = found.findings.iter().map(|one| one.path.as_str()).collect();
            paths.sort_by_key(|path| PATHS.iter().position(|one| one == path));
            prop_assert_eq!(&paths, &differ);
        }
    }
}

#[test]
fn the_guide_has_the_table_of_classes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/drift.md");
    let guide = std::fs::read_to_string(path).expect("docs/guide/drift.md");
    let begin = guide.find("| Class | What | Where |").expect("the table");
    let end = begin + guide[begin..].find("\n\n").expect("its end") + 1;
    let table = stampo_guest::drift::guide_table();
    if guide[begin..end] != table && std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{}{table}{}", &guide[..begin], &guide[end..]);
        std::fs::write(path, page).expect("write the guide");
        return;
    }
    assert_eq!(
        &guide[begin..end],
        table,
        "make it again with UPDATE_DOCS=1, running this test"
    );
}
