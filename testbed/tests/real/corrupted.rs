//! Hundreds of randomly damaged copies of a real Debian guest: a clean error or a right result,
//! never a panic, never for long, in bounded memory.
//!
//! Two processes work on a copy each, one of them without the checksums of ext4: there damage is
//! not noticed at once and goes deeper. `STAMPO_SEED=n` repeats one seed, `STAMPO_LONG=1` does ten
//! times as many.

mod case;
mod copy;
mod damage;

use case::Patient;
use stampo_testbed::Stampo;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The longest that one copy may take, on a machine that does nothing else.
const MAX_TIME: Duration = Duration::from_secs(10);
/// The most memory that a process may take for one copy.
const MAX_PEAK_KIB: u64 = 256 << 10;
/// Set for a worker: the copy, the pristine disk, the first seed, their number.
const WORKER: &str = "STAMPO_TEST_CORRUPTED";

pub fn four_hundred_damaged_copies_of_a_real_guest() {
    let long = std::env::var_os("STAMPO_LONG").is_some_and(|value| value == "1");
    let each = if long { 2000 } else { 200 };
    let only = std::env::var("STAMPO_SEED")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let stampo = Stampo::new();
    let disk = stampo.shared_disk("examples/web.toml");
    let [whole, plain] = ["whole.raw", "plain.raw"].map(|name| stampo.path(name));
    copy_file(&disk, &whole);
    copy_file(&disk, &plain);
    take_checksums_off(&plain);
    let told = std::thread::scope(|scope| {
        let workers = [(whole, 0), (plain, 1_000_000)].map(|(pristine, base)| {
            let copy = stampo.path(&format!("copy-{base}.raw"));
            let (first, count) = only.map_or((base, each), |seed| (seed, 1));
            scope.spawn(move || supervise(&copy, &pristine, first, count))
        });
        workers.map(|worker| worker.join().expect("no supervisor panicked"))
    });
    for outcomes in &told {
        eprintln!("{outcomes:?}");
    }
    let broken: Vec<&String> = told
        .iter()
        .flat_map(BTreeMap::keys)
        .filter(|text| text.starts_with("BROKEN"))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let seen: u64 = told.iter().flat_map(BTreeMap::values).sum();
    assert_eq!(seen, only.map_or(2 * each, |_| 2), "every copy was told of");
    let kinds = |start: &str| {
        told.iter()
            .flat_map(BTreeMap::keys)
            .any(|text| text.starts_with(start))
    };
    let both = kinds("refused") && kinds("sealed");
    assert!(only.is_some() || both, "the damage was not of both kinds");
}

fn copy_file(from: &Path, to: &Path) {
    // The mode of an image is read-only.
    let copied = Command::new("cp")
        .args(["--sparse=always", "--no-preserve=mode"])
        .args([from, to])
        .status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "the disk is copied"
    );
}

/// Makes the filesystem one without checksums of its structures, as tune2fs does.
fn take_checksums_off(disk: &Path) {
    let device = stampo_image::raw::RawFile::open_read_only(disk).expect("the disk");
    let root = stampo_guest::fs::find_root(std::sync::Arc::new(device)).expect("a guest");
    let place = format!("{}?offset={}", disk.display(), root.start_bytes);
    let path = std::env::var("PATH").unwrap_or_default();
    let tuned = Command::new("tune2fs")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["-O", "^metadata_csum", &place])
        .output()
        .expect("tune2fs is needed for this test (package e2fsprogs)");
    assert!(
        tuned.status.success(),
        "{}",
        String::from_utf8_lossy(&tuned.stderr)
    );
}

/// Runs a worker and counts what it tells; one that hangs is ended, one that dies is told of.
fn supervise(copy: &PathBuf, pristine: &Path, first: u64, count: u64) -> BTreeMap<String, u64> {
    copy_file(pristine, copy);
    let job = format!(
        "{}\n{}\n{first}\n{count}",
        copy.display(),
        pristine.display()
    );
    let mut worker = Command::new(std::env::current_exe().expect("this test"))
        .env(WORKER, job)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test starts");
    let pipe = worker.stdout.take().expect("a pipe");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if line.starts_with("case ") && tell.send(line).is_err() {
                break;
            }
        }
    });
    let mut outcomes = BTreeMap::new();
    let mut count_one = |outcome: String| *outcomes.entry(outcome).or_insert(0) += 1;
    let mut running = "no case".to_owned();
    loop {
        // Learning the disk comes before the first case and may take a while.
        let patience = if running == "no case" { 30 } else { 1 };
        match told.recv_timeout(MAX_TIME.mul_f64(crowding()) * patience) {
            Ok(line) => match line.split_once(": ") {
                Some((_, outcome)) => count_one(outcome.to_owned()),
                None => running = line,
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // It may end by itself meanwhile; either way it is waited for.
                let _ = worker.kill();
                count_one(format!("BROKEN {running} hangs"));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if !worker.wait().expect("a child").success() {
        count_one(format!("BROKEN {running} ended its process"));
    }
    let _ = std::fs::remove_file(copy);
    outcomes
}

/// How many processes wanted each processor in the last minute, at least one.
fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|text| text.parse().ok());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load.unwrap_or(1.0) / processors as f64).max(1.0)
}

/// As a worker, the inner half of the test above: prints `case SEED` before each copy and
/// `case SEED: OUTCOME` behind.
pub fn run_worker_if_asked() -> Option<ExitCode> {
    let job = std::env::var(WORKER).ok()?;
    let words: Vec<&str> = job.lines().collect();
    let number = |at: usize| words[at].parse::<u64>().expect("a number");
    let thin = std::env::var_os("STAMPO_LONG").is_none_or(|value| value != "1");
    let patient = Patient::learn(Path::new(words[0]), Path::new(words[1]), thin);
    for seed in number(2)..number(2) + number(3) {
        println!("\ncase {seed}");
        forget_peak();
        let start = Instant::now();
        let treat = std::panic::AssertUnwindSafe(|| patient.treat(seed));
        let outcome = std::panic::catch_unwind(treat);
        let outcome = outcome.unwrap_or_else(|_| Err("it panicked".into()));
        let (time, peak) = (start.elapsed(), peak_kib());
        let outcome = match outcome {
            Ok(_) if time > MAX_TIME.mul_f64(crowding()) => Err(format!("it took {time:?}")),
            Ok(_) if peak > MAX_PEAK_KIB => Err(format!("it took {peak} KiB")),
            other => other,
        };
        println!(
            "case {seed}: {}",
            outcome.unwrap_or_else(|why| format!("BROKEN {seed}: {why}"))
        );
    }
    Some(ExitCode::SUCCESS)
}

/// Sets the peak back to what is taken now (proc(5), `clear_refs`).
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("proc is mounted");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).expect("a peak")
}
