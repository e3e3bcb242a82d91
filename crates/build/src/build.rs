//! One build, from a recipe to a disk: the order of the steps, and what is kept of them.
//!
//! A build leaves its results in the staging directory and nothing anywhere else. It can be
//! repeated in the same directory after it was interrupted at any point: what an earlier run left
//! is removed first, and `disk.raw` gets its name only when it is complete and checked.

use crate::bootstrap::{self, BootstrapError, Mode};
use crate::disk::{Assembly, DiskError, Layout, assemble};
use crate::install::{Installer, LOG, Order, work_parent};
use crate::lock::{LockError, LockedPackage, PackageLock, installed_packages};
use crate::progress::{BuildProgress, Phase};
use crate::recipe::Recipe;
use crate::sources::{self, SourceError};
use crate::tools::{MissingTool, TOOLS, require};
use crate::tree::{Tree, TreeError};
use crate::validate::RecipeError;
use stampo_core::hardware::Hardware;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Free space that a build needs beside the disk's content: the tree once, unpacked packages once.
const ROOM_BYTES: u64 = 1 << 30;

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// Where packages come from.
    #[error(transparent)]
    Sources(#[from] SourceError),
    /// Installing packages.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The package lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Unpacking the system.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Writing the disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file of the build.
    #[error("use {path:?} for the build")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too little room.
    #[error("build in {place:?}: {free_mib} MiB are free, {needed_mib} MiB are needed")]
    NoSpace {
        /// The directory.
        place: PathBuf,
        /// Free now.
        free_mib: u64,
        /// Needed.
        needed_mib: u64,
    },
    /// The build was cancelled.
    #[error("build: cancelled")]
    Cancelled,
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// The raw disk, sparse, in the staging directory.
    pub disk: PathBuf,
    /// Where everything is on it.
    pub layout: Layout,
    /// The hardware that the recipe asks for.
    pub hardware: Hardware,
    /// All installed packages, sorted.
    pub package_list: Vec<LockedPackage>,
    /// What a repeated build needs beside the recipe.
    pub lock: PackageLock,
    /// Everything that apt, dpkg and the settings said.
    pub log: PathBuf,
    /// How root of the new system was had.
    pub mode: Mode,
    /// BLAKE3 of the installed system, normalised, before it became a filesystem: two builds that
    /// differ here installed something else; two that don't, differ in e2fsprogs.
    pub tree_digest: String,
    /// What the same digest in a repeated build depends on.
    pub reproducibility: Vec<String>,
}

/// Builds `recipe` in the existing directory `staging`, its system installed by `installer`.
///
/// Takes about 45 s for a small Debian on two cores, most of it [`Mmdebstrap`]'s. See
/// [`BuildError`].
///
/// [`Mmdebstrap`]: crate::Mmdebstrap
pub fn build(
    recipe: &Recipe,
    staging: &Path,
    installer: &dyn Installer,
    progress: &dyn BuildProgress,
) -> Result<Built, BuildError> {
    progress.phase(Phase::Check);
    recipe.check()?;
    let mode = check_host(staging)?;
    let scratch = fresh_scratch(staging)?;
    let sources = sources::plan(recipe, &sources::host_sources(Path::new("/etc/apt")))?;
    let epoch = epoch(recipe);
    let tree = installer.install(&Order {
        recipe,
        epoch,
        scratch: &scratch,
        progress,
        sources: &sources,
        mode,
    })?;
    let log = staging.join(LOG);
    rename(&scratch.join(LOG), &log)?;
    let package_list = packages(&tree)?;
    if let Some(lock) = &recipe.lock {
        lock.check(&package_list)?;
    }
    let built = write_disk(recipe, &tree, epoch, &scratch, progress)?;
    progress.phase(Phase::Verify);
    stop_if_cancelled(progress)?;
    let disk = staging.join("disk.raw");
    rename(&scratch.join("disk.raw"), &disk)?;
    fs::remove_dir_all(&scratch).map_err(at(&scratch))?;
    Ok(Built {
        disk,
        layout: built,
        hardware: recipe.hardware.clone(),
        lock: PackageLock {
            release: recipe.release.clone(),
            source_date_epoch: epoch,
            sources: sources.lines,
            packages: package_list.clone(),
        },
        package_list,
        log,
        mode,
        tree_digest: blake3::Hash::from_bytes(tree.digest()).to_hex().to_string(),
        reproducibility: notes(recipe),
    })
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BuildError + '_ {
    move |source| BuildError::Io {
        path: path.to_owned(),
        source,
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), BuildError> {
    fs::rename(from, to).map_err(at(to))
}

fn stop_if_cancelled(progress: &dyn BuildProgress) -> Result<(), BuildError> {
    if progress.is_cancelled() {
        Err(BuildError::Cancelled)
    } else {
        Ok(())
    }
}

/// Programs, ids and room, before anything is made.
fn check_host(staging: &Path) -> Result<Mode, BuildError> {
    let mode = bootstrap::mode()?;
    for tool in TOOLS
        .iter()
        .filter(|tool| mode == Mode::Unshare || !tool.unprivileged_only)
    {
        require(tool.name)?;
    }
    for place in [staging, &work_parent()] {
        let free = rustix::fs::statvfs(place)
            .map(|stat| stat.f_bavail * stat.f_frsize)
            .map_err(|error| at(place)(error.into()))?;
        if free < ROOM_BYTES {
            let (free_mib, needed_mib) = (free >> 20, ROOM_BYTES >> 20);
            return Err(BuildError::NoSpace {
                place: place.to_owned(),
                free_mib,
                needed_mib,
            });
        }
    }
    Ok(mode)
}

/// An empty directory in `staging` for everything that is not a result; an earlier run's is gone.
fn fresh_scratch(staging: &Path) -> Result<PathBuf, BuildError> {
    let staging = staging.canonicalize().map_err(at(staging))?;
    for name in ["disk.raw", LOG] {
        match fs::remove_file(staging.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&staging)(error));
            }
            _ => {}
        }
    }
    let scratch = staging.join("scratch");
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&scratch)(error)),
        _ => {}
    }
    fs::create_dir(&scratch).map_err(at(&scratch))?;
    Ok(scratch)
}

/// The newest time in the image: as asked for, else the lock's, the snapshot's, or the midnight
/// (UTC) before now, so that two builds of one day agree.
fn epoch(recipe: &Recipe) -> u64 {
    let midnight = || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        now - now % 86_400
    };
    let snapshot = || recipe.snapshot.as_deref().and_then(sources::snapshot_epoch);
    recipe
        .source_date_epoch
        .or_else(|| recipe.lock.as_ref().map(|lock| lock.source_date_epoch))
        .or_else(snapshot)
        .unwrap_or_else(midnight)
}

fn packages(tree: &Tree) -> Result<Vec<LockedPackage>, BuildError> {
    let status = tree.read("/var/lib/dpkg/status")?;
    Ok(installed_packages(&String::from_utf8_lossy(&status))?)
}

fn write_disk(
    recipe: &Recipe,
    tree: &Tree,
    epoch: u64,
    scratch: &Path,
    progress: &dyn BuildProgress,
) -> Result<Layout, BuildError> {
    stop_if_cancelled(progress)?;
    let seed = blake3::keyed_hash(&tree.digest(), format!("{:?}", recipe.disk).as_bytes());
    let assembly = Assembly {
        disk: &recipe.disk,
        tree,
        seed: *seed.as_bytes(),
        epoch,
        scratch,
    };
    Ok(assemble(&assembly, &scratch.join("disk.raw"), progress)?)
}

/// What a repeated build depends on, for the version's record.
fn notes(recipe: &Recipe) -> Vec<String> {
    let version = |tool: &'static str, argument: &str| {
        let path = require(tool).ok()?;
        let output = crate::process::output(Command::new(path).arg(argument)).ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text)
            .lines()
            .next()
            .map(str::to_owned)
    };
    let mut notes: Vec<String> = [version("mmdebstrap", "--version"), version("mke2fs", "-V")]
        .into_iter()
        .flatten()
        .collect();
    if recipe.lock.is_none() && recipe.snapshot.is_none() {
        notes
            .push("no package lock and no snapshot: a later build takes newer packages".to_owned());
    }
    notes
}
