//! The probe's answer on disk, and what it depends on.

use super::KVM;
use crate::process;
use crate::program::Qemu;
use crate::record;
use serde::{Deserialize, Serialize};
use stampo_driver::{Acceleration, DriverError};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Everything that the answer depends on. Any difference asks for a new probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// Changes with the probe itself.
    probe: u32,
    qemu: PathBuf,
    qemu_version: String,
    kernel: String,
    boot_id: String,
    /// Change time, mode, owner and group of the device; `None` when it is missing.
    kvm: Option<(i64, u32, u32, u32)>,
    /// Whether this user can open it: rights may come from a group of the session.
    opens: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: Key,
    answer: Acceleration,
    /// False for an answer that a busy moment may have given: it is asked for again soon.
    lasting: bool,
}

/// How long an answer holds that is not lasting.
const SOON: Duration = Duration::from_secs(3600);

impl Key {
    /// The state of this host now.
    pub fn now(qemu: &Qemu) -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kvm = fs::metadata(KVM).ok();
        Key {
            probe: 1,
            qemu: qemu.path.clone(),
            qemu_version: qemu.version.to_string(),
            kernel: kernel.trim().to_owned(),
            boot_id: process::boot_id().unwrap_or_default(),
            kvm: kvm.map(|m| (m.ctime(), m.mode(), m.uid(), m.gid())),
            opens: super::open_kvm().is_ok(),
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("acceleration.json")
}

/// The remembered answer. A file that can't be read is as good as none.
pub(super) fn read(dir: &Path, key: &Key) -> Option<Acceleration> {
    let entry: Entry = record::read(&path(dir)).ok().flatten()?;
    let holds = entry.lasting || age(&path(dir)).is_some_and(|age| age < SOON);
    (entry.key == *key && holds).then_some(entry.answer)
}

/// How long ago the file was written; `None` when that is not known or in the future.
fn age(path: &Path) -> Option<Duration> {
    SystemTime::now()
        .duration_since(fs::metadata(path).ok()?.modified().ok()?)
        .ok()
}

/// Remembers an answer.
pub(super) fn write(
    dir: &Path,
    key: &Key,
    answer: &Acceleration,
    lasting: bool,
) -> Result<(), DriverError> {
    let entry = Entry {
        key: key.clone(),
        answer: answer.clone(),
        lasting,
    };
    record::write(&path(dir), &entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Version;

    #[test]
    fn an_answer_holds_only_for_the_host_that_gave_it() {
        let home = tempfile::tempdir().expect("a directory");
        let qemu = Qemu {
            path: "/usr/bin/qemu".into(),
            version: Version(10, 0, 2),
        };
        let key = Key::now(&qemu);
        assert_eq!(read(home.path(), &key), None);
        write(home.path(), &key, &Acceleration::Kvm, true).expect("written");
        assert_eq!(read(home.path(), &key), Some(Acceleration::Kvm));
        for other in [
            Key {
                qemu_version: "10.0.3".to_owned(),
                ..key.clone()
            },
            Key {
                kernel: "7.0".to_owned(),
                ..key.clone()
            },
            Key {
                boot_id: "another".to_owned(),
                ..key.clone()
            },
            Key {
                opens: !key.opens,
                ..key.clone()
            },
            Key {
                kvm: Some((1, 2, 3, 4)),
                ..key.clone()
            },
        ] {
            assert_eq!(read(home.path(), &other), None, "{other:?}");
        }
        fs::write(path(home.path()), "{").expect("written");
        assert_eq!(read(home.path(), &key), None, "a broken file is no answer");
    }

    #[test]
    fn an_answer_of_a_busy_moment_is_asked_for_again() {
        let home = tempfile::tempdir().expect("a directory");
        let qemu = Qemu {
            path: "/usr/bin/qemu".into(),
            version: Version(10, 0, 2),
        };
        let key = Key::now(&qemu);
        let answer = Acceleration::Tcg {
            reason: "too slow".to_owned(),
        };
        for (lasting, later) in [(true, Some(answer.clone())), (false, None)] {
            write(home.path(), &key, &answer, lasting).expect("written");
            assert_eq!(read(home.path(), &key), Some(answer.clone()));
            let file = fs::File::options()
                .write(true)
                .open(path(home.path()))
                .expect("opened");
            file.set_modified(SystemTime::now() - SOON).expect("aged");
            assert_eq!(read(home.path(), &key), later);
        }
    }
}
