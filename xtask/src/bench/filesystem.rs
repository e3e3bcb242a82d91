//! A filesystem that shares blocks (XFS or btrfs), in a file, mounted for as long as it is needed.
//!
//! Needs root. Nothing but this benchmark ever mounts anything: stampo itself does not.

use super::lab::Lab;
use super::program::{command, output};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The size of the file; it is sparse.
const SIZE: &str = "12G";

/// A mounted filesystem.
pub struct Filesystem {
    image: PathBuf,
    mount: PathBuf,
}

impl Filesystem {
    /// Makes and mounts one of this kind: `xfs` or `btrfs`.
    pub fn make(lab: &Lab, kind: &str) -> Result<Filesystem> {
        let (image, mount) = (lab.path(&format!("{kind}.img")), lab.path(kind));
        let _ = std::fs::remove_file(&image);
        std::fs::create_dir_all(&mount)?;
        let image_name = image.display().to_string();
        output(&mut command(&["truncate", "-s", SIZE, &image_name]))?;
        output(&mut command(&[&format!("mkfs.{kind}"), "-q", &image_name]))?;
        let words = ["mount", "-o", "loop", &image_name];
        output(command(&words).arg(&mount))?;
        Ok(Filesystem { image, mount })
    }

    /// Where it is mounted.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// The mount point.
    pub fn mount(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        let _ = output(command(&["umount"]).arg(&self.mount));
        let _ = std::fs::remove_file(&self.image);
    }
}
