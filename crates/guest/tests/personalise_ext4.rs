//! The whole way on real ext4 filesystems: mke2fs makes a template, the writer personalises copies
//! of it, e2fsck judges them and the second reader reads them back.

use crate::personalise_support::*;
use stampo_core::identity::{FactValue, IdentityFact, Verdict, verdict};
use stampo_core::names::GuestName;
use stampo_core::personalisation::{File, Personalisation, User};
use stampo_guest::fs::{Ext4Reader, Ext4Writer, GuestRead};
use stampo_guest::passport::{ShellFacts, explain, read_facts};
use stampo_guest::personalise::{FilesystemUuid, Report, personalise};
use stampo_image::raw::RawFile;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SALT: [u8; 32] = [5; 32];

/// The template's tree on the host, as far as an ordinary user can make it; mke2fs makes all of it
/// root's.
fn template(directory: &Path, features: &[&str]) -> PathBuf {
    let tree = directory.join("tree");
    let fixture = debian_with_cloud_init();
    let mut pending = vec![String::new()];
    while let Some(path) = pending.pop() {
        for entry in fixture.read_dir(&format!("{path}/")).expect("a directory") {
            let name = String::from_utf8(entry.name).expect("text");
            let (inside, outside) = (
                format!("{path}/{name}"),
                tree.join(&path[path.len().min(1)..]).join(&name),
            );
            std::fs::create_dir_all(outside.parent().expect("a parent")).expect("made");
            match entry.kind {
                stampo_guest::fs::FileKind::Directory => {
                    std::fs::create_dir_all(&outside).expect("made");
                    pending.push(inside);
                }
                stampo_guest::fs::FileKind::Symlink => {
                    let target = fixture.read_link(&inside).expect("a link");
                    let target = String::from_utf8(target).expect("text");
                    std::os::unix::fs::symlink(target, outside).expect("made");
                }
                _ => std::fs::write(outside, bytes(&fixture, &inside)).expect("written"),
            }
        }
    }
    let image = directory.join("template.raw");
    let mut arguments = vec!["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0"];
    arguments.extend(["-U", "5eed0000-0000-4000-8000-000000000001"]);
    arguments.extend(features);
    let (tree, path) = (tree.to_str().expect("text"), image.to_str().expect("text"));
    arguments.extend(["-d", tree, path, "64M"]);
    let made = output("mke2fs", &arguments);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    image
}

fn full_request(n: u8) -> Personalisation {
    Personalisation {
        ssh_authorized_keys: vec![KEY.into()],
        users: vec![User {
            sudo: true,
            groups: vec!["sudo".into()],
            ..user("app")
        }],
        time_zone: Some("Europe/Rome".into()),
        files: vec![File {
            path: "/srv/app/big".into(),
            content: vec![n; 300_000],
            mode: 0o600,
            owner: "app".into(),
            group: "app".into(),
        }],
        first_boot_script: Some("true".into()),
        ..request(&format!("app-{n}"))
    }
}

fn clone_of(template: &Path, n: u8) -> (PathBuf, Report) {
    let path = template.with_file_name(format!("clone-{n}.raw"));
    std::fs::copy(template, &path).expect("copied");
    let device = Arc::new(RawFile::open_writable(&path).expect("a disk"));
    let mut fs = Ext4Writer::open(device).expect("ext4");
    let report =
        personalise(&mut *fs, &full_request(n), &secrets(n.into()), &context(n)).expect("good");
    fs.finish().expect("finished");
    let checked = output("e2fsck", &["-fn", path.to_str().expect("text")]);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
    (path, report)
}

fn reader(path: &Path) -> Box<dyn GuestRead> {
    Ext4Reader::open(Arc::new(RawFile::open_read_only(path).expect("a disk"))).expect("ext4")
}

#[test]
fn the_second_reader_finds_what_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let template = template(directory.path(), &["-O", "metadata_csum_seed"]);
    let (path, report) = clone_of(&template, 1);
    let fs = reader(&path);
    let fs = &*fs;
    assert_eq!(text(fs, "/etc/hostname"), "app-1\n");
    assert_eq!(
        text(fs, "/etc/machine-id"),
        format!("{}\n", report.machine_id.simple())
    );
    assert_eq!(owner(fs, "/etc/ssh/ssh_host_ed25519_key"), (0o600, 0, 0));
    assert_eq!(
        owner(fs, "/home/app/.ssh/authorized_keys"),
        (0o600, 1001, 1001)
    );
    assert_eq!(owner(fs, "/home/app/.config/app/settings").1, 1001);
    assert_eq!(owner(fs, "/etc/sudoers.d/90-stampo-app"), (0o440, 0, 0));
    assert_eq!(bytes(fs, "/srv/app/big"), vec![1; 300_000]);
    assert_eq!(owner(fs, "/srv/app/big"), (0o600, 1001, 1001));
    let FilesystemUuid::Changed(uuid) = report.filesystem_uuid else {
        panic!("it was kept")
    };
    assert_eq!(fs.uuid().expect("a uuid"), uuid);
    assert!(text(fs, "/etc/fstab").contains(&format!("UUID={uuid}")));
    for written in &report.written {
        let removed = written.contains("ssh_host_") || written.starts_with("/var/lib/cloud");
        assert!(
            removed || fs.exists(written).expect("readable"),
            "{written} is not there"
        );
    }
}

#[test]
fn the_passports_of_two_clones_have_no_duplicate() {
    let directory = tempfile::tempdir().expect("a directory");
    let template = template(directory.path(), &["-O", "metadata_csum_seed"]);
    let of_template = read_facts(&*reader(&template), &ShellFacts::default(), &SALT);
    let passports: Vec<(GuestName, Vec<IdentityFact>)> = (1..=2)
        .map(|n| {
            let (path, _) = clone_of(&template, n);
            let mut facts = read_facts(&*reader(&path), &ShellFacts::default(), &SALT);
            explain(&mut facts, &of_template);
            (format!("app-{n}").parse().expect("a name"), facts)
        })
        .collect();
    let mut holders: HashMap<(String, String), Vec<GuestName>> = HashMap::new();
    for (name, facts) in &passports {
        for fact in facts {
            if let FactValue::Present(hash) = &fact.value {
                let key = (fact.item.clone(), hash.clone());
                holders.entry(key).or_default().push(name.clone());
            }
        }
    }
    let mut unique = 0;
    for (name, facts) in &passports {
        for fact in facts {
            let others = holders.iter().filter(|((item, _), _)| *item == fact.item);
            let others = others
                .map(|((_, hash), names)| (hash.clone(), names.clone()))
                .collect();
            match verdict(name, fact, &others) {
                Verdict::Unique => unique += 1,
                Verdict::Regenerated | Verdict::Kept(_) => {}
                bad => panic!("{}: {bad:?}", fact.item),
            }
        }
    }
    assert!(unique >= 2 * 11, "{unique} unique items");
}

#[test]
fn a_filesystem_whose_checksums_need_the_uuid_keeps_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let template = template(
        directory.path(),
        &["-O", "metadata_csum,^metadata_csum_seed"],
    );
    let (path, report) = clone_of(&template, 1);
    let FilesystemUuid::Kept(why) = report.filesystem_uuid else {
        panic!("it was changed")
    };
    assert!(why.contains("metadata_csum_seed"), "{why}");
    let fs = reader(&path);
    let old = "5eed0000-0000-4000-8000-000000000001";
    assert_eq!(fs.uuid().expect("a uuid").to_string(), old);
    assert!(text(&*fs, "/etc/fstab").contains(old));
}
