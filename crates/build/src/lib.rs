//! Template disks made from distribution packages.
//!
//! A [`Recipe`] says what a template is made of; [`build()`] makes the bootable raw disk of it:
//!
//! ```text
//! recipe.toml ─ load ─► Recipe ─ bootstrap (mmdebstrap) ─► tar stream ─ unpack ─► plain files
//!                                                                              │ mke2fs -d
//!             disk.raw ◄─ GPT, GRUB, EFI partition ◄─ owners, modes, times (debugfs) ◄─┘
//! ```
//!
//! No step needs root, a loop device or a mount made by the host's kernel. Packages run their own
//! scripts in the namespace (or, as root, the chroot) that mmdebstrap makes, and nowhere else.
//!
//! What is not done here: removing what must differ between clones (that is sealing), publishing,
//! and anything about a disk that was not built from packages.

mod apt_errors;
mod bootloader;
mod bootstrap;
mod build;
mod customise;
mod defaults;
mod disk;
mod esp;
mod ext4;
mod guest_files;
mod inherit;
mod install;
mod load;
mod lock;
mod normalise;
mod process;
mod progress;
mod quote;
mod recipe;
mod sources;
mod tools;
mod tree;
mod validate;

pub use bootloader::{BootloaderError, CORE_IMAGE, patch_boot_sector, patch_core_image};
pub use bootstrap::{BootstrapError, Mode};
pub use build::{BuildError, Built, build};
pub use disk::{Assembly, DiskError, Layout, PartitionPlace, ROOT_LABEL, assemble};
pub use ext4::FilesystemError;
pub use inherit::{InheritError, inherit};
pub use install::{Installer, LOG, Mmdebstrap, Order};
pub use load::{LoadError, Loaded};
/// The reader of a dpkg database, for fuzzing it.
#[doc(hidden)]
pub use lock::installed_packages;
pub use lock::{LockError, LockedPackage, PackageLock};
pub use normalise::{NORMALISED, Normalisation, Treatment};
pub use progress::{BuildProgress, Phase, Silent};
pub use recipe::{
    BootMethod, Disk, FileSource, Filesystem, PartitionTable, Recipe, RecipeFile, Services,
};
pub use sources::{AptSource, SourceError};
pub use tools::{MissingTool, TOOLS, Tool, require as require_tools};
pub use tree::{Tree, TreeError};
pub use validate::RecipeError;
