//! How a build tells what it is doing, and hears that it should stop.

/// What a build is doing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Tools, sources and room on the disk are checked.
    Check,
    /// The archive's index is fetched.
    Index,
    /// Packages are fetched.
    Download,
    /// The essential packages are unpacked and configured.
    Essential,
    /// All other packages are installed.
    Install,
    /// The recipe's own settings are made.
    Customise,
    /// The finished tree leaves the namespace.
    Unpack,
    /// The root filesystem is written.
    Filesystem,
    /// Partitions and boot loaders are written.
    Bootloader,
    /// The result is checked.
    Verify,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 10] = [
        Phase::Check,
        Phase::Index,
        Phase::Download,
        Phase::Essential,
        Phase::Install,
        Phase::Customise,
        Phase::Unpack,
        Phase::Filesystem,
        Phase::Bootloader,
        Phase::Verify,
    ];

    /// A few words for people.
    pub fn title(self) -> &'static str {
        match self {
            Phase::Check => "check tools and sources",
            Phase::Index => "fetch the package index",
            Phase::Download => "fetch packages",
            Phase::Essential => "install the essential packages",
            Phase::Install => "install packages",
            Phase::Customise => "apply the recipe",
            Phase::Unpack => "unpack the tree",
            Phase::Filesystem => "write the root filesystem",
            Phase::Bootloader => "write partitions and boot loaders",
            Phase::Verify => "check the result",
        }
    }
}

/// The caller's side of a running build. It is called from several threads.
pub trait BuildProgress: Send + Sync {
    /// A phase begins; the one before has ended.
    fn phase(&self, phase: Phase);

    /// Something worth showing within the phase, such as the package at hand. Many per second.
    fn detail(&self, text: &str);

    /// Whether the build should stop. Asked several times a second.
    fn is_cancelled(&self) -> bool;
}

/// Shows nothing and is never cancelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl BuildProgress for Silent {
    fn phase(&self, _: Phase) {}
    fn detail(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}
