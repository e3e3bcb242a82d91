//! What this host offers, each found out once when it is first needed.
//!
//! Listing guests or reading a definition must not start a program, least of all a probe; so
//! nothing is looked up when the driver is opened.

use crate::argv::HostFacts;
use crate::firmware::{self, UefiFirmware};
use crate::machines::Machines;
use crate::options::{AccelerationChoice, Options};
use crate::probe;
use crate::program::{self, Qemu};
use stampo_core::hardware::Firmware;
use stampo_driver::{Acceleration, Capabilities, DriverError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The host as far as guests are concerned.
pub(crate) struct Host {
    options: Options,
    cache_dir: PathBuf,
    qemu: OnceLock<Qemu>,
    /// Whether there is seccomp, and the machine types.
    machines: OnceLock<(bool, Machines)>,
    processor: OnceLock<String>,
    acceleration: OnceLock<Acceleration>,
    uefi: OnceLock<Option<UefiFirmware>>,
}

impl Host {
    pub fn new(options: Options, guests_dir: &Path) -> Self {
        let cache_dir = options
            .cache_dir
            .clone()
            .unwrap_or_else(|| guests_dir.to_owned());
        Host {
            options,
            cache_dir,
            qemu: OnceLock::new(),
            machines: OnceLock::new(),
            processor: OnceLock::new(),
            acceleration: OnceLock::new(),
            uefi: OnceLock::new(),
        }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The directory for what is found out about the host.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// The emulator. A missing one is looked for again at the next call.
    pub fn qemu(&self) -> Result<&Qemu, DriverError> {
        if let Some(qemu) = self.qemu.get() {
            return Ok(qemu);
        }
        let found = Qemu::find(self.options.qemu.as_deref())?;
        Ok(self.qemu.get_or_init(|| found))
    }

    /// Whether the emulator was built with seccomp.
    pub fn sandbox(&self) -> Result<bool, DriverError> {
        Ok(self.build()?.0)
    }

    /// The machine types that the emulator has.
    pub fn machines(&self) -> Result<&Machines, DriverError> {
        Ok(&self.build()?.1)
    }

    fn build(&self) -> Result<&(bool, Machines), DriverError> {
        let qemu = self.qemu()?;
        Ok(self.machines.get_or_init(|| {
            let list = |more: &[&str]| {
                let mut command = Command::new(&qemu.path);
                command.args(more).args(["-machine", "help"]);
                let done = program::run(&mut command, Duration::from_secs(20));
                let done = done.ok().flatten().filter(|done| done.status.success());
                done.map(|done| Machines::parse(&done.output))
            };
            match list(&["-sandbox", "on"]) {
                Some(machines) => (true, machines),
                None => (false, list(&[]).unwrap_or_else(|| Machines::parse(""))),
            }
        }))
    }

    /// What of the host shows in a guest's arguments. Without a machine type, this QEMU's newest.
    pub fn facts<'a>(&'a self, machine: Option<&'a str>) -> Result<HostFacts<'a>, DriverError> {
        let acceleration = self.acceleration()?;
        let processor = || self.processor.get_or_init(processor).as_str();
        Ok(HostFacts {
            acceleration,
            uefi: self.uefi(),
            sandbox: self.sandbox()?,
            machine: match machine {
                Some(machine) => machine,
                None => &self.machines()?.q35,
            },
            reads_only: self.qemu()?.version >= crate::resume::READS_ONLY,
            processor: matches!(acceleration, Acceleration::Kvm).then(processor),
        })
    }

    /// What runs guest code; probes at most once.
    pub fn acceleration(&self) -> Result<&Acceleration, DriverError> {
        let qemu = self.qemu()?;
        Ok(self
            .acceleration
            .get_or_init(|| match self.options.acceleration {
                AccelerationChoice::Kvm => Acceleration::Kvm,
                AccelerationChoice::Tcg => Acceleration::Tcg {
                    reason: "emulation was asked for".to_owned(),
                },
                AccelerationChoice::Probe => probe::acceleration(qemu, &self.cache_dir),
            }))
    }

    /// UEFI firmware.
    pub fn uefi(&self) -> Option<&UefiFirmware> {
        self.uefi.get_or_init(firmware::find).as_ref()
    }

    /// The TPM emulator.
    pub fn swtpm(&self) -> Option<PathBuf> {
        program::find("swtpm")
    }

    /// Everything together, for plans.
    pub fn capabilities(&self) -> Result<Capabilities, DriverError> {
        let mut firmware = vec![Firmware::Bios];
        firmware.extend(self.uefi().map(|_| Firmware::Uefi));
        Ok(Capabilities {
            driver: "qemu".to_owned(),
            version: self.qemu()?.version.to_string(),
            acceleration: self.acceleration()?.clone(),
            firmware,
            tpm: self.swtpm().is_some(),
            bridge: bridge_helper().is_ok(),
            memory_images: true,
        })
    }
}

/// The host's processor as a guest on KVM sees it: its model, and a hash of what it can do.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let can = stampo_driver::memory_image::machine_hash(&[field("flags").unwrap_or_default()]);
    format!("{}, {can}", field("model name").unwrap_or_default())
}

/// The program that lets ordinary users attach to bridges, if it can be used here; the error says
/// what is missing.
pub(crate) fn bridge_helper() -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let helper = program::find("qemu-bridge-helper")
        .ok_or_else(|| "qemu-bridge-helper is not installed".to_owned())?;
    let mode = helper
        .metadata()
        .map_err(|e| e.to_string())?
        .permissions()
        .mode();
    let root = rustix::process::geteuid().is_root();
    if !root && mode & 0o4000 == 0 {
        return Err(format!("{} is not setuid root", helper.display()));
    }
    let config = Path::new("/etc/qemu/bridge.conf");
    if !config.exists() {
        return Err(format!(
            "{} is missing: no bridge is allowed",
            config.display()
        ));
    }
    Ok(helper)
}
