//! Sealing real ext4 filesystems, made by mke2fs without root: what goes is gone from the disk's
//! bytes too, what stays is the same to a second reader, and e2fsck has nothing to say.

use crate::fs_support::{FileDisk, Image, second_opinion};
use stampo_guest::fs::residue::residue;
use stampo_guest::seal::{
    SealError, SealOptions, SealOutcome, Selection, firstboot, plan_disk, seal_disk,
};
use std::fs;

const MACHINE_ID: &str = "4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e";
/// The middle of a private key, which is nothing else's.
const KEY: &str = "QyNTUxOQAAACBkp7wYw0xZbq1sXn8sGdVf5mJr3tLhYcO2uEiKzAoPeQAAAJ";
const FILES: [(&str, &str); 12] = [
    ("usr/lib/systemd/systemd", "x"),
    ("usr/sbin/sshd", "x"),
    ("etc/os-release", "ID=debian\n"),
    ("etc/hostname", "web\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 web\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    (
        "etc/shadow",
        "root:$6$saltsalt$h4shofthetemplatesr00tpassw0rd:1:0:99999:7:::\n",
    ),
    ("etc/fstab", "LABEL=root / ext4 defaults 0 1\n"),
    ("home/ann/notes.txt", "kept\n"),
    ("root/.bash_history", "mysql -phunter2\n"),
    (
        "var/log/journal/4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e/system.journal",
        "LPKSHHRH",
    ),
    ("var/log/syslog", "a line\n"),
];

fn key() -> String {
    format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n{KEY}\nAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    )
}

/// A guest's filesystem with secrets, and with `extra` files.
fn guest(args: &[&str], extra: &[(&str, &str)]) -> Image {
    let tree = tempfile::tempdir().expect("a directory for the test");
    let key = key();
    let machine_id = format!("{MACHINE_ID}\n");
    let secrets = [
        ("etc/machine-id", machine_id.as_str()),
        ("etc/ssh/ssh_host_ed25519_key", key.as_str()),
    ];
    for (path, content) in FILES.iter().chain(&secrets).chain(extra) {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("make a directory");
        fs::write(path, content).expect("write a file");
    }
    Image::make(args, 64, Some(tree.path()))
}

fn seal(image: &Image) -> Result<SealOutcome, SealError> {
    let options = SealOptions {
        now_s: Some(1_900_000_000),
    };
    seal_disk(
        FileDisk::writable(&image.path),
        &Selection::default(),
        &options,
    )
}

fn places(image: &Image, text: &str) -> usize {
    residue(&*FileDisk::read_only(&image.path), &[text.as_bytes()])
        .expect("search")
        .len()
}

#[test]
fn what_goes_is_gone_from_the_bytes_and_what_stays_is_the_same() {
    for args in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-O", "^metadata_csum,^64bit"],
    ] {
        let image = guest(args, &[]);
        let before = second_opinion(&image.path);
        assert!(
            places(&image, MACHINE_ID) >= 2 && places(&image, KEY) >= 1,
            "{args:?}"
        );
        let outcome = seal(&image).expect("it is ext4");
        assert!(
            outcome.samples >= 3 && outcome.residue.is_empty(),
            "{args:?}: {outcome:?}"
        );
        image.assert_clean(&format!("{args:?} sealed"));
        for secret in [MACHINE_ID, KEY, "h4shofthetemplatesr00tpassw0rd"] {
            assert_eq!(
                places(&image, secret),
                0,
                "{args:?}: {secret} is still on the disk"
            );
        }
        let after = second_opinion(&image.path);
        for kept in [
            "/usr/sbin/sshd",
            "/etc/fstab",
            "/etc/passwd",
            "/home/ann/notes.txt",
            "/var/log/journal",
        ] {
            assert_eq!(
                before.get(kept.as_bytes()),
                after.get(kept.as_bytes()),
                "{args:?}: {kept}"
            );
        }
        assert!(
            after.contains_key(firstboot::SCRIPT_PATH.as_bytes()),
            "{args:?}"
        );
        let reader = image.reader();
        assert_eq!(
            reader.read("/etc/machine-id", 99).expect("kept"),
            b"",
            "{args:?}"
        );
        assert!(
            !after.contains_key(b"/etc/ssh/ssh_host_ed25519_key".as_slice()),
            "{args:?}"
        );
    }
}

#[test]
fn sealing_twice_changes_nothing_the_second_time() {
    let image = guest(&["-t", "ext4"], &[]);
    seal(&image).expect("it is ext4");
    let once = image.bytes();
    let again = seal(&image).expect("it is ext4");
    assert!(again.plan.is_empty(), "{}", again.plan);
    let tree = second_opinion(&image.path);
    fs::write(&image.path, once).expect("put the first result back");
    assert!(
        tree == second_opinion(&image.path),
        "the second sealing changed a file"
    );
}

#[test]
fn a_dry_run_says_what_is_done_and_writes_nothing() {
    let image = guest(&["-t", "ext4"], &[]);
    let before = image.bytes();
    let planned =
        plan_disk(FileDisk::read_only(&image.path), &Selection::default()).expect("it is ext4");
    assert!(before == image.bytes(), "a dry run wrote to the disk");
    assert_eq!(planned, seal(&image).expect("it is ext4").plan);
}

#[test]
fn the_same_disk_and_time_give_the_same_bytes() {
    let image = guest(&["-t", "ext4"], &[]);
    let before = image.bytes();
    seal(&image).expect("it is ext4");
    let first = image.bytes();
    fs::write(&image.path, before).expect("put the disk back");
    seal(&image).expect("it is ext4");
    assert!(first == image.bytes());
}

#[test]
fn a_copy_of_a_secret_in_a_live_file_is_residue() {
    let image = guest(&["-t", "ext4"], &[("opt/backup/key", &key())]);
    let outcome = seal(&image).expect("it is ext4");
    assert!(
        outcome
            .residue
            .iter()
            .any(|left| left.item == "ssh-host-keys"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .residue
            .iter()
            .all(|left| left.path == "/etc/ssh/ssh_host_ed25519_key")
    );
}

#[test]
fn what_cannot_be_written_is_refused_untouched() {
    let bigalloc = guest(&["-t", "ext4", "-O", "bigalloc"], &[]);
    let nothing = guest(&["-t", "ext4"], &[]);
    fs::write(&nothing.path, vec![0u8; 1 << 20]).expect("an empty disk");
    for image in [bigalloc, nothing] {
        let before = image.bytes();
        let error = seal(&image).expect_err("it must be refused");
        assert!(matches!(error, SealError::Open(_)), "{error:?}");
        assert!(before == image.bytes(), "a refused disk was written to");
    }
}

#[test]
fn a_selection_that_makes_no_sense_is_refused_untouched() {
    let image = guest(&["-t", "ext4"], &[]);
    let before = image.bytes();
    let wrong = Selection {
        only: vec!["machine_id".into()],
        ..Selection::default()
    };
    let disk = FileDisk::writable(&image.path);
    let error =
        seal_disk(disk, &wrong, &SealOptions::default()).expect_err("there is no such item");
    assert!(matches!(error, SealError::Plan(_)), "{error:?}");
    assert!(before == image.bytes());
}
