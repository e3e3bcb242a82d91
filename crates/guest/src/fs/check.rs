//! e2fsck's verdict on a filesystem: the gate behind every edit.
//!
//! The check runs as a child process on a file that it can't write (`-n`). It never repairs.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a check may take unless the caller says otherwise.
pub const CHECK_TIME_LIMIT: Duration = Duration::from_secs(300);
/// Most bytes of output that are kept.
const MAX_OUTPUT: u64 = 256 << 10;
/// Most lines of complaints that are given back.
const MAX_LINES: usize = 200;
/// Exit code for errors that were left alone (e2fsck(8), "EXIT CODE").
const ERRORS_LEFT: i32 = 4;

/// What e2fsck says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to complain about.
    Clean,
    /// Its complaints, line by line.
    Dirty(Vec<String>),
}

/// Why there is no verdict. That is not a good verdict.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The program can't be run.
    #[error("run e2fsck (package e2fsprogs)")]
    Start(#[source] io::Error),
    /// The disk image can't be opened.
    #[error("open {path} to check its filesystem")]
    Open {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It took longer than allowed and was stopped.
    #[error("check the filesystem within {} seconds", .0.as_secs())]
    TimeLimit(Duration),
    /// It gave up; what it said.
    #[error("check the filesystem: e2fsck ended with code {code}: {said}")]
    GaveUp {
        /// Its exit code; -1 for a signal.
        code: i32,
        /// The end of its output.
        said: String,
    },
}

/// Checks the ext filesystem that begins at `offset_bytes` of the raw image at `path`.
///
/// # Errors
/// [`CheckError`], when e2fsck could not come to a verdict.
pub fn e2fsck_clean(path: &Path, offset_bytes: u64) -> Result<Verdict, CheckError> {
    e2fsck_clean_within(path, offset_bytes, CHECK_TIME_LIMIT)
}

/// [`e2fsck_clean`] with a time limit of its own.
pub fn e2fsck_clean_within(
    path: &Path,
    offset_bytes: u64,
    limit: Duration,
) -> Result<Verdict, CheckError> {
    let image = File::open(path).map_err(|source| CheckError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut child = command(offset_bytes)
        .stdin(Stdio::from(image))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(CheckError::Start)?;
    let output = collect(child.stdout.take());
    let errors = collect(child.stderr.take());
    let code = wait(&mut child, limit)?;
    let text = output.join().unwrap_or_default();
    match code {
        0 => Ok(Verdict::Clean),
        ERRORS_LEFT => Ok(Verdict::Dirty(complaints(&text))),
        code => {
            let said = errors.join().unwrap_or_default() + &text;
            let start = said.len().saturating_sub(600);
            let said = said.get(start..).unwrap_or(&said).trim().to_owned();
            Err(CheckError::GaveUp { code, said })
        }
    }
}

/// The image is handed over as standard input, so that no character of its path means anything to
/// e2fsck (it takes options after a `?`). libblkid is asked to leave its settings and its cache
/// alone: there is nothing to find, and it would look at the devices of the host that are listed
/// there. It does so for root; for others it reads both, which only root can write.
fn command(offset_bytes: u64) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("e2fsck");
    command
        .arg("-fn")
        .arg(format!("/proc/self/fd/0?offset={offset_bytes}"))
        .env_clear()
        .env("LC_ALL", "C")
        .env("BLKID_FILE", "/dev/null")
        .env("BLKID_CONF", "/dev/null")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Reads a pipe to its end, so that the child never waits for us, and keeps the begin.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            // What can't be read is not output; the exit code decides.
            let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// Waits for the end of the child, or ends it.
fn wait(child: &mut Child, limit: Duration) -> Result<i32, CheckError> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait().map_err(CheckError::Start)? {
            Some(status) => return Ok(status.code().unwrap_or(-1)),
            None if Instant::now() >= end => {
                // It may just have ended by itself; either way it is waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(CheckError::TimeLimit(limit));
            }
            None => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The lines that say what is wrong, without the names of the passes and the questions.
fn complaints(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Pass ") && !line.ends_with("? no"))
        .take(MAX_LINES)
        .map(|line| line.replace(|c: char| c.is_control(), "?"))
        .collect()
}
