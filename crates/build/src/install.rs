//! How the system of a build is installed: by mmdebstrap, or by whoever takes its place.
//!
//! Apart from the build so that the steps around it can be tried on a small system in a second.
//! What a build makes of the installed tree is in `build.rs`.

use crate::bootstrap::{Bootstrap, Mode};
use crate::build::{BuildError, at};
use crate::progress::BuildProgress;
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::tools::require;
use crate::tree::{Tree, TreeError};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The file in the scratch directory where an installer writes all that it hears.
pub const LOG: &str = "build.log";

/// What to install.
pub struct Order<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The newest time that a file may have, in seconds since 1970.
    pub epoch: u64,
    /// The build's own directory; [`LOG`] is left in it.
    pub scratch: &'a Path,
    /// The caller.
    pub progress: &'a dyn BuildProgress,
    pub(crate) sources: &'a Sources,
    pub(crate) mode: Mode,
}

impl Order<'_> {
    /// Unpacks the tar of an installed system into the build's directory.
    pub fn unpack(&self, tar: impl Read) -> Result<Tree, TreeError> {
        let cancelled = || self.progress.is_cancelled();
        Tree::unpack(tar, &self.scratch.join("tree"), self.epoch, &cancelled)
    }
}

/// Installs the system that a recipe describes.
pub trait Installer: Send + Sync {
    /// The installed system, unpacked by [`Order::unpack`]. It must end soon after
    /// `progress.is_cancelled()` says so.
    fn install(&self, order: &Order<'_>) -> Result<Tree, BuildError>;
}

/// Where mmdebstrap makes its tree: on disk, and where other user ids may enter. A home directory
/// is closed to them since Debian 12, and /tmp is memory since Debian 13.
pub(crate) fn work_parent() -> PathBuf {
    let given = std::env::var_os("TMPDIR").map(PathBuf::from);
    given
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .unwrap_or_else(|| "/var/tmp".into())
}

/// What the work directories are called: this, the process, and something random.
const WORK_PREFIX: &str = "stampo-build-";

/// Whether something is mounted below `directory`, by the text of /proc/self/mountinfo: the fifth
/// field is the mount point, with blanks and backslashes as octal numbers (proc_pid_mountinfo(5)).
fn is_mounted_below(directory: &Path, mountinfo: &str) -> bool {
    let escaped = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        _ => vec![*byte],
    };
    let bytes = directory.as_os_str().as_encoded_bytes();
    let directory: Vec<u8> = bytes.iter().flat_map(escaped).collect();
    let directory = Path::new(OsStr::from_bytes(&directory));
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| Path::new(point).starts_with(directory))
}

/// Removes work directories whose build was killed: mmdebstrap cleans up its own part when it is
/// ended, so nothing but an empty shell is left. What can't be removed stays, and is no error: it
/// is another user's, or a process of that number lives, or something is mounted there.
fn sweep(parent: &Path) {
    // Without knowing what is mounted nothing may be removed; mount points have no links in them.
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    let (Ok(mounts), Ok(parent)) = (mounts, parent.canonicalize()) else {
        return;
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name
            .to_str()
            .and_then(|name| name.strip_prefix(WORK_PREFIX));
        let process = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let gone = process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if gone && is_directory && !is_mounted_below(&entry.path(), &mounts) {
            // The standard library never follows links here.
            let removed = fs::remove_dir_all(entry.path());
            tracing::debug!(?name, ?removed, "swept a killed build's directory");
        }
    }
}

/// The installer of every build: mmdebstrap, whose tar is unpacked as it comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mmdebstrap;

impl Installer for Mmdebstrap {
    fn install(&self, order: &Order<'_>) -> Result<Tree, BuildError> {
        let parent = work_parent();
        sweep(&parent);
        let work = tempfile::Builder::new()
            .prefix(&format!("{WORK_PREFIX}{}-", std::process::id()))
            .tempdir_in(&parent)
            .map_err(at(&parent))?;
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o1777))
            .map_err(at(work.path()))?;
        let bootstrap = Bootstrap {
            program: require("mmdebstrap")?,
            recipe: order.recipe,
            sources: order.sources,
            epoch: order.epoch,
            mode: order.mode,
            work: work.path(),
            staging: order.scratch,
        };
        let tree = bootstrap.run(order.progress, |tar| {
            let tree = order.unpack(&mut *tar);
            // The program must not end on a closed pipe because of padding that nobody reads.
            let rest = if tree.is_ok() {
                io::copy(tar, &mut io::sink()).map(drop)
            } else {
                Ok(())
            };
            (tree.is_ok() && rest.is_ok(), tree)
        })?;
        Ok(tree?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_below_a_directory_is_seen() {
        let mounts = "22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
                      90 28 0:6 / /var/tmp/stampo-build-7-x/root/dev rw - devtmpfs udev rw\n";
        let below = |directory| is_mounted_below(Path::new(directory), mounts);
        assert!(below("/var/tmp/stampo-build-7-x"));
        assert!(!below("/var/tmp/stampo-build-7"));
        assert!(!below("/var/tmp/stampo-build-8-x"));
        let mounts = "90 28 0:6 / /my\\040tmp/stampo-build-7-x/dev rw - devtmpfs udev rw\n";
        assert!(is_mounted_below(
            Path::new("/my tmp/stampo-build-7-x"),
            mounts
        ));
    }
}
