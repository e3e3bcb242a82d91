//! What a user of this driver may choose.

use std::path::PathBuf;
use std::time::Duration;

/// Choices; the default works everywhere.
#[derive(Debug, Clone)]
pub struct Options {
    /// The emulator. Default: the first of `qemu-system-x86_64` and `qemu-kvm` that is found.
    pub qemu: Option<PathBuf>,
    /// What runs guest code. Default: probed.
    pub acceleration: AccelerationChoice,
    /// Where the probe's answer is kept. Default: the guests' directory.
    pub cache_dir: Option<PathBuf>,
    /// How long QEMU may take until its monitor answers; also how long another process that is
    /// just starting the same guest is waited for. Default: 60 s.
    pub start_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            qemu: None,
            acceleration: AccelerationChoice::Probe,
            cache_dir: None,
            start_limit: Duration::from_secs(60),
        }
    }
}

/// How it is decided what runs guest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccelerationChoice {
    /// KVM if a test guest runs with it, else emulation.
    Probe,
    /// KVM, untested.
    Kvm,
    /// Emulation.
    Tcg,
}
