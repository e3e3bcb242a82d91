//! What has to be true of a home when nothing works on it.

use crate::home::{self, DATA, Home, ROTTEN, data, open};
use serde_json::Value;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::lifecycle::{Governance, State};
use stampo_core::plan::CloneSpec;
use stampo_core::pool::Depth;
use stampo_driver::{GuestDefinition, MemoryImageDir, Start};
use stampo_engine::{Engine, Faults};
use stampo_image::pool::Pool;
use stampo_image::progress::Unwatched;
use stampo_store::{ChannelMoveRow, GuestRow, StoreError, VersionRow};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Fails with `what` when anything in the home is lost, half, or left over.
pub fn assert_clean(home: &Path, what: &str) {
    let engine = open(home, Faults::default());
    let faults = engine.store().check_integrity().expect("a catalog");
    assert!(
        faults.is_empty(),
        "{what}: the catalog is damaged: {faults:?}"
    );
    let audit = engine.audit_verify(&[]).expect("an audit");
    assert_eq!(audit.faults, [], "{what}: the audit");
    let running = engine
        .store()
        .read(|tx| tx.running_operations())
        .expect("rows");
    assert!(running.is_empty(), "{what}: not ended: {running:?}");
    sweep_as_if_later(home, &engine);
    for dir in ["staging", "trash", "downloads"] {
        let left = names(&home.join(dir));
        assert!(left.is_empty(), "{what}: {dir} holds {left:?}");
    }
    let versions = engine.store().read(|tx| tx.versions()).expect("rows");
    let guests = engine.store().read(|tx| tx.guests()).expect("rows");
    check_versions(home, &versions, what);
    check_images(home, &versions, &guests, what);
    check_guests(&engine, &guests, what);
    check_templates(&engine, &versions, what);
    let channels = check_channels(&engine, what);
    drop(engine);
    check_rescan(home, &versions, &guests, what);
    check_channels_again(home, &channels, what);
}

/// Lets time pass for what was half written, and sweeps as `gc` does.
fn sweep_as_if_later(home: &Path, engine: &Engine) {
    let images = fs::read_dir(home.join("images")).into_iter().flatten();
    let dirs = images.map(|entry| entry.expect("an entry").path());
    for dir in dirs.chain([home.join("staging")]) {
        for name in names(&dir).iter().filter(|name| name.ends_with(".partial")) {
            let file = fs::File::options().append(true).open(dir.join(name));
            let long_ago = SystemTime::now() - Duration::from_secs(7200);
            let aged = file.and_then(|file| file.set_modified(long_ago));
            aged.expect("its time can be set");
        }
    }
    engine.recover().expect("recovery");
    let pool = Pool::open(home).expect("a pool");
    pool.sweep_sidecars().expect("swept");
}

/// Of the simulated driver, for all guests.
const SIMULATOR: [&str; 2] = [".simulated.lock", ".fork-manners"];

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeSet::new(),
        other => other.expect("a readable directory"),
    };
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !SIMULATOR.contains(&name.as_str()))
        .collect()
}

fn json(path: &Path, what: &str) -> Value {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{what}: {}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{what}: {}: {e}", path.display()))
}

fn check_versions(home: &Path, versions: &[VersionRow], what: &str) {
    let pool = Pool::open(home).expect("a pool");
    for row in versions {
        let label = row.label();
        assert_eq!(row.operation, None, "{what}: {label} is held");
        assert_ne!(row.state, State::Building, "{what}: {label} is half");
        if row.state == State::Purged {
            continue;
        }
        let image = row
            .image
            .as_ref()
            .expect("a version that is whole has an image");
        match pool.verify_image(image, &Unwatched) {
            Err(_) if home.with_file_name(ROTTEN).exists() => {}
            Ok(()) => assert_ne!(row.state, State::Quarantined, "{what}: {label}"),
            Err(error) => panic!("{what}: {label}: {error}"),
        }
        let path = pool
            .image_dir(image)
            .join(format!("version-{}.json", row.id));
        let sidecar = json(&path, what);
        assert_eq!(sidecar["state"], row.state.as_str(), "{what}: {label}");
        assert_eq!(sidecar["image"], image.as_str(), "{what}: {label}");
        assert_eq!(
            sidecar["template"],
            row.template.as_str(),
            "{what}: {label}"
        );
        assert_eq!(sidecar["number"], row.number, "{what}: {label}");
        assert_eq!(
            sidecar["proof"],
            row.proof.clone().unwrap_or_default(),
            "{what}: the proof of {label}"
        );
        let governance = sidecar["governance"].clone();
        let recorded: Governance = match governance.is_null() {
            true => Governance::default(),
            false => serde_json::from_value(governance).expect("what is recorded"),
        };
        assert_eq!(
            recorded, row.governance,
            "{what}: what is recorded of {label}"
        );
        if row.state.is_immutable() {
            let mode = fs::metadata(pool.image_disk(image))
                .expect("a disk")
                .permissions();
            assert!(mode.readonly(), "{what}: {label} is writable");
        }
    }
}

/// Every image directory, and every sidecar in it, belongs to a version.
fn check_images(home: &Path, versions: &[VersionRow], guests: &[GuestRow], what: &str) {
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for row in versions.iter().filter(|row| row.state != State::Purged) {
        let image = row.image.as_ref().expect("an image").to_string();
        expected.insert(format!("{image}/version-{}.json", row.id));
        expected.insert(image);
    }
    for name in names(&home.join("images")) {
        assert!(
            expected.contains(&name),
            "{what}: the image {name} is left over"
        );
        for file in names(&home.join("images").join(&name)) {
            let path = format!("{name}/{file}");
            if file.starts_with("memory-") {
                check_memory(&home.join("images").join(&path), &name, versions, what);
                continue;
            }
            assert!(
                ["disk.raw", "leaves.bin"].contains(&file.as_str()) || expected.contains(&path),
                "{what}: {path} is left over"
            );
        }
    }
    for guest in guests
        .iter()
        .filter(|guest| guest.kind == CloneKind::Linked)
    {
        let base = home
            .join("images")
            .join(guest.image.as_str())
            .join("disk.raw");
        assert!(base.exists(), "{what}: the base of {} is gone", guest.name);
    }
}

/// A memory image is whole, its owner's alone, and of a version with these bytes.
fn check_memory(dir: &Path, image: &str, versions: &[VersionRow], what: &str) {
    let path = dir.display();
    let memory = MemoryImageDir::at(dir).complete();
    let memory = memory.unwrap_or_else(|e| panic!("{what}: {path}: {e}"));
    let sidecar = json(&dir.join("frozen.json"), what);
    assert_eq!(
        sidecar["machine_hash"], memory.machine_hash,
        "{what}: {path}"
    );
    let of_version = versions.iter().any(|row| {
        row.state != State::Purged
            && row.image.as_ref().is_some_and(|of| of.as_str() == image)
            && sidecar["version"] == row.id.to_string()
    });
    assert!(of_version, "{what}: {path} is of no version");
    let files: Vec<String> = names(dir).into_iter().collect();
    let expected = ["disk.qcow2", "frozen.json", "image.json", "memory", "state"];
    assert_eq!(files, expected, "{what}: {path}");
    for file in files {
        let mode = fs::metadata(dir.join(&file))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{what}: {path}/{file}");
    }
}

fn check_guests(engine: &Engine, guests: &[GuestRow], what: &str) {
    let driver = engine.driver();
    let ids: BTreeSet<String> = guests.iter().map(|guest| guest.id.to_string()).collect();
    for dir in names(driver.guests_dir()) {
        assert!(
            ids.contains(&dir),
            "{what}: the guest's directory {dir} is left over"
        );
    }
    let defined = driver.list().expect("a driver");
    assert_eq!(defined.len(), guests.len(), "{what}: definitions");
    for row in guests {
        let name = &row.name;
        assert!(
            matches!(
                row.state,
                GuestState::Ready | GuestState::Trashed | GuestState::Pooled
            ),
            "{what}: {name} is {}",
            row.state
        );
        assert_eq!(row.operation, None, "{what}: {name} is held");
        let definition = driver.definition(row.id).expect("a definition");
        assert_eq!(definition.name, name.as_str(), "{what}");
        assert_eq!(definition.hardware, row.plan.hardware, "{what}: {name}");
        check_fork(row, &definition, what);
        let dir = driver.guests_dir().join(row.id.to_string());
        let disk = &definition.disks[0].path;
        assert!(disk.exists(), "{what}: {name} has no disk");
        assert_eq!(*disk, dir.join(disk_of(row.kind)), "{what}: {name}");
        check_disk(row, disk, what);
        let more = &definition.disks[1..];
        assert_eq!(more.len(), row.plan.extra_disks.len(), "{what}: {name}");
        for (disk, size) in more.iter().zip(&row.plan.extra_disks) {
            let length = fs::metadata(&disk.path).map(|meta| meta.len());
            let length = length.unwrap_or_else(|e| panic!("{what}: a disk of {name}: {e}"));
            assert_eq!(length, size.bytes(), "{what}: a disk of {name}");
        }
        for file in names(&dir) {
            assert!(
                !file.starts_with("new-")
                    && (!file.starts_with("disk.") || file == disk_of(row.kind)),
                "{what}: {name} has {file}"
            );
        }
        let sidecar = json(&dir.join("guest.json"), what);
        assert_eq!(sidecar["name"], name.as_str(), "{what}");
        let written_ms = sidecar["changed_ms"].as_i64().expect("a time");
        assert!(
            (1..=row.changed_ms).contains(&written_ms),
            "{what}: the sidecar of {name} is newer than its row"
        );
        assert_eq!(sidecar["state"], row.state.as_str(), "{what}: {name}");
        assert_eq!(sidecar["kind"], row.kind.as_str(), "{what}: {name}");
        assert_eq!(
            sidecar["plan"]["disk_size"],
            serde_json::to_value(row.plan.disk_size).expect("a number"),
            "{what}: {name}"
        );
    }
}

/// A guest that went on from a memory image has an identity, and never goes on from it again.
fn check_fork(row: &GuestRow, definition: &GuestDefinition, what: &str) {
    let name = &row.name;
    if row.state == GuestState::Pooled {
        let member = row.plan.member.as_ref().expect("it is a member of a pool");
        assert!(!member.taken, "{what}: {name} is somebody's and waits");
        let has_identity = row.plan.fork.as_ref().is_some_and(|fork| fork.identified);
        assert_eq!(has_identity, member.depth == Depth::Warm, "{what}: {name}");
        let resumes = matches!(definition.start, Start::Resume { .. });
        assert_eq!(resumes, !has_identity, "{what}: {name}");
        return;
    }
    let expected = match &row.plan.fork {
        None => Start::Boot,
        Some(fork) => {
            assert!(fork.identified, "{what}: {name} is another's double");
            assert!(!row.host_keys.is_empty(), "{what}: {name} has no host key");
            Start::BootResumed
        }
    };
    assert_eq!(definition.start, expected, "{what}: {name}");
}

fn disk_of(kind: CloneKind) -> &'static str {
    match kind {
        CloneKind::Linked => "disk.qcow2",
        CloneKind::Full => "disk.raw",
    }
}

/// The disk holds a filesystem that e2fsck has nothing to say about, as seen by qemu-img.
fn check_disk(row: &GuestRow, disk: &Path, what: &str) {
    let plain = tempfile::NamedTempFile::new().expect("a temporary file");
    let from = match row.kind {
        CloneKind::Linked => "qcow2",
        CloneKind::Full => "raw",
    };
    let converted = Command::new("qemu-img")
        .args(["convert", "-q", "-U", "-f", from, "-O", "raw"])
        .args([disk, plain.path()])
        .status()
        .expect("qemu-img can't be started: apt install qemu-utils");
    assert!(converted.success(), "{what}: {} can't be read", row.name);
    let size = fs::metadata(plain.path()).expect("a file").len();
    assert_eq!(size, row.plan.disk_size.bytes(), "{what}: {}", row.name);
    let checked = Command::new("e2fsck")
        .args(["-fn"])
        .arg(plain.path())
        .output()
        .expect("e2fsck can't be started: apt install e2fsprogs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{what}: {}: {said}", row.name);
    check_data(row, disk, plain.path(), what);
}

/// A file that the version's image has is there to the byte.
fn check_data(row: &GuestRow, disk: &Path, plain: &Path, what: &str) {
    // The home, above the guests' directories.
    let home = disk.ancestors().nth(3).expect("a home");
    let base = home
        .join("images")
        .join(row.image.as_str())
        .join("disk.raw");
    if !base.exists() || home.with_file_name(ROTTEN).exists() || file_of(&base).is_none() {
        return;
    }
    let found = file_of(plain);
    assert!(
        found.as_deref() == Some(data()),
        "{what}: {} has another /{DATA}",
        row.name
    );
}

/// [`DATA`] as the filesystem on a disk has it.
fn file_of(disk: &Path) -> Option<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new().expect("a temporary file");
    let request = format!("dump /{DATA} {}", copy.path().display());
    let dumped = Command::new("debugfs")
        .args(["-R", &request])
        .arg(disk)
        .output();
    dumped.expect("debugfs can't be started: apt install e2fsprogs");
    let bytes = fs::read(copy.path()).expect("a file");
    (!bytes.is_empty()).then_some(bytes)
}

/// What has one other byte in one file is not clean: the negative control of [`check_data`].
pub fn another_byte_is_noticed() {
    let home = Home::published();
    let engine = home.engine();
    let spec = CloneSpec {
        kind: Some(CloneKind::Full),
        ..home::spec()
    };
    home::clone(&engine, "whole", &spec).expect("cloned");
    drop(engine);
    assert_clean(&home.path(), "nothing has changed");
    let guests = names(&home.path().join("guests"));
    let guest = guests.first().expect("a guest");
    let disk = home
        .path()
        .join("guests")
        .join(guest)
        .join(disk_of(CloneKind::Full));
    let bytes = fs::read(&disk).expect("a disk");
    let needle = &data()[100 << 10..][..64];
    let at = bytes.windows(64).position(|window| window == needle);
    let mut bytes = bytes;
    bytes[at.expect("the file's bytes")] ^= 1;
    fs::write(&disk, bytes).expect("written");
    let why = crate::faults::caught(|| assert_clean(&home.path(), "changed"));
    let why = why.expect_err("it is noticed");
    assert!(why.contains("has another /srv/payload"), "{why}");
}

fn check_templates(engine: &Engine, versions: &[VersionRow], what: &str) {
    for template in engine.store().read(|tx| tx.templates()).expect("rows") {
        assert!(
            versions.iter().any(|row| row.template == template.name),
            "{what}: template {} has no version",
            template.name
        );
    }
}

/// The catalog can be rebuilt from what lies beside the bytes.
/// Channels by name: where each points, and its history without what a catalog alone has.
type Channels = BTreeMap<String, (Option<u32>, Vec<String>)>;

fn channels_of(engine: &Engine) -> Channels {
    let read = engine.store().read(|tx| {
        let mut found = Channels::new();
        for template in tx.templates()? {
            for last in tx.last_channel_moves(template.id)? {
                let at = tx.channel(template.id, &last.channel)?;
                let at = match at {
                    Some(at) => tx.version(at.version)?.map(|row| row.number),
                    None => None,
                };
                let moves = tx.channel_moves(template.id, &last.channel)?;
                let brief = |m: &ChannelMoveRow| {
                    format!(
                        "{} {} {:?} {:?} {} {}",
                        m.sequence, m.kind, m.from, m.to, m.reason, m.at_ms
                    )
                };
                let history = moves.iter().map(brief).collect();
                found.insert(format!("{}:{}", template.name, last.channel), (at, history));
            }
        }
        Ok::<_, StoreError>(found)
    });
    read.expect("channels")
}

/// Each channel points where its history ends, and to what can be used.
fn check_channels(engine: &Engine, what: &str) -> Channels {
    for (channel, version) in engine.channels().expect("channels") {
        let last = engine
            .store()
            .read(|tx| tx.channel_moves(channel.template_id, &channel.name))
            .expect("moves")
            .pop();
        assert_eq!(
            last.and_then(|last| last.to),
            Some(version.number),
            "{what}: {}",
            channel.name
        );
        assert!(
            version.state.stays_in_channel(),
            "{what}: {} is {}",
            channel.name,
            version.state
        );
    }
    channels_of(engine)
}

/// The sidecars alone tell where channels point and pointed.
fn check_channels_again(home: &Path, before: &Channels, what: &str) {
    if before.is_empty() {
        return;
    }
    let copy = tempfile::tempdir_in(home.parent().expect("a parent")).expect("a directory");
    let from = home.join("images");
    let linked = Command::new("cp")
        .arg("-al")
        .args([from, copy.path().join("images")])
        .status();
    assert!(linked.expect("cp").success(), "{what}: no copy");
    let engine = open(copy.path(), Faults::default());
    engine.rescan().expect("a rescan");
    assert_eq!(
        channels_of(&engine),
        *before,
        "{what}: channels after a rescan"
    );
}

fn check_rescan(home: &Path, versions: &[VersionRow], guests: &[GuestRow], what: &str) {
    let copy = tempfile::tempdir_in(home.parent().expect("a parent")).expect("a directory");
    for part in ["images", "guests"] {
        let linked = Command::new("cp")
            .arg("-al")
            .args([home.join(part), copy.path().join(part)])
            .status();
        assert!(linked.expect("cp").success(), "{what}: no copy of {part}");
    }
    let engine = open(copy.path(), Faults::default());
    engine.recover().expect("recovery");
    let found = engine.rescan().expect("a rescan");
    assert!(found.refused.is_empty(), "{what}: {:?}", found.refused);
    let brief = |row: &VersionRow| (row.label(), row.id, row.state, row.image.clone());
    let again = engine.store().read(|tx| tx.versions()).expect("rows");
    let again = again.iter().filter(|row| row.state != State::Purged);
    let again: BTreeSet<_> = again.map(brief).map(|b| format!("{b:?}")).collect();
    let before = versions.iter().filter(|row| row.state != State::Purged);
    let before: BTreeSet<_> = before.map(brief).map(|b| format!("{b:?}")).collect();
    assert_eq!(again, before, "{what}: versions after a rescan");
    let brief = |row: &GuestRow| {
        (
            row.name.to_string(),
            row.id,
            row.kind,
            row.state,
            row.plan.disk_size,
        )
    };
    let again = engine.store().read(|tx| tx.guests()).expect("rows");
    let again: BTreeSet<_> = again.iter().map(brief).map(|b| format!("{b:?}")).collect();
    let before: BTreeSet<_> = guests.iter().map(brief).map(|b| format!("{b:?}")).collect();
    assert_eq!(again, before, "{what}: guests after a rescan");
    let defined = engine.driver().list().expect("a list");
    assert_eq!(
        defined.len(),
        guests.len(),
        "{what}: definitions after a rescan"
    );
}
