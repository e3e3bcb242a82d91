//! The host's programs: where they are, and running one with a time limit.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wire::Deadline;
use stampo_driver::DriverError;

/// The most output that is kept of a program.
const MOST_OUTPUT: u64 = 64 << 10;

/// The program of this name: in `PATH`, then where administrators' and QEMU's own programs lie
/// (ordinary users often have no `sbin` in their path).
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/libexec", "/usr/lib/qemu"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// How a program ended, and what it wrote to both outputs together.
pub(crate) struct Finished {
    pub status: ExitStatus,
    pub output: String,
}

/// Runs a program to its end, or kills it after `limit`; `None` then.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<Option<Finished>> {
    let output = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let deadline = Deadline::after(limit);
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(Finished {
                status,
                output: head(output)?,
            }));
        }
        if !deadline.sleep(pause) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

fn head(file: File) -> io::Result<String> {
    use std::io::Seek;
    let mut file = file;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a program that must succeed.
pub(crate) fn run_ok(
    program: &Path,
    args: &[&OsStr],
    dir: &Path,
    limit: Duration,
) -> Result<String, DriverError> {
    let failed = |why: String| DriverError::Program {
        program: program.display().to_string(),
        why,
    };
    match run(Command::new(program).args(args).current_dir(dir), limit) {
        Err(e) => Err(failed(e.to_string())),
        Ok(None) => Err(failed(format!(
            "it did not end within {} s",
            limit.as_secs()
        ))),
        Ok(Some(done)) if done.status.success() => Ok(done.output),
        Ok(Some(done)) => Err(failed(format!(
            "{}: {}",
            done.status,
            crate::wire::printable(&done.output)
        ))),
    }
}

/// A QEMU on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qemu {
    pub path: PathBuf,
    pub version: Version,
}

/// A version number of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The oldest QEMU whose options this driver uses: Debian 12's.
pub(crate) const OLDEST_QEMU: Version = Version(7, 2, 0);

impl Qemu {
    /// The emulator for x86-64: the one asked for, or the first that is found.
    pub fn find(asked: Option<&Path>) -> Result<Self, DriverError> {
        let names = ["qemu-system-x86_64", "qemu-kvm"];
        let path = match asked {
            Some(path) => path.to_owned(),
            None => names.iter().find_map(|name| find(name)).ok_or_else(|| DriverError::Unsupported {
                what: "start guests".to_owned(),
                why: "qemu-system-x86_64 is not installed; on Debian: apt install qemu-system-x86".to_owned(),
            })?,
        };
        let text = run_ok(
            &path,
            &["--version".as_ref()],
            Path::new("/"),
            Duration::from_secs(20),
        )?;
        let version = parse_version(&text).ok_or_else(|| DriverError::Program {
            program: path.display().to_string(),
            why: format!(
                "its version can't be read from {:?}",
                crate::wire::printable(&text)
            ),
        })?;
        if version < OLDEST_QEMU {
            return Err(DriverError::Unsupported {
                what: format!("use QEMU {version}"),
                why: format!("it must be at least {OLDEST_QEMU}"),
            });
        }
        Ok(Qemu { path, version })
    }
}

/// The number in "QEMU emulator version 10.0.2 (Debian …)".
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once("version ")?;
    parse_number(rest)
}

/// The number at the beginning of "10.0.2 (Debian …)".
pub(crate) fn parse_number(text: &str) -> Option<Version> {
    let number = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?;
    let mut parts = number.split('.').map(str::parse);
    let mut next = || parts.next().unwrap_or(Ok(0)).ok();
    Some(Version(next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn versions_are_read_from_what_distributions_print() {
        for (text, version) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright",
                Version(10, 0, 2),
            ),
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)",
                Version(7, 2, 22),
            ),
            ("QEMU emulator version 9.1 (x)", Version(9, 1, 0)),
            (
                "QEMU emulator version 8.2.50 (v8.2.0-1-gabc)",
                Version(8, 2, 50),
            ),
        ] {
            assert_eq!(parse_version(text), Some(version), "{text}");
        }
        assert_eq!(parse_version("hello"), None);
        assert!(Version(10, 0, 0) > Version(7, 2, 0));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_at_its_limit() {
        let started = Instant::now();
        let done =
            run(Command::new("sleep").arg("60"), Duration::from_millis(100)).expect("it starts");
        assert!(done.is_none());
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn endless_output_neither_blocks_nor_fills_the_memory() {
        let done = run(
            Command::new("sh").args(["-c", "yes | head -c 3000000; exit 3"]),
            Duration::from_secs(20),
        );
        let done = done.expect("it starts").expect("it ends");
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(done.output.len() as u64, MOST_OUTPUT);
    }
}
