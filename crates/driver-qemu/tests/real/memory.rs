//! Memory images on the real QEMU: a Linux that five guests go on from, starts and freezes that
//! were cut off, images that QEMU itself refuses, and the way of an older QEMU.

use crate::linux;
use crate::monitor;
use crate::support::{Ground, await_that, open_with, pid, processes_of, signal};
use stampo_core::size::ByteSize;
use stampo_driver::conformance::{Fixture, Temper};
use stampo_driver::memory_image::machine_hash;
use stampo_driver::{
    Disk, DiskFormat, Driver, DriverError, Ensured, GuestDefinition, Link, MemoryImage,
    MemoryImageDir, Power, Start, StopMethod,
};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A running guest that can be frozen.
fn to_freeze(ground: &Ground, driver: &dyn Driver) -> (GuestDefinition, MemoryImageDir) {
    let image = ground.image_dir();
    let mut guest = ground.guest(Temper::Deaf);
    guest.start = Start::BootToFreeze {
        image: image.clone(),
    };
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("started");
    (guest, MemoryImageDir::at(image))
}

pub fn frozen(ground: &Ground, driver: &dyn Driver) -> (MemoryImageDir, MemoryImage) {
    let (guest, dir) = to_freeze(ground, driver);
    let (_, image) = driver.ensure_frozen(guest.id).expect("frozen");
    driver.ensure_undefined(guest.id).expect("forgotten");
    (dir, image)
}

pub fn fork(ground: &Ground, driver: &dyn Driver, dir: &MemoryImageDir) -> GuestDefinition {
    let mut guest = ground.guest(Temper::Deaf);
    guest.start = Start::Resume {
        image: dir.path().to_owned(),
    };
    driver.ensure_defined(&guest).expect("defined");
    guest
}

fn content(dir: &MemoryImageDir) -> [Vec<u8>; 3] {
    [dir.memory(), dir.state(), dir.manifest()].map(|path| fs::read(path).expect("readable"))
}

pub fn status(guest: &GuestDefinition) -> String {
    let status = monitor::qmp(guest, "query-status");
    status["status"].as_str().expect("text").to_owned()
}

/// The number, the cable and the memory of each whole line that a Linux has said.
fn ticks(guest: &GuestDefinition) -> Vec<(u32, bool, bool)> {
    let log = fs::read(guest.directory.join("console.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines = log.lines().filter_map(|line| {
        let mut words = line
            .trim()
            .strip_prefix("tick ")?
            .strip_suffix(" end")?
            .split(' ');
        let number = words.next()?.parse().ok()?;
        let (carrier, memory) = (words.nth(1)?, words.nth(1)?);
        Some((number, carrier == "1", memory == "good"))
    });
    lines.collect()
}

/// Of the mapping of the guest's memory: bytes that are there, and bytes that are its own.
fn memory_of(pid: u32, dir: &MemoryImageDir) -> (u64, u64) {
    let path = dir.memory();
    let path = path.to_str().expect("UTF-8");
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("readable");
    let mut rest = maps
        .lines()
        .skip_while(|line| !line.ends_with(path))
        .skip(1);
    let mut field = |name: &str| {
        let line = rest
            .find(|line| line.starts_with(name))
            .expect("a mapping of the memory");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number");
        kib << 10
    };
    (field("Rss:"), field("Anonymous:"))
}

#[test]
fn five_guests_go_on_from_one_frozen_linux_and_share_its_memory() {
    let ground = Ground::new();
    let driver = open_with(&ground, linux::wrapper(ground.home()));
    let large = |mut guest: GuestDefinition| {
        guest.hardware.memory = ByteSize::mib(256);
        // The kernel is started where QEMU would start from the first disk.
        guest.disks.clear();
        driver.ensure_defined(&guest).expect("defined");
        guest
    };
    let mut template = ground.guest(Temper::Deaf);
    let dir = MemoryImageDir::at(ground.image_dir());
    template.start = Start::BootToFreeze {
        image: dir.path().to_owned(),
    };
    let template = large(template);
    driver.ensure_running(template.id).expect("started");
    await_that("Linux is up, its cable plugged in", || {
        ticks(&template).iter().any(|tick| tick.0 > 2 && tick.1)
    });
    let (_, image) = driver.ensure_frozen(template.id).expect("frozen");
    eprintln!(
        "frozen: saved after {} µs, devices {} bytes",
        image.saved_after_us, image.state_bytes
    );
    let last = ticks(&template).last().expect("it spoke").0;
    let before = content(&dir);

    let forks: Vec<_> = (0..5)
        .map(|_| large(fork(&ground, &driver, &dir)))
        .collect();
    for guest in &forks {
        let begun = Instant::now();
        driver.ensure_running(guest.id).expect("resumed");
        eprintln!("runs after {:?}", begun.elapsed());
    }
    for guest in &forks {
        await_that("it goes on", || ticks(guest).len() >= 3);
        let seen = ticks(guest);
        assert!(
            seen[0].0 > last && seen[0].0 <= last + 2,
            "it went on at {last}: {seen:?}"
        );
        assert!(
            seen.iter().all(|tick| tick.2),
            "its memory is what it was: {seen:?}"
        );
        // The guest may still say what it had read before it was stopped.
        assert!(
            seen[1..].iter().all(|tick| !tick.1),
            "its cable is pulled: {seen:?}"
        );
        let (there, own) = memory_of(pid(&driver, guest), &dir);
        eprintln!(
            "memory there {} KiB, of it its own {} KiB",
            there >> 10,
            own >> 10
        );
        assert!(there > 16 << 20, "it has read what it keeps: {there}");
        assert!(own < 16 << 20, "what it only reads is shared: {own}");
    }
    driver.set_links(forks[0].id, true).expect("plugged in");
    await_that("its cable is seen", || {
        ticks(&forks[0]).last().is_some_and(|tick| tick.1)
    });
    assert!(
        !ticks(&forks[1]).last().expect("it spoke").1,
        "only one was plugged in"
    );
    for guest in &forks {
        assert!(
            ticks(guest).iter().all(|tick| tick.2),
            "another's writes are not seen"
        );
        driver.ensure_undefined(guest.id).expect("forgotten");
    }
    assert!(content(&dir) == before, "the image is as it was");
}

/// What QEMU's user-mode network keeps would be loaded into the same network only: no bridge.
#[test]
fn nothing_of_the_frozen_network_is_saved() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let state = fs::read(dir.state()).expect("readable");
    // As QEMU writes it: a section's name after its length (`migration/savevm.c`).
    let has = |name: &[u8]| state.windows(name.len()).any(|bytes| bytes == name);
    assert!(has(b"virtio-net"), "the interface is saved");
    assert!(!has(b"\x05slirp"), "its network is saved");
    let mut guest = fork(&ground, &driver, &dir);
    guest.nics[0].link = Link::User {
        ssh_port: None,
        guest_address: Some((Ipv4Addr::new(192, 0, 2, 77), 24)),
    };
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("resumed");
    driver.set_links(guest.id, true).expect("plugged in");
    assert!(monitor::link_is_up(&guest));
}

#[test]
fn a_start_that_was_cut_off_is_finished_or_begun_anew() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let guest = fork(&ground, &driver, &dir);
    driver.ensure_running(guest.id).expect("resumed");
    let arguments = arguments(pid(&driver, &guest));

    // Cut off after the mark and the load, before the guest was told to go on.
    monitor::qmp(&guest, "stop");
    driver.set_links(guest.id, true).expect("set");
    let again = driver.ensure_running(guest.id).expect("finished");
    assert_eq!(
        (again, status(&guest).as_str()),
        (Ensured::Changed, "running")
    );
    assert!(
        !monitor::link_is_up(&guest),
        "its links are down however it got there"
    );

    // Cut off before the load: a QEMU that waits, with and without the mark.
    for marked in [true, false] {
        driver
            .ensure_stopped(guest.id, StopMethod::Kill)
            .expect("stopped");
        if !marked {
            fs::remove_file(guest.directory.join("resumed")).expect("it was marked");
        }
        let mut waiting = Command::new(&arguments[0])
            .args(&arguments[1..])
            .current_dir(&guest.directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("QEMU starts");
        await_that("it waits", || {
            guest.directory.join("qmp.sock").exists()
                && matches!(
                    driver.observe(guest.id), Ok(Power::Running { pid, .. }) if pid == waiting.id()
                )
        });
        assert_eq!(status(&guest), "inmigrate");
        let again = driver.ensure_running(guest.id).expect("begun anew");
        assert_eq!(
            (again, status(&guest).as_str()),
            (Ensured::Changed, "running")
        );
        assert!(
            waiting.wait().expect("reaped").code().is_none(),
            "it was killed"
        );
    }
    driver.ensure_undefined(guest.id).expect("forgotten");
    assert_eq!(processes_of(&guest), 0);
}

fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).expect("readable");
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.trim_end_matches('\0')
        .split('\0')
        .map(str::to_owned)
        .collect()
}

/// When a child is killed; the last is not.
fn moments() -> impl Iterator<Item = Option<Duration>> {
    let moments = (0..400).step_by(20).map(Duration::from_millis);
    moments.map(Some).chain([None])
}

/// Runs one act in a child that is this test program again, and kills it after `moment`.
pub fn killed_at(test: &str, act: &str, ground: &Ground, moment: Option<Duration>) {
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env("STAMPO_QEMU_TEST_ACT", act)
        .env("STAMPO_QEMU_TEST_GUESTS", ground.driver().guests_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    if let Some(moment) = moment {
        std::thread::sleep(moment);
        let _ = child.kill();
    }
    child.wait().expect("reaped");
}

/// In such a child: does the act on the only guest and ends the process.
pub fn act_of_a_child() {
    let Ok(act) = std::env::var("STAMPO_QEMU_TEST_ACT") else {
        return;
    };
    let dir = std::env::var("STAMPO_QEMU_TEST_GUESTS").expect("given together");
    let driver = crate::support::open(Path::new(&dir));
    if let Some(done) = crate::prepared::act(&driver, &act) {
        std::process::exit(i32::from(!done));
    }
    let id = driver.list().expect("listed")[0];
    let done = match act.as_str() {
        "resume" => driver.ensure_running(id).map(drop),
        _ => driver.ensure_frozen(id).map(drop),
    };
    std::process::exit(i32::from(done.is_err()));
}

#[test]
fn a_starter_killed_at_any_moment_leaves_nothing_half_made() {
    act_of_a_child();
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let before = content(&dir);
    let mut ends = [0; 3];
    for moment in moments() {
        let guest = fork(&ground, &driver, &dir);
        let test = "memory::a_starter_killed_at_any_moment_leaves_nothing_half_made";
        killed_at(test, "resume", &ground, moment);
        let end = match driver.ensure_running(guest.id) {
            Ok(Ensured::Changed) => 0,
            Ok(Ensured::Unchanged) => 1,
            // Its process died before it was seen whether it had gone on.
            Err(DriverError::Unsupported { .. }) => 2,
            Err(other) => panic!("after {moment:?}: {other:?}"),
        };
        ends[end] += 1;
        if end < 2 {
            assert_eq!(status(&guest), "running", "after {moment:?}");
        }
        driver.ensure_undefined(guest.id).expect("forgotten");
        await_that("no process is left", || processes_of(&guest) == 0);
        assert!(!guest.directory.join("resumed").exists());
    }
    eprintln!("finished by the next, found running, spent: {ends:?}");
    assert!(
        ends[0] > 0 && ends[1] > 0,
        "some were killed early, some late: {ends:?}"
    );
    assert!(content(&dir) == before, "the image is as it was");
}

#[test]
fn a_freezer_killed_at_any_moment_leaves_a_whole_image_or_none() {
    act_of_a_child();
    let ground = Ground::new();
    let driver = ground.driver();
    let mut ends = [0; 3];
    for moment in moments() {
        let (guest, dir) = to_freeze(&ground, &driver);
        let test = "memory::a_freezer_killed_at_any_moment_leaves_a_whole_image_or_none";
        killed_at(test, "freeze", &ground, moment);
        let whole = dir.read().expect("readable").is_some();
        if whole {
            assert_eq!(driver.observe(guest.id).expect("seen"), Power::Stopped);
        }
        let end = match driver.ensure_frozen(guest.id) {
            Ok((Ensured::Unchanged, _)) if whole => 0,
            Ok((Ensured::Changed, _)) if !whole => 1,
            Err(DriverError::Program { .. } | DriverError::NotRunning(_)) if !whole => 2,
            other => panic!("after {moment:?}, {whole}: {other:?}"),
        };
        ends[end] += 1;
        driver.ensure_undefined(guest.id).expect("forgotten");
        await_that("no process is left", || processes_of(&guest) == 0);
        assert_eq!(dir.read().expect("readable").is_some(), end < 2);
        if end < 2 {
            let fork = fork(&ground, &driver, &dir);
            driver
                .ensure_running(fork.id)
                .expect("a whole image is good");
            driver.ensure_undefined(fork.id).expect("forgotten");
        }
    }
    eprintln!("done before, done again, cut off: {ends:?}");
    assert!(
        ends[0] > 0 && ends[1] > 0,
        "some were killed early, some late: {ends:?}"
    );
}

#[test]
fn a_guest_that_was_stopped_half_way_is_not_frozen() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (guest, dir) = to_freeze(&ground, &driver);
    monitor::qmp(&guest, "stop");
    match driver.ensure_frozen(guest.id) {
        Err(DriverError::Program { why, .. }) => assert!(why.contains("cut off"), "{why}"),
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(dir.read().expect("readable"), None);
}

#[test]
fn devices_that_qemu_can_not_load_leave_nothing_running_and_are_not_held_against_the_guest() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, image) = frozen(&ground, &driver);
    let whole = fs::read(dir.state()).expect("readable");
    fs::set_permissions(dir.state(), fs::Permissions::from_mode(0o600)).expect("set");
    let state = fs::OpenOptions::new()
        .write(true)
        .open(dir.state())
        .expect("open");
    let guest = fork(&ground, &driver, &dir);
    let middle = image.state_bytes / 2;
    for (at, bytes) in [
        (0, vec![0; 8]),
        (middle, vec![0xff; (image.state_bytes - middle) as usize]),
    ] {
        state.write_all_at(&bytes, at).expect("written");
        match driver.ensure_running(guest.id) {
            Err(DriverError::Program { why, .. }) => eprintln!("{why}"),
            other => panic!("expected QEMU's refusal, got {other:?}"),
        }
        assert_eq!(driver.observe(guest.id).expect("seen"), Power::Stopped);
        await_that("nothing is left", || processes_of(&guest) == 0);
        state.write_all_at(&whole, 0).expect("written back");
    }
    driver
        .ensure_running(guest.id)
        .expect("the whole image is good");
    assert_eq!(status(&guest), "running");
}

#[test]
fn an_image_of_a_newer_qemu_or_of_an_unknown_machine_is_refused() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, image) = frozen(&ground, &driver);
    assert!(
        image.machine_type.starts_with("pc-q35-"),
        "{}",
        image.machine_type
    );
    let guest = fork(&ground, &driver, &dir);
    let mut newer = image.clone();
    newer.version = "99.0.0".to_owned();
    let mut unknown = image.clone();
    unknown.machine_type = "pc-q35-99.0".to_owned();
    let mut other = image.clone();
    for line in &mut other.machine {
        *line = line.replace("qemu64", "Nehalem");
    }
    other.machine_hash = machine_hash(&other.machine);
    for (changed, word) in [
        (newer, "99.0.0"),
        (unknown, "pc-q35-99.0"),
        (other, "Nehalem"),
    ] {
        fs::remove_file(dir.manifest()).expect("removed");
        dir.seal(&changed, 0o400).expect("written");
        match driver.ensure_running(guest.id) {
            Err(DriverError::Unfit { differs, .. }) => {
                assert!(
                    differs.iter().any(|line| line.contains(word)),
                    "{differs:?}"
                );
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert!(
            !guest.directory.join("qemu.log").exists(),
            "no process was started"
        );
    }
}

#[test]
fn an_older_qemu_is_handed_the_file_and_may_write_the_memory() {
    let ground = Ground::new();
    let driver = open_with(&ground, linux::old_qemu(ground.home()));
    let (dir, image) = frozen(&ground, &driver);
    let mode = fs::metadata(dir.memory()).expect("there").mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = content(&dir);
    let guest = fork(&ground, &driver, &dir);
    match driver.ensure_running(guest.id) {
        Err(DriverError::Unfit { differs, .. }) => assert_eq!(differs.len(), 1, "{differs:?}"),
        other => panic!(
            "an image of {} is too new for 7.2: {other:?}",
            image.version
        ),
    }
    fs::remove_file(dir.manifest()).expect("removed");
    let older = MemoryImage {
        version: "7.2.0".to_owned(),
        ..image
    };
    dir.seal(&older, 0o600).expect("written");
    driver.ensure_running(guest.id).expect("resumed");
    assert_eq!(status(&guest), "running");
    let arguments = arguments(pid(&driver, &guest));
    let memory = arguments
        .iter()
        .find(|arg| arg.contains("memory-backend-file"))
        .expect("an object");
    assert!(
        !memory.contains("readonly") && !memory.contains("rom"),
        "{memory}"
    );
    driver.ensure_undefined(guest.id).expect("forgotten");
    assert!(
        content(&dir)[..2] == before[..2],
        "it was private all the same"
    );
}

#[test]
fn a_disk_is_read_through_its_layers() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (mut guest, polite) = (ground.guest(Temper::Deaf), ground.guest(Temper::Polite));
    let base = guest.disks[0].path.clone();
    let in_guest = |name: &str| guest.directory.join(name);
    let (layer, top) = (in_guest("layer.qcow2"), in_guest("top.qcow2"));
    // The middle one alone has the boot sector that speaks.
    qemu_img(
        &["convert", "-f", "raw", "-O", "qcow2"],
        &[&polite.disks[0].path, &layer],
    );
    qemu_img(&["create", "-q", "-f", "qcow2"], &[&top, Path::new("1M")]);
    guest.disks = vec![Disk {
        path: top,
        format: DiskFormat::Qcow2,
        backing: Some(base),
        layers: vec![layer],
        serial: "root".to_owned(),
    }];
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("started");
    let log = driver.console_log(guest.id).expect("known");
    await_that("the layer's boot sector speaks", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))
    });
    signal("KILL", pid(&driver, &guest));
}

fn qemu_img(arguments: &[&str], paths: &[&Path]) {
    let status = Command::new("qemu-img")
        .args(arguments)
        .args(paths)
        .status();
    assert!(
        status
            .expect("this test needs the package qemu-utils")
            .success()
    );
}
