//! Cases about memory images: freezing a guest, and starting others from what was frozen.

use super::{Fixture, Temper, assert_not_found, assert_not_running, define, pid, power};
use crate::{
    Driver, DriverError, Ensured, GuestDefinition, MemoryImage, MemoryImageDir, Power, Start,
    StopMethod,
};
use stampo_core::hardware::{DiskBus, NicModel};
use stampo_core::size::ByteSize;
use std::fs;
use std::os::unix::fs::MetadataExt;
use uuid::Uuid;

/// A guest that can be frozen, running, and where its image will be.
fn to_freeze(place: &dyn Fixture, driver: &dyn Driver) -> (GuestDefinition, MemoryImageDir) {
    let image = place.image_dir();
    let mut guest = place.guest(Temper::Deaf);
    guest.start = Start::BootToFreeze {
        image: image.clone(),
    };
    driver.ensure_defined(&guest).expect("it is valid");
    place.settle(guest.id, Temper::Deaf);
    driver.ensure_running(guest.id).expect("it starts");
    (guest, MemoryImageDir::at(image))
}

/// A frozen guest's image, the guest forgotten.
pub(super) fn frozen(
    place: &dyn Fixture,
    driver: &dyn Driver,
) -> (GuestDefinition, MemoryImageDir, MemoryImage) {
    let (guest, dir) = to_freeze(place, driver);
    let (ensured, image) = driver.ensure_frozen(guest.id).expect("it freezes");
    assert_eq!(ensured, Ensured::Changed);
    driver.ensure_undefined(guest.id).expect("forgotten");
    (guest, dir, image)
}

/// A guest that starts from this image.
pub(super) fn fork(
    place: &dyn Fixture,
    driver: &dyn Driver,
    dir: &MemoryImageDir,
) -> GuestDefinition {
    let mut guest = place.guest(Temper::Deaf);
    guest.start = Start::Resume {
        image: dir.path().to_owned(),
    };
    driver.ensure_defined(&guest).expect("it is valid");
    place.settle(guest.id, Temper::Deaf);
    guest
}

/// The image's files: name, mode, hash.
pub(super) fn files(dir: &MemoryImageDir) -> Vec<(String, u32, blake3::Hash)> {
    let entries = fs::read_dir(dir.path()).expect("the image's directory can be listed");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let mode = fs::metadata(&path).expect("it is there").mode() & 0o7777;
            let bytes = fs::read(&path).expect("its owner can read it");
            (path.display().to_string(), mode, blake3::hash(&bytes))
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// The refusal of a guest that does not fit, with nothing left running.
fn assert_unfit(driver: &dyn Driver, guest: &GuestDefinition, word: &str) {
    let refused = |what: &str, result: Result<(), DriverError>| match result {
        Err(DriverError::Unfit { differs, .. }) => assert!(
            differs.iter().any(|line| line.contains(word)),
            "{what}: {differs:?} must name {word:?}"
        ),
        other => panic!("{what}: {word}: expected a refusal, got {other:?}"),
    };
    refused("asked before", driver.check_resume(guest));
    driver.ensure_defined(guest).expect("it is valid by itself");
    refused("started", driver.ensure_running(guest.id).map(drop));
    assert_eq!(power(driver, guest.id), Power::Stopped);
}

pub(super) fn not_frozen(place: &dyn Fixture) {
    let driver = place.open();
    assert!(
        driver.capabilities().expect("capabilities").memory_images,
        "a driver that can't freeze does not run this suite"
    );
    let unknown = place.guest(Temper::Deaf).id;
    assert_not_found(unknown, driver.ensure_frozen(unknown));
    assert_not_found(unknown, driver.set_links(unknown, true));
    let (guest, dir) = to_freeze(place, &*driver);
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("it stops");
    assert_not_running(guest.id, driver.ensure_frozen(guest.id));
    assert_not_running(guest.id, driver.set_links(guest.id, true));
    assert_eq!(dir.read().expect("readable"), None, "nothing was frozen");
    let ordinary = define(place, &*driver, Temper::Deaf);
    driver.ensure_running(ordinary.id).expect("it starts");
    match driver.ensure_frozen(ordinary.id) {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("expected a refusal, got {other:?}"),
    }
    pid(&*driver, ordinary.id);
    driver.ensure_undefined(ordinary.id).expect("clean up");
}

pub(super) fn freeze_twice(place: &dyn Fixture) {
    let driver = place.open();
    let (guest, dir) = to_freeze(place, &*driver);
    driver.ensure_paused(guest.id).expect("paused");
    assert_not_running(guest.id, driver.ensure_frozen(guest.id));
    driver.ensure_running(guest.id).expect("it goes on");
    assert_eq!(
        dir.read().expect("readable"),
        None,
        "no image before its end"
    );
    let (ensured, image) = driver.ensure_frozen(guest.id).expect("it freezes");
    assert_eq!(ensured, Ensured::Changed);
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
    assert_eq!(dir.complete().expect("a complete image"), image);
    assert_eq!(image.memory_bytes, guest.hardware.memory.bytes());
    assert_eq!(image.generation_id, guest.generation_id);
    assert_eq!(image.macs, [guest.nics[0].mac]);
    for (path, mode, _) in files(&dir) {
        assert_eq!(mode & 0o177, 0, "{path} is its owner's alone: {mode:o}");
    }
    let mode = fs::metadata(dir.path()).expect("it is there").mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let before = files(&dir);
    let again = driver.ensure_frozen(guest.id).expect("repeating");
    assert_eq!(again, (Ensured::Unchanged, image));
    match driver.ensure_running(guest.id) {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("a frozen guest must not run on: {other:?}"),
    }
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
    assert_eq!(files(&dir), before);
}

pub(super) fn resume_many(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let before = files(&dir);
    let forks = [0, 1, 2].map(|_| fork(place, &*driver, &dir));
    for guest in &forks {
        let first = driver.ensure_running(guest.id).expect("it resumes");
        assert_eq!(first, Ensured::Changed);
    }
    let pids = forks.each_ref().map(|guest| pid(&*driver, guest.id));
    for (guest, before) in forks.iter().zip(pids) {
        let again = driver.ensure_running(guest.id).expect("it runs");
        assert_eq!(again, Ensured::Unchanged);
        assert_eq!(
            pid(&*driver, guest.id),
            before,
            "it is still the same process"
        );
    }
    for guest in &forks {
        driver.ensure_undefined(guest.id).expect("clean up");
    }
    assert_eq!(files(&dir), before, "the image is as it was");
}

pub(super) fn links(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let guest = fork(place, &*driver, &dir);
    driver.ensure_running(guest.id).expect("it resumes");
    assert!(!place.links_are_up(guest.id), "nobody has plugged it in");
    for up in [true, true, false, false, true] {
        driver.set_links(guest.id, up).expect("it runs");
        assert_eq!(place.links_are_up(guest.id), up);
    }
    driver.ensure_undefined(guest.id).expect("clean up");
}

pub(super) fn unfit(place: &dyn Fixture) {
    let driver = place.open();
    let (frozen, dir, _) = frozen(place, &*driver);
    let before = files(&dir);
    let guest = fork(place, &*driver, &dir);
    // One that nobody has defined is judged as well.
    let stranger = GuestDefinition {
        start: guest.start.clone(),
        ..place.guest(Temper::Deaf)
    };
    driver.check_resume(&stranger).expect("it fits");
    assert_eq!(power(&*driver, stranger.id), Power::Undefined);
    let with = |word: &str, change: &dyn Fn(&mut GuestDefinition)| {
        let mut other = guest.clone();
        change(&mut other);
        assert_unfit(&*driver, &other, word);
    };
    with("80", &|g| g.hardware.memory = ByteSize::mib(80));
    with("2", &|g| g.hardware.cpus = 2);
    with("", &|g| g.hardware.disk_bus = DiskBus::Scsi);
    with("", &|g| g.disks.push(g.disks[0].clone()));
    with("", &|g| g.nics.push(g.nics[0].clone()));
    with("", &|g| g.nics.clear());
    with("", &|g| g.nics[0].model = NicModel::E1000e);
    with("generation id", &|g| g.generation_id = frozen.generation_id);
    with("address", &|g| g.nics[0].mac = frozen.nics[0].mac);
    assert_eq!(files(&dir), before);
    driver.ensure_defined(&guest).expect("as it was");
    driver.ensure_running(guest.id).expect("unchanged, it fits");
    driver.ensure_undefined(guest.id).expect("clean up");
}

pub(super) fn damaged(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, image) = frozen(place, &*driver);
    let guest = fork(place, &*driver, &dir);
    let manifest = fs::read_to_string(dir.manifest()).expect("readable");
    let rewrite = |text: &str| {
        fs::remove_file(dir.manifest()).expect("removed");
        fs::write(dir.manifest(), text).expect("written");
    };
    let longer = |bytes: u64| {
        let field = |bytes: u64| format!("\"state_bytes\": {bytes}");
        manifest.replace(&field(image.state_bytes), &field(bytes))
    };
    assert_ne!(longer(1), manifest, "the manifest holds the size");
    rewrite(&longer(image.state_bytes + 1));
    assert_unfit(&*driver, &guest, "state");
    rewrite(&manifest.replacen(&image.machine[0], "another machine", 1));
    assert_unfit(&*driver, &guest, "manifest");
    fs::remove_file(dir.manifest()).expect("removed");
    assert_unfit(&*driver, &guest, "no complete memory image");
}

pub(super) fn resume_once(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let mut guest = fork(place, &*driver, &dir);
    driver.ensure_running(guest.id).expect("it resumes");
    match driver.ensure_frozen(guest.id) {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("the memory of a fork is no file: {other:?}"),
    }
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("it stops");
    // Its disk was written to since: memory of before that would destroy its file systems.
    match driver.ensure_running(guest.id) {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
    guest.start = Start::BootResumed;
    driver.ensure_defined(&guest).expect("redefined");
    assert_eq!(
        driver.ensure_running(guest.id).expect("it boots"),
        Ensured::Changed
    );
    driver.ensure_undefined(guest.id).expect("clean up");
}

pub(super) fn not_copied(place: &dyn Fixture) {
    let driver = place.open();
    let image = place.image_dir();
    for change in [
        |g: &mut GuestDefinition| g.hardware.tpm = true,
        |g: &mut GuestDefinition| g.seed = Some(g.directory.join("seed.iso")),
    ] {
        let mut guest = place.guest(Temper::Deaf);
        guest.generation_id = Uuid::from_u128(1);
        guest.start = Start::BootToFreeze {
            image: image.clone(),
        };
        change(&mut guest);
        match driver.ensure_defined(&guest) {
            Err(DriverError::Unsupported { .. }) => {}
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert_eq!(power(&*driver, guest.id), Power::Undefined);
    }
    assert!(!image.exists());
}
