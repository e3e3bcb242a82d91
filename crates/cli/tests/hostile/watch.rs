//! One run of a program under strace: what it opened, how long each of its processes lived, how
//! much memory the largest of them took, and what it printed.
//!
//! What is *not* here: which files are allowed; that is `allowed.rs`.

use crate::allowed::{Access, Allowed, SEARCH_PATH};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The longest that any process may live.
pub const MAX_LIFE: Duration = Duration::from_secs(5);
/// The most memory that any process may take, in KiB.
pub const MAX_PEAK_KIB: u64 = 256 << 10;

/// Set for the process that starts strace and asks the kernel how much its children took: the
/// directory to work in; the program and its arguments are in the file `command` there.
const MEASURED: &str = "STAMPO_TEST_MEASURED";

/// How one run ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 256 for a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// What the largest of its processes took at most.
    pub peak_kib: u64,
    /// How long its oldest process lived, by the clock of strace.
    pub life: Duration,
    /// How long a process may have lived: more than [`MAX_LIFE`] where others wanted the processors.
    pub patience: Duration,
    /// The processor time of all of its processes.
    pub cpu: Duration,
    /// What it asked of files that are not its own.
    pub foreign: Vec<String>,
}

impl Ran {
    /// What the limits were exceeded by, and what else must not be.
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = self.foreign.clone();
        if self.life > self.patience || self.cpu > MAX_LIFE {
            let (life, cpu) = (self.life, self.cpu);
            wrong.push(format!(
                "a process lived for {life:?}, all of them worked for {cpu:?}"
            ));
        }
        if self.peak_kib > MAX_PEAK_KIB {
            wrong.push(format!("a process took {} KiB", self.peak_kib));
        }
        if self.code == 256 || self.stderr.contains("panicked") || self.code == 101 {
            wrong.push(format!(
                "it crashed with code {}: {}",
                self.code, self.stderr
            ));
        }
        for text in [&self.stdout, &self.stderr] {
            let obeyed = |c: &char| c.is_control() && *c != '\n';
            if let Some(c) = text.chars().find(obeyed) {
                wrong.push(format!("a terminal would obey {c:?} in {text:?}"));
            }
        }
        wrong
    }
}

/// Runs a program in `dir`, where it may leave what it likes, and watches it.
pub fn run(dir: &Path, program: &Path, args: &[&str], allowed: &Allowed) -> Ran {
    let mut words = vec![program.to_str().expect("a path that is text")];
    words.extend(args);
    std::fs::write(dir.join("command"), words.join("\0")).expect("a file for the command");
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "measured", "--test-threads=1", "--quiet"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env(MEASURED, dir)
        .stdout(Stdio::null())
        .status()
        .expect("this test starts");
    assert!(status.success(), "{args:?} could not be measured");
    let read = |name: &str| std::fs::read(dir.join(name)).expect("written by the measurer");
    let text = |name: &str| String::from_utf8(read(name)).expect("the program prints UTF-8");
    let measured = text("measured");
    let numbers: Vec<u64> = measured
        .split(' ')
        .map(|text| text.parse().expect("a number"))
        .collect();
    let log = String::from_utf8_lossy(&read("strace")).into_owned();
    Ran {
        code: i32::try_from(numbers[0]).expect("a code"),
        stdout: text("stdout"),
        stderr: text("stderr"),
        peak_kib: numbers[1],
        life: longest_life(&log),
        patience: MAX_LIFE.mul_f64(crowding()),
        cpu: Duration::from_millis(numbers[2]),
        foreign: foreign(&log, allowed),
    }
}

/// The inner half of [`run`]; does nothing in an ordinary run of the tests.
pub fn measure_if_asked() {
    let Some(dir) = std::env::var_os(MEASURED).map(PathBuf::from) else {
        return;
    };
    let words = std::fs::read_to_string(dir.join("command")).expect("the command");
    let file = |name: &str| File::create(dir.join(name)).expect("a file for output");
    let status = Command::new("strace")
        .args(["-f", "-q", "-ttt", "-y", "-s", "4096", "--seccomp-bpf"])
        .args([
            "-e",
            "trace=%file,%network,open_by_handle_at,io_uring_setup",
        ])
        .args(["-e", "signal=none", "-o"])
        .arg(dir.join("strace"))
        .args(words.split('\0'))
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("HOME", &dir)
        .env("STAMPO_HOME", dir.join("home"))
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .status()
        .expect("strace must be installed for this test (package strace)");
    // strace waited for everything that it traced, so this is the largest of all of them.
    let children = nix::sys::resource::UsageWho::RUSAGE_CHILDREN;
    use nix::sys::time::TimeValLike;
    let usage = nix::sys::resource::getrusage(children).expect("usage of children");
    let millis = |time: nix::sys::time::TimeVal| time.num_milliseconds();
    let cpu = millis(usage.user_time()) + millis(usage.system_time());
    let text = format!("{} {} {cpu}", status.code().unwrap_or(256), usage.max_rss());
    std::fs::write(dir.join("measured"), text).expect("a file for the result");
}

/// Seconds that no process may live, however crowded the machine is.
pub fn too_long() -> u64 {
    (MAX_LIFE.as_secs_f64() * crowding() * 1.5) as u64 + 1
}

/// How many processes wanted each processor in the last minute, at least one.
fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load / processors as f64).max(1.0)
}

/// `PID SECONDS CALL`: the parts of a line of strace.
fn parts(line: &str) -> Option<(&str, f64, &str)> {
    let (pid, rest) = line.split_once(' ')?;
    let (time, call) = rest.trim_start().split_once(' ')?;
    Some((pid, time.parse().ok()?, call))
}

/// How long the process lived that lived longest, from its first call to its end.
fn longest_life(log: &str) -> Duration {
    let mut seen: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (pid, time, _) in log.lines().filter_map(parts) {
        seen.entry(pid).or_insert((time, time)).1 = time;
    }
    let lives = seen.values().map(|(first, last)| last - first);
    Duration::from_secs_f64(lives.fold(0.0, f64::max))
}

/// The lines of a log that name a file which is not allowed.
fn foreign(log: &str, allowed: &Allowed) -> Vec<String> {
    let mut wrong = Vec::new();
    for (_, _, call) in log.lines().filter_map(parts) {
        let harmless = call.starts_with("+++") || call.starts_with("<...");
        if !harmless && !is_allowed(call, allowed) {
            wrong.push(format!("outside: {call}"));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn is_allowed(call: &str, allowed: &Allowed) -> bool {
    let name = call.split('(').next().unwrap_or_default();
    let network = [
        "socket",
        "bind",
        "listen",
        "setsockopt",
        "getsockname",
        "socketpair",
        "recvfrom",
        "sendto",
        "shutdown",
    ];
    if network.contains(&name) {
        return allowed.network(call);
    }
    if name == "connect" {
        return allowed.connect(call);
    }
    let access = Access::of(call);
    // What a failed or a successful opening led to, when it was by a link: `= 3</path>`.
    let (before, after) = call.rsplit_once(" = ").unwrap_or((call, ""));
    let led_to = after
        .split_once('<')
        .map(|(_, rest)| rest.trim_end_matches('>'));
    if led_to.is_some_and(|path| path.starts_with('/') && !allowed.path(Path::new(path), access)) {
        return false;
    }
    paths(name, before)
        .iter()
        .all(|path| allowed.path(path, access))
}

/// The paths among the arguments of a call, each joined to the directory that it starts from.
fn paths(name: &str, arguments: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directory = PathBuf::from("/unknown");
    let mut rest = arguments;
    while let Some(at) = rest.find(['<', '"']) {
        let quoted = rest.as_bytes()[at] == b'"';
        rest = &rest[at + 1..];
        let end = if quoted {
            end_of_string(rest)
        } else {
            rest.find('>').unwrap_or(rest.len())
        };
        let text = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if !quoted {
            directory = PathBuf::from(text);
        } else if !text.is_empty() {
            found.push(plain(&directory.join(text)));
        }
        let one = ["execve", "symlink", "readlink"].contains(&name);
        if one && !found.is_empty() {
            break;
        }
    }
    found
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
