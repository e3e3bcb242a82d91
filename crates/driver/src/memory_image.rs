//! A memory image: the memory and the devices of one running machine, kept to start others from.
//!
//! ```text
//! <directory>/memory     the guest's whole memory, sparse, as long as the guest's memory is large
//!             state      the devices, in the driver's own format
//!             image.json the manifest; written last: an image without it is not one
//! ```
//! An image is as secret as everything that was in the guest's memory: keys, passwords, the page
//! cache. So the directory and its files are their owner's alone, and nothing ever changes them
//! again. Who may use an image, and how long it lives, is the caller's to decide, not ours.

use crate::{DriverError, GuestDefinition};
use serde::{Deserialize, Serialize};
use stampo_core::network::Mac;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The directory of a memory image, whether the image is there yet or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryImageDir(PathBuf);

/// What is written down with a memory image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryImage {
    /// Who made it, for example `qemu`. Images of one driver mean nothing to another.
    pub driver: String,
    /// The version of what ran the guest, for example `10.0.2`.
    pub version: String,
    /// The machine type with its version, for example `pc-q35-10.0`.
    pub machine_type: String,
    /// Everything of the machine that its guest relies on, one thing a line, in the driver's own
    /// order. A guest that starts from the image must have these very lines.
    pub machine: Vec<String>,
    /// BLAKE3 of the lines, see [`machine_hash`].
    pub machine_hash: String,
    /// The size of the memory.
    pub memory_bytes: u64,
    /// The size of the saved devices.
    pub state_bytes: u64,
    /// The addresses that the frozen guest knows its interfaces by.
    pub macs: Vec<Mac>,
    /// The VM generation id of the frozen guest.
    pub generation_id: Uuid,
    /// Microseconds from the guest's last instruction until its state was saved. That it was made
    /// durable afterwards is not in it.
    pub saved_after_us: u64,
}

/// The hash of a machine's lines: BLAKE3 in hexadecimal over their JSON array.
pub fn machine_hash(machine: &[String]) -> String {
    // A JSON array of strings says where a line ends, whatever is in it.
    let text = serde_json::Value::from(machine.to_vec()).to_string();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The permission bits of everybody but a file's owner.
const OTHERS: u32 = 0o077;

impl MemoryImageDir {
    /// The image that is, or will be, in this directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        MemoryImageDir(dir.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the memory.
    pub fn memory(&self) -> PathBuf {
        self.0.join("memory")
    }

    /// The file of the devices.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// The file of the manifest.
    pub fn manifest(&self) -> PathBuf {
        self.0.join("image.json")
    }

    /// The manifest; `None` when there is no complete image. One that was changed is an error.
    pub fn read(&self) -> Result<Option<MemoryImage>, DriverError> {
        let path = self.manifest();
        let text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(DriverError::io("read", &path))?,
        };
        let image: MemoryImage =
            serde_json::from_slice(&text).map_err(|e| DriverError::io("parse", &path)(e.into()))?;
        if machine_hash(&image.machine) == image.machine_hash {
            return Ok(Some(image));
        }
        Err(self.unfit(vec![
            "its manifest was changed: the hash is another".to_owned(),
        ]))
    }

    /// The manifest of an image that must be there, with its files as long as it says.
    pub fn complete(&self) -> Result<MemoryImage, DriverError> {
        let Some(image) = self.read()? else {
            return Err(self.unfit(vec!["there is no complete memory image".to_owned()]));
        };
        let mut differs = Vec::new();
        for (path, bytes) in [
            (self.memory(), image.memory_bytes),
            (self.state(), image.state_bytes),
        ] {
            let found = match fs::metadata(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                read => Some(read.map_err(DriverError::io("look at", &path))?),
            };
            if found.as_ref().is_some_and(|it| it.mode() & OTHERS != 0) {
                let path = path.display();
                differs.push(format!(
                    "others than its owner may use {path}: chmod go= {path}"
                ));
            }
            let found = found.map(|it| it.len());
            if found != Some(bytes) {
                let found = found.map_or_else(|| "missing".to_owned(), |n| format!("{n} bytes"));
                differs.push(format!("{} is {found}, not {bytes} bytes", path.display()));
            }
        }
        if differs.is_empty() {
            Ok(image)
        } else {
            Err(self.unfit(differs))
        }
    }

    /// Makes the directory, for its owner only, and an empty memory of this size in it. What an
    /// attempt before has left is replaced; a complete image is refused.
    pub fn prepare(&self, memory_bytes: u64) -> Result<(), DriverError> {
        if self.read()?.is_some() {
            return Err(DriverError::Unsupported {
                what: format!("freeze into {}", self.0.display()),
                why: "a memory image is there, and one never changes".to_owned(),
            });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(DriverError::io("create", &self.0))?;
        for path in [self.memory(), self.state()] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(DriverError::io("remove", &path))?,
            }
        }
        let path = self.memory();
        create_secret(&path)
            .and_then(|file| file.set_len(memory_bytes))
            .map_err(DriverError::io("create", &path))
    }

    /// Ends the making of an image: both files durable and with this mode, then the manifest.
    pub fn seal(&self, image: &MemoryImage, mode: u32) -> Result<(), DriverError> {
        for path in [self.memory(), self.state()] {
            fs::set_permissions(&path, Permissions::from_mode(mode))
                .and_then(|()| File::open(&path)?.sync_all())
                .map_err(DriverError::io("make durable", &path))?;
        }
        let path = self.manifest();
        let fresh = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec_pretty(image)?;
            text.push(b'\n');
            let _ = fs::remove_file(&fresh);
            let mut file = create_secret(&fresh)?;
            std::io::Write::write_all(&mut file, &text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(DriverError::io("write", &path))
    }

    fn unfit(&self, differs: Vec<String>) -> DriverError {
        DriverError::Unfit {
            image: self.0.clone(),
            differs,
        }
    }

    /// Refuses a guest that can't be started from this image: its machine must be the frozen one
    /// line for line, and it must not be taken for the frozen guest.
    pub fn check_fits(
        &self,
        image: &MemoryImage,
        driver: &str,
        machine: &[String],
        guest: &GuestDefinition,
    ) -> Result<(), DriverError> {
        let mut differs = differences(&image.machine, machine);
        if image.driver != driver {
            differs.push(format!("it was made by {}, not {driver}", image.driver));
        }
        if image.generation_id == guest.generation_id {
            differs.push("the guest has the generation id of the frozen one".to_owned());
        }
        let same = guest
            .nics
            .iter()
            .filter(|nic| image.macs.contains(&nic.mac));
        differs
            .extend(same.map(|nic| format!("the guest has the frozen one's address {}", nic.mac)));
        if differs.is_empty() {
            Ok(())
        } else {
            Err(self.unfit(differs))
        }
    }
}

/// The refusal of a second start from a memory image.
pub fn already_resumed(guest: &GuestDefinition) -> DriverError {
    DriverError::Unsupported {
        what: format!("start guest {} from its memory image again", guest.name),
        why: "it has run since, and its disk is newer than the image; it must boot".to_owned(),
    }
}

/// The refusal to prepare a guest that runs, or ran until it was paused.
pub fn already_started(guest: &GuestDefinition) -> DriverError {
    DriverError::Unsupported {
        what: format!("prepare guest {}", guest.name),
        why: "it has been started already".to_owned(),
    }
}

/// The refusal to prepare a guest that goes on from no memory image.
pub fn nothing_to_prepare(guest: &GuestDefinition) -> DriverError {
    DriverError::Unsupported {
        what: format!("prepare guest {}", guest.name),
        why: "it does not go on from a memory image".to_owned(),
    }
}

/// The refusal to freeze a guest that was not started for it.
pub fn not_to_be_frozen(guest: &GuestDefinition) -> DriverError {
    DriverError::Unsupported {
        what: format!("freeze guest {}", guest.name),
        why: "its memory is not a file: it must be started to be frozen".to_owned(),
    }
}

/// A new file that only its owner can read and write.
pub fn create_secret(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// What one machine has and the other has not, in words.
fn differences(image: &[String], guest: &[String]) -> Vec<String> {
    let mut words: Vec<_> = only_in(image, guest)
        .map(|line| format!("the image has {line}"))
        .collect();
    words.extend(only_in(guest, image).map(|line| format!("the guest has {line}")));
    if words.is_empty() && image != guest {
        words.push("the order of the devices".to_owned());
    }
    words
}

/// The lines of `these` that `others` lacks; a line that is there twice must be there twice.
fn only_in<'a>(these: &'a [String], others: &[String]) -> impl Iterator<Item = &'a String> {
    let mut others = others.to_vec();
    these.iter().filter(move |line| {
        let at = others.iter().position(|other| other == *line);
        if let Some(at) = at {
            others.swap_remove(at);
        }
        at.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_differs_is_named_from_both_sides() {
        assert!(differences(&lines("a b b"), &lines("a b b")).is_empty());
        assert_eq!(
            differences(&lines("a b c"), &lines("a d c")),
            ["the image has b", "the guest has d"]
        );
        assert_eq!(
            differences(&lines("a b b"), &lines("a b")),
            ["the image has b"]
        );
        assert_eq!(
            differences(&lines("a b"), &lines("b a")),
            ["the order of the devices"]
        );
    }

    #[test]
    fn the_hash_says_where_a_line_ends() {
        let hash = |lines: &[&str]| {
            machine_hash(
                &lines
                    .iter()
                    .map(|line| (*line).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_ne!(hash(&["a", "b"]), hash(&["a\nb"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
    }

    #[test]
    fn an_image_that_others_may_read_is_of_no_use() {
        let ground = tempfile::tempdir().expect("a temporary directory");
        let dir = MemoryImageDir::at(ground.path().join("memory-1"));
        dir.prepare(4096).expect("prepared");
        fs::write(dir.state(), "devices").expect("written");
        let machine = lines("a b");
        let image = MemoryImage {
            driver: "test".to_owned(),
            version: "1".to_owned(),
            machine_type: "none".to_owned(),
            machine_hash: machine_hash(&machine),
            machine,
            memory_bytes: 4096,
            state_bytes: 7,
            macs: Vec::new(),
            generation_id: Uuid::nil(),
            saved_after_us: 0,
        };
        dir.seal(&image, 0o400).expect("sealed");
        assert_eq!(dir.complete().expect("complete"), image);
        for mode in [0o440, 0o404, 0o420] {
            fs::set_permissions(dir.memory(), Permissions::from_mode(mode)).expect("set");
            let why = dir
                .complete()
                .expect_err("not its owner's alone")
                .to_string();
            let mends = format!("chmod go= {}", dir.memory().display());
            assert!(why.contains(&mends), "{why}");
        }
        fs::set_permissions(dir.memory(), Permissions::from_mode(0o400)).expect("set");
        dir.complete().expect("complete again");
    }
}
