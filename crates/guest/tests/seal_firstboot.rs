//! The first-boot script, run by a real shell in a directory that stands for the clone's root. The
//! programs that make keys are stand-ins that leave a mark: what is tested is the script.

use stampo_guest::fs::GuestRead;
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::seal::{Selection, apply, firstboot, plan};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A sealed guest that has every program that a step may need.
fn script() -> String {
    let mut tree = TreeFixture::new()
        .file("/etc/mailname", "web\n")
        .file("/etc/hostid", "abcd");
    for program in [
        "/usr/lib/systemd/systemd",
        "/usr/sbin/sshd",
        "/usr/sbin/iscsi-iname",
        "/usr/sbin/nvme",
        "/usr/sbin/zgenhostid",
        "/usr/sbin/make-ssl-cert",
        "/usr/sbin/popularity-contest",
        "/usr/bin/dropbearkey",
        "/usr/bin/hostname",
        "/etc/dropbear/dropbear_ed25519_host_key",
    ] {
        tree = tree.file(program, "x");
    }
    tree = tree.file(
        "/etc/popularity-contest.conf",
        "MY_HOSTID=\"1\"\nPARTICIPATE=\"yes\"\n",
    );
    let plan = plan(&tree, &Selection::default()).expect("readable");
    apply(&mut tree, &plan).expect("applies");
    String::from_utf8(tree.read(firstboot::SCRIPT_PATH, 1 << 16).expect("made")).expect("text")
}

/// A clone's root with stand-ins for the programs.
struct Clone {
    root: tempfile::TempDir,
}

const PROGRAMS: [(&str, &str); 8] = [
    ("ssh-keygen", "echo new > ROOT/etc/ssh/ssh_host_ed25519_key"),
    ("dropbearkey", "echo new > \"$4\""),
    ("iscsi-iname", "echo \"${2:-iqn.default}:new\""),
    (
        "nvme",
        "echo nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-000000000000",
    ),
    ("zgenhostid", "echo new > ROOT/etc/hostid"),
    (
        "make-ssl-cert",
        "echo new > ROOT/etc/ssl/private/ssl-cert-snakeoil.key; echo new > ROOT/etc/ssl/certs/ssl-cert-snakeoil.pem",
    ),
    ("hostname", "echo app-1.example.org"),
    ("sync", "true"),
];

impl Clone {
    fn new() -> Self {
        let clone = Clone {
            root: tempfile::tempdir().expect("a directory for the test"),
        };
        for directory in [
            "bin",
            "etc/ssh",
            "etc/iscsi",
            "etc/nvme",
            "etc/ssl/private",
            "etc/ssl/certs",
            "etc/dropbear",
            "var/lib",
        ] {
            fs::create_dir_all(clone.path(directory)).expect("make a directory");
        }
        clone.put("etc/debian_version", "12\n");
        clone.put("etc/popularity-contest.conf", "PARTICIPATE=\"yes\"\n");
        for (name, body) in PROGRAMS {
            clone.program(name, body);
        }
        clone
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn put(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).expect("write a file");
    }

    fn program(&self, name: &str, body: &str) {
        let body = body.replace("ROOT", &self.root.path().to_string_lossy());
        self.put(&format!("bin/{name}"), &format!("#!/bin/sh\n{body}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(&format!("bin/{name}")), mode).expect("make it executable");
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|_| "(missing)".to_owned())
    }

    /// Boots, as far as the script goes; says whether it was content.
    fn boot(&self) -> bool {
        let root = self.root.path().to_string_lossy();
        let here = script()
            .replace("/etc/", &format!("{root}/etc/"))
            .replace("/var/lib/stampo", &format!("{root}/var/lib/stampo"))
            .replace(
                "PATH=/usr/local/sbin",
                &format!("PATH={root}/bin:/usr/local/sbin"),
            );
        let status = Command::new("/bin/sh").arg("-c").arg(here).status();
        status.expect("a shell at /bin/sh").success()
    }
}

const MADE: [(&str, &str); 8] = [
    ("etc/ssh/ssh_host_ed25519_key", "new\n"),
    ("etc/dropbear/dropbear_ed25519_host_key", "new\n"),
    (
        "etc/iscsi/initiatorname.iscsi",
        "InitiatorName=iqn.1993-08.org.debian:01:new\n",
    ),
    ("etc/hostid", "new\n"),
    ("etc/ssl/private/ssl-cert-snakeoil.key", "new\n"),
    ("etc/ssl/certs/ssl-cert-snakeoil.pem", "new\n"),
    ("etc/mailname", "app-1.example.org\n"),
    ("var/lib/stampo/firstboot.done", ""),
];

#[test]
fn everything_that_is_missing_is_made() {
    let clone = Clone::new();
    assert!(clone.boot());
    for (path, content) in MADE {
        assert_eq!(clone.get(path), content, "{path}");
    }
    let statistics = clone.get("etc/popularity-contest.conf");
    let id = statistics
        .lines()
        .find_map(|line| line.strip_prefix("MY_HOSTID=\""))
        .expect("made");
    assert_eq!(id.len(), 33, "32 digits and a quote: {id}");
    let mode = |path: &str| {
        fs::metadata(clone.path(path))
            .expect("made")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (
            mode("etc/iscsi/initiatorname.iscsi"),
            mode("etc/nvme/hostnqn")
        ),
        (0o600, 0o644)
    );
}

#[test]
fn the_nvme_name_is_random_and_the_id_belongs_to_it() {
    let names = [Clone::new(), Clone::new()].map(|clone| {
        assert!(clone.boot());
        let (name, id) = (clone.get("etc/nvme/hostnqn"), clone.get("etc/nvme/hostid"));
        assert_eq!(name, format!("nqn.2014-08.org.nvmexpress:uuid:{id}"));
        assert_eq!(id.len(), 37, "a UUID and a line feed: {id}");
        clone.put("etc/nvme/hostid", "");
        assert!(clone.boot());
        assert_eq!(clone.get("etc/nvme/hostid"), id, "made again from the name");
        name
    });
    assert_ne!(names[0], names[1]);
    assert!(
        !names.iter().any(|name| name.contains("00000000-0000")),
        "{names:?}"
    );
}

#[test]
fn what_exists_is_kept_however_often_it_runs() {
    let clone = Clone::new();
    for (path, _) in &MADE[..7] {
        clone.put(path, "mine\n");
    }
    clone.put("etc/popularity-contest.conf", "MY_HOSTID=\"mine\"\n");
    for _ in 0..2 {
        assert!(clone.boot());
        assert!(
            MADE[..7]
                .iter()
                .all(|(path, _)| clone.get(path) == "mine\n")
        );
        assert_eq!(
            clone.get("etc/popularity-contest.conf"),
            "MY_HOSTID=\"mine\"\n"
        );
    }
}

#[test]
fn one_host_key_of_another_kind_is_enough() {
    let clone = Clone::new();
    clone.put("etc/ssh/ssh_host_ecdsa_key", "mine\n");
    assert!(clone.boot());
    assert_eq!(clone.get("etc/ssh/ssh_host_ed25519_key"), "(missing)");
}

#[test]
fn a_file_that_a_power_cut_left_empty_is_made_again() {
    let clone = Clone::new();
    for (path, _) in &MADE[..7] {
        clone.put(path, "");
    }
    assert!(clone.boot());
    assert!(
        MADE.iter()
            .all(|(path, content)| clone.get(path) == *content)
    );
}

#[test]
fn a_step_that_fails_stops_no_other_and_is_tried_again() {
    let clone = Clone::new();
    clone.program("iscsi-iname", "exit 1");
    assert!(!clone.boot());
    assert_eq!(clone.get("etc/ssl/private/ssl-cert-snakeoil.key"), "new\n");
    assert_eq!(clone.get("var/lib/stampo/firstboot.done"), "(missing)");
    clone.program("iscsi-iname", "echo \"$2:later\"");
    assert!(clone.boot());
    assert_eq!(
        clone.get("etc/iscsi/initiatorname.iscsi"),
        "InitiatorName=iqn.1993-08.org.debian:01:later\n"
    );
}
