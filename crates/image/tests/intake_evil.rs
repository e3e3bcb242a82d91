//! Every hostile image is refused for its own reason, quickly, in bounded memory, without a trace,
//! and without a single look at any other file.

mod intake_support;

use intake_support::evil::{self, CANARY, Case};
use intake_support::{TIGHT, file_of, image::Image, refused_kind, take};
use stampo_image::intake::{DeclaredFormat, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn there_are_at_least_sixty_of_them_with_distinct_names() {
    let cases = evil::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= 60, "only {}", cases.len());
}

/// What is wrong with the way in which one image was refused.
fn complaint(case: &Case) -> Option<String> {
    let start = Instant::now();
    let (result, destination) = take(file_of(&case.bytes), case.declared, TIGHT);
    let text = result
        .as_ref()
        .map_or_else(ToString::to_string, |taken| format!("{taken:?}"));
    let kind = refused_kind(result);
    let left = destination.metadata().expect("metadata").len();
    let time = start.elapsed();
    let printable = text.chars().all(|c| !c.is_control());
    let good = kind == case.kind && left == 0 && time < Duration::from_secs(5) && printable;
    let name = &case.name;
    (!good).then(|| {
        format!(
            "{name}: {kind}, not {}; {left} bytes left; {time:?}; {text}",
            case.kind
        )
    })
}

#[test]
fn every_evil_image_is_refused() {
    plant_canary();
    let complaints: Vec<String> = evil::all().iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_reasons_that_no_bytes_can_show_have_their_own_limits() {
    let too_long = intake_support::TIGHT.max_file_bytes + 1;
    let file = file_of(b"");
    file.set_len(too_long).expect("a sparse file");
    let (result, _) = take(file, DeclaredFormat::Raw, TIGHT);
    assert_eq!(refused_kind(result), "file_too_large");

    let small = stampo_image::intake::Limits {
        max_virtual_bytes: 4096,
        ..TIGHT
    };
    let (result, _) = take(file_of(&[1; 8192]), DeclaredFormat::Raw, small);
    assert_eq!(refused_kind(result), "virtual_size");

    // 1 TiB of holes in clusters of 512 bytes: two maps of 256 MiB would be needed.
    let many = stampo_image::intake::Limits {
        max_file_bytes: 2 << 40,
        ..TIGHT
    };
    let bytes = Image::valid().u32(20, 9).u64(24, 1 << 10).bytes;
    let file = file_of(&bytes);
    file.set_len(1 << 40).expect("a sparse file");
    let (result, _) = take(file, DeclaredFormat::Qcow2, many);
    assert_eq!(refused_kind(result), "too_many_clusters");
}

#[test]
fn every_reason_is_met_by_some_test() {
    let met: BTreeSet<&str> = evil::all().iter().map(|case| case.kind).collect();
    let elsewhere = ["file_too_large", "too_many_clusters"];
    let missing: Vec<_> = Refusal::KINDS
        .iter()
        .filter(|kind| !met.contains(*kind) && !elsewhere.contains(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_builder_makes_images_that_are_taken_and_that_qemu_img_finds_clean() {
    for (name, image) in [
        ("version 3", Image::valid()),
        ("version 2", Image::valid_v2()),
    ] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, &image.bytes).expect("space");
        let check = Command::new("qemu-img")
            .args(["check", "-f", "qcow2"])
            .arg(file.path())
            .output();
        let check = check.expect("qemu-img must be installed for this test (package qemu-utils)");
        assert!(check.status.success(), "{name}: {check:?}");
        let (result, _) = take(file_of(&image.bytes), DeclaredFormat::Qcow2, TIGHT);
        let taken = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (taken.virtual_size_bytes, taken.data_bytes),
            (1 << 20, 8192)
        );
    }
}

fn plant_canary() {
    let path = Path::new(CANARY);
    std::fs::create_dir_all(path.parent().expect("a directory"))
        .expect("a writable directory of the tests");
    std::fs::write(path, "secret").expect("a writable directory of the tests");
}

/// Runs the test above once more under strace and reads what every child asked of the kernel.
#[test]
fn no_child_opens_a_file_after_its_sandbox_or_any_but_the_loaders_before() {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-s", "4096", "-e"])
        .arg("trace=%file,%network,%process,seccomp,open_by_handle_at,io_uring_setup")
        .arg("-o")
        .arg(log.path())
        .arg(std::env::current_exe().expect("the test program"))
        .args(["--exact", "every_evil_image_is_refused", "--test-threads=1"])
        .output()
        .expect("strace must be installed for this test (package strace)");
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    let log = joined(&std::fs::read_to_string(log.path()).expect("the log of strace"));
    let seen = Seen::of(&log);
    assert!(
        seen.sandboxed >= evil::all().len(),
        "{} of the children",
        seen.sandboxed
    );
    assert!(seen.wrong.is_empty(), "{}", seen.wrong.join("\n"));
    let read_canary = log
        .lines()
        .find(|l| l.contains(CANARY) && l.contains("O_RDONLY"));
    assert_eq!(read_canary, None);
}

/// The log with every call in one line, where it began: strace splits a call in two when another
/// process is scheduled in the middle of it.
fn joined(log: &str) -> String {
    const SPLIT: &str = "<unfinished ...>";
    let mut lines: Vec<String> = Vec::new();
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines() {
        let (pid, call) = line.split_once(' ').unwrap_or((line, ""));
        let end = call.trim_start().strip_prefix("<... ");
        let end = end.and_then(|end| end.split_once(" resumed>"));
        match end.and_then(|(_, end)| Some((begun.remove(pid)?, end))) {
            Some((at, end)) => {
                let start = lines[at].trim_end_matches(SPLIT).trim_end().len();
                lines[at].truncate(start);
                if lines[at].ends_with(',') {
                    lines[at].push(' ');
                }
                lines[at].push_str(end.trim_start());
            }
            None => {
                if call.ends_with(SPLIT) {
                    begun.insert(pid, lines.len());
                }
                lines.push(line.to_owned());
            }
        }
    }
    lines.join("\n")
}

#[test]
fn a_call_in_two_lines_of_a_log_is_one() {
    let whole = "7 newfstatat(3, \"\", {st_mode=S_IFREG}, AT_EMPTY_PATH) = 0\n\
                 8 exit(0) = ?\n9 open( <unfinished ...>";
    // Versions of strace differ in the space before the mark.
    for space in [" ", "  "] {
        let log = format!(
            "7 newfstatat(3, \"\",{space}<unfinished ...>\n8 exit(0) = ?\n\
             7 <... newfstatat resumed>{{st_mode=S_IFREG}}, AT_EMPTY_PATH) = 0\n\
             9 open( <unfinished ...>"
        );
        assert_eq!(joined(&log), whole);
    }
}

/// What a log says about the children.
#[derive(Default)]
struct Seen {
    /// Children whose filter was installed.
    sandboxed: usize,
    /// Lines that should not be there.
    wrong: Vec<String>,
}

impl Seen {
    fn of(log: &str) -> Self {
        let mut seen = Seen::default();
        let (mut children, mut walled) = (BTreeSet::new(), BTreeSet::new());
        let threads = threads_of_children(log);
        let mut killed = BTreeSet::new();
        for line in log.lines() {
            let Some((pid, call)) = line.split_once(' ') else {
                continue;
            };
            let call = call.trim_start();
            // The end of a call whose start was judged, or a thread that ended within it.
            let rest = call.starts_with("<...") || call.starts_with("???");
            // The reader that is being killed by its owner: strace may tell the owner's call a second
            // time, as that of a thread that dies of it.
            let kill = call.split([')', '<']).next().unwrap_or_default().trim_end();
            let is_kill = kill.starts_with("kill(");
            if is_kill && !children.contains(pid) && !threads.contains(pid) {
                killed.insert(kill);
            }
            let told_twice = is_kill && killed.contains(kill);
            if (rest && !is_wall(call)) || told_twice {
                continue;
            }
            if call.starts_with("execve(") && call.contains("stampo-intake-child") {
                children.insert(pid);
                walled.remove(pid);
            } else if threads.contains(pid) {
                // They inherit all walls but the filter, and have nothing to do before it.
                seen.wrong
                    .extend((!allowed(call, true)).then(|| line.to_owned()));
            } else if !children.contains(pid) {
                continue;
            } else if is_wall(call) {
                seen.sandboxed += usize::from(walled.insert(pid));
            } else if !allowed(call, walled.contains(pid)) {
                seen.wrong.push(line.to_owned());
            }
        }
        seen
    }
}

/// The threads that the children start for decompression.
fn threads_of_children(log: &str) -> BTreeSet<&str> {
    let marks = ["CLONE_THREAD", "clone3 resumed", "clone3(0x"];
    let starts = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let children: BTreeSet<&str> = log
        .lines()
        .filter(|line| line.contains("execve(") && line.contains("stampo-intake-child"))
        .filter_map(|line| line.split_once(' ').map(|(pid, _)| pid))
        .collect();
    let by_child = |line: &&str| {
        line.split_once(' ')
            .is_some_and(|(pid, _)| children.contains(pid))
    };
    let started = log.lines().filter(starts).filter(by_child);
    started
        .filter_map(|line| line.rsplit_once("= ").map(|(_, thread)| thread))
        .collect()
}

/// The installed filter; the call may be told in two lines.
fn is_wall(call: &str) -> bool {
    let starts = ["seccomp(SECCOMP_SET_MODE_FILTER", "<... seccomp resumed>"];
    starts.iter().any(|start| call.starts_with(start)) && call.ends_with("= 0")
}

/// Whether a child may make this call, before or behind its walls.
fn allowed(call: &str, walled: bool) -> bool {
    let ends = ["exit_group(", "exit(", "+++", "---"];
    if ends.iter().any(|end| call.starts_with(end)) {
        return !call.contains("SIGSYS");
    }
    // Only what the dynamic loader and the start of a program look at.
    let loaders = [
        "\"/etc/ld.so",
        "\"/lib",
        "\"/usr/lib",
        "\"/proc/self/maps\"",
        "\"\", {st_mode",
    ];
    let calls = [
        "openat(",
        "open(",
        "access(",
        "newfstatat(",
        "readlink(",
        "stat(",
    ];
    let asks_loader = calls.iter().any(|name| call.starts_with(name))
        && loaders.iter().any(|path| call.contains(path));
    // An ordinary user's strace can't read the flags of a process that is closed to tracers; what
    // was started is then judged by its own calls.
    let starts_thread = call.contains("CLONE_THREAD") || call.starts_with("clone3(0x");
    !walled
        && (asks_loader
            || starts_thread
            || call.starts_with("arch_prctl(")
            || call.starts_with("seccomp("))
}
