//! Plans as a whole: dry runs, selections, links in the way, hostile trees, first-boot units.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{GuestRead, Owner};
use stampo_guest::seal::{SealPlan, Selection, apply, firstboot, plan};

/// A small Debian with the things that packages bake in.
fn debian() -> TreeFixture {
    TreeFixture::new()
        .file("/usr/lib/systemd/systemd", "")
        .file("/usr/sbin/sshd", "")
        .file("/usr/sbin/iscsi-iname", "")
        .file("/etc/hostname", "web\n")
        .file("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 web\n")
        .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
        )
        .file_as(
            "/etc/shadow",
            "root:$6$a$b:1::::::\nann:$6$c$d:1::::::\n",
            Owner {
                uid: 0,
                gid: 42,
                mode: 0o640,
            },
        )
        .file_as(
            "/etc/ssh/ssh_host_ed25519_key",
            "PRIVATE",
            Owner::root(0o600),
        )
        .file("/etc/ssh/ssh_host_ed25519_key.pub", "public")
        .file("/etc/ssh/sshd_config", "PermitRootLogin no\n")
        .file(
            "/etc/iscsi/initiatorname.iscsi",
            "InitiatorName=iqn.1993-08.org.debian:01:abc\n",
        )
        .file("/home/ann/.ssh/authorized_keys", "ssh-ed25519 AAAA")
        .file("/home/ann/.bash_history", "mysql -phunter2")
        .file("/home/ann/notes.txt", "kept")
        .file_as(
            "/var/log/syslog",
            "line",
            Owner {
                uid: 100,
                gid: 4,
                mode: 0o640,
            },
        )
        .file("/var/log/syslog.1", "line")
        .file(
            "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
            "LPKSHHRH",
        )
        .file("/tmp/x/y", "z")
}

fn made(tree: &TreeFixture, selection: &Selection) -> SealPlan {
    plan(tree, selection).expect("the tree is readable")
}

fn changed(plan: &SealPlan) -> Vec<&str> {
    plan.changes
        .iter()
        .map(|change| change.path.as_str())
        .collect()
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_debian_is_sealed_once_and_keeps_what_is_no_identity() {
    let mut tree = debian();
    let plan = made(&tree, &Selection::default());
    apply(&mut tree, &plan).expect("applies");
    for gone in [
        "/etc/ssh/ssh_host_ed25519_key",
        "/home/ann/.ssh/authorized_keys",
        "/tmp/x",
        "/var/log/syslog.1",
    ] {
        assert!(!tree.exists(gone).expect("readable"), "{gone}");
    }
    for kept in [
        "/home/ann/notes.txt",
        "/etc/ssh/sshd_config",
        "/var/log/journal",
        "/tmp",
        "/home/ann/.ssh",
    ] {
        assert!(tree.exists(kept).expect("readable"), "{kept}");
    }
    let log = tree.metadata("/var/log/syslog").expect("kept");
    assert_eq!(
        (log.size_bytes, log.uid, log.gid, log.mode),
        (0, 100, 4, 0o640)
    );
    let shadow = tree.read("/etc/shadow", 999).expect("kept");
    assert_eq!(shadow, b"root:*:1::::::\nann:$6$c$d:1::::::\n");
    let again = made(&tree, &Selection::default());
    assert!(again.is_empty(), "sealed twice: {again}");
}

#[test]
fn a_dry_run_changes_nothing_and_shows_no_secret() {
    let tree = debian();
    let before = format!("{tree:?}");
    let shown = format!("{}", made(&tree, &Selection::default()));
    assert_eq!(format!("{tree:?}"), before);
    assert!(
        shown.contains("- /etc/ssh/ssh_host_ed25519_key  (7 bytes)"),
        "{shown}"
    );
    assert!(
        shown.contains("~ /etc/hostname  (4 bytes → 10 bytes)  hostname: rewrite"),
        "{shown}"
    );
    for secret in [
        "PRIVATE",
        "hunter2",
        "$6$",
        "0123456789abcdef0123456789abcdef\n",
    ] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn the_first_boot_unit_makes_what_was_taken_and_is_enabled() {
    let mut tree = debian();
    let plan = made(&tree, &Selection::default());
    apply(&mut tree, &plan).expect("applies");
    let script =
        String::from_utf8(tree.read(firstboot::SCRIPT_PATH, 1 << 16).expect("made")).expect("text");
    assert!(
        script.contains("run ssh_host_keys") && script.contains("run iscsi_initiator"),
        "{script}"
    );
    assert!(!script.contains("run nvme_host"), "nvme is not installed");
    assert_eq!(
        tree.metadata(firstboot::SCRIPT_PATH).expect("made").mode,
        0o755
    );
    assert_eq!(
        tree.read_link(firstboot::WANTS_PATH).expect("made"),
        firstboot::UNIT_PATH.as_bytes()
    );
    let without = Selection {
        except: list(&["first-boot-unit"]),
        ..Selection::default()
    };
    assert!(!changed(&made(&debian(), &without)).contains(&firstboot::SCRIPT_PATH));
}

#[test]
fn a_guest_without_systemd_is_told_that_nothing_makes_its_keys() {
    let tree = TreeFixture::new()
        .file("/usr/sbin/sshd", "")
        .file("/etc/ssh/ssh_host_rsa_key", "PRIVATE");
    let plan = made(&tree, &Selection::default());
    assert_eq!(changed(&plan), ["/etc/ssh/ssh_host_rsa_key"]);
    assert_eq!(plan.notices[0].item, "first-boot-unit");
}

/// What is left, but for the guest agent: the trees of these tests can't run it.
fn left(plan: &SealPlan) -> Vec<&str> {
    let of_others = plan.skipped.iter().filter(|s| s.item != "guest-agent");
    of_others.map(|s| s.path.as_str()).collect()
}

#[test]
fn left_out_items_are_listed_and_no_wider_row_takes_them() {
    let selection = Selection {
        except: list(&["authorized-keys", "rotated-logs"]),
        ..Selection::default()
    };
    let plan = made(&debian(), &selection);
    assert!(
        !changed(&plan).contains(&"/var/log/syslog.1"),
        "the row of all logs must not empty it"
    );
    assert_eq!(
        left(&plan),
        ["/home/ann/.ssh/authorized_keys", "/var/log/syslog.1"]
    );
}

#[test]
fn kept_paths_stay_and_so_do_the_trees_that_hold_them() {
    let keep = list(&["/tmp/x/y", "/home/ann/.ssh/authorized_keys"]);
    let mut tree = debian();
    let plan = made(
        &tree,
        &Selection {
            keep: keep.clone(),
            ..Selection::default()
        },
    );
    apply(&mut tree, &plan).expect("applies");
    assert!(keep.iter().all(|path| tree.exists(path).expect("readable")));
    assert!(
        plan.skipped
            .iter()
            .any(|s| s.path == "/tmp/x" && s.why == "something in it is to be kept")
    );
}

#[test]
fn people_with_passwords_are_told_and_keep_them() {
    let plan = made(&debian(), &Selection::default());
    let notice = plan
        .notices
        .iter()
        .find(|n| n.item == "user-passwords")
        .expect("ann has one");
    assert_eq!(notice.detail, "password set: ann");
}

#[test]
fn links_at_sealed_paths_are_replaced_or_removed_and_never_followed() {
    let mut tree = TreeFixture::new()
        .file("/usr/lib/systemd/systemd", "")
        .file_as(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\n",
            Owner::root(0o644),
        )
        .file("/precious", "kept")
        .link("/etc/machine-id", "/precious")
        .link("/etc/hostname", "../../../../precious")
        .link("/etc/ssh/ssh_host_rsa_key", "/precious")
        .link("/etc/shadow", "/precious")
        .link("/etc/resolv.conf", "/precious")
        .link("/var/lib/dbus/machine-id", "/precious")
        .link("/var/log", "/etc")
        .link("/tmp/escape", "/")
        .link("/home/eve", "/etc");
    let plan = made(&tree, &Selection::default());
    apply(&mut tree, &plan).expect("applies");
    assert_eq!(tree.read("/precious", 99).expect("kept"), b"kept");
    assert_eq!(
        tree.read("/etc/passwd", 99).expect("kept"),
        b"root:x:0:0::/root:/bin/sh\n"
    );
    assert_eq!(tree.read("/etc/machine-id", 99).expect("made"), b"");
    assert!(
        !tree.exists("/tmp/escape").expect("readable")
            && !tree.exists("/etc/ssh/ssh_host_rsa_key").expect("readable")
    );
    assert_eq!(
        tree.read_link("/etc/resolv.conf").expect("left"),
        b"/precious"
    );
    assert!(plan.skipped.iter().any(|s| s.path == "/var/log"), "{plan}");
    assert!(
        plan.skipped.iter().any(|s| s.path == "/etc/shadow"),
        "{plan}"
    );
}

#[test]
fn a_link_to_where_the_row_looks_anyway_is_no_news() {
    let tree = TreeFixture::new()
        .file("/var/mail/ann", "hi")
        .link("/var/spool/mail", "../mail");
    let plan = made(&tree, &Selection::default());
    assert_eq!(changed(&plan), ["/var/mail/ann"]);
    assert!(left(&plan).is_empty(), "{plan}");
}

#[test]
fn special_files_and_directories_in_the_way() {
    let mut tree = TreeFixture::new()
        .file("/usr/lib/systemd/systemd", "")
        .dir("/etc/machine-id")
        .special("/var/log/fifo")
        .special("/etc/ssh/ssh_host_rsa_key")
        .special("/etc/hosts")
        .file("/usr/sbin/sshd", "")
        .link("/usr/lib/stampo", "/etc")
        .special("/tmp/socket");
    let plan = made(&tree, &Selection::default());
    apply(&mut tree, &plan).expect("applies");
    assert!(
        !tree.exists("/tmp/socket").expect("readable")
            && tree.exists("/var/log/fifo").expect("readable")
    );
    assert!(
        plan.skipped.iter().any(|s| s.path == "/etc/machine-id"),
        "{plan}"
    );
    assert!(
        plan.skipped
            .iter()
            .any(|s| s.path == firstboot::SCRIPT_PATH),
        "{plan}"
    );
    assert!(
        !tree.exists("/etc/firstboot").expect("readable"),
        "never written through a link"
    );
}

#[test]
fn a_file_too_large_to_rewrite_is_told() {
    let tree = TreeFixture::new().file("/etc/hosts", vec![b'#'; 2 << 20]);
    let plan = made(&tree, &Selection::default());
    assert!(plan.is_empty() && plan.skipped[0].item == "hosts", "{plan}");
}

#[test]
fn a_damaged_filesystem_gives_no_plan() {
    let tree = debian().damaged("/etc/ssh");
    assert!(plan(&tree, &Selection::default()).is_err());
}
