//! QEMU's arguments for a guest: a pure function, so that a test can show them whole.
//!
//! Rules: nothing that QEMU would choose by itself (`-nodefaults`, no probed disk format), nothing
//! secret (other users see a process's arguments), only options that QEMU 7.2 has. Values that
//! hold commas are written as JSON or with the comma doubled (QEMU `qemu-options.hx`).
//!
//! The machine is q35 for both kinds of firmware: `pc` started no faster when both were tried
//! under emulation, and NVMe, TPM and PCI Express hotplug want q35.

mod disks;
mod machine;
mod network;

pub(crate) use machine::Machine;

/// The id of the channel to QEMU's guest agent.
pub(crate) const QEMU_CHANNEL: &str = "agent";
/// The id of the channel to stampo's own agent.
pub(crate) const OWN_CHANNEL: &str = "channel";

use crate::firmware::UefiFirmware;
use crate::place::Place;
use serde_json::{Value, json};
use stampo_core::hardware::{DiskBus, Firmware};
use stampo_core::instant;
use stampo_core::size::ByteSize;
use stampo_driver::{Acceleration, DriverError, GuestDefinition, Link, MemoryImageDir, Start};
use std::path::Path;

/// What of the host shows in the arguments.
pub(crate) struct HostFacts<'a> {
    /// What runs guest code.
    pub acceleration: &'a Acceleration,
    /// UEFI firmware, needed by guests that start with it.
    pub uefi: Option<&'a UefiFirmware>,
    /// Whether QEMU was built with seccomp.
    pub sandbox: bool,
    /// The machine type, with its version.
    pub machine: &'a str,
    /// Whether QEMU can give private memory of a file that it only reads.
    pub reads_only: bool,
    /// The host's processor, where the guest sees it.
    pub processor: Option<&'a str>,
}

/// All arguments for one guest, without the program's name.
pub(crate) fn build(
    guest: &GuestDefinition,
    place: &Place,
    host: &HostFacts,
) -> Result<Vec<String>, DriverError> {
    let mut args = Arguments::default();
    machine(&mut args, guest, host)?;
    memory(&mut args, guest, host)?;
    identity(&mut args, guest);
    control(&mut args, place);
    args.device(json!({"driver": "virtio-rng-pci", "rng": "rng0"}));
    disks::add(&mut args, guest)?;
    network::add(&mut args, guest)?;
    if guest.hardware.tpm {
        tpm(&mut args, place);
    }
    if host.sandbox {
        args.pair("-sandbox", sandbox(guest));
    }
    args.pair("-pidfile", path_text(&place.pid_file())?);
    Ok(args.0)
}

/// Refuses a guest that can never be started here, whatever accelerates it.
pub(crate) fn check(
    guest: &GuestDefinition,
    uefi: Option<&UefiFirmware>,
) -> Result<(), DriverError> {
    guest.check_start()?;
    let acceleration = Acceleration::Kvm;
    let host = HostFacts {
        acceleration: &acceleration,
        uefi,
        sandbox: false,
        machine: "q35",
        reads_only: true,
        processor: None,
    };
    build(guest, &Place::at(&guest.directory), &host).map(drop)
}

/// The arguments so far.
#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn pair(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }

    fn device(&mut self, device: Value) {
        self.pair("-device", device.to_string());
    }

    fn block(&mut self, node: &Value) {
        self.pair("-blockdev", node.to_string());
    }
}

/// A value in QEMU's `key=value,…` syntax.
fn quoted(value: &str) -> String {
    value.replace(',', ",,")
}

/// A path as text: QEMU's arguments that are JSON can't hold other bytes.
fn path_text(path: &Path) -> Result<String, DriverError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| DriverError::Unsupported {
            what: format!("use the path {}", path.display()),
            why: "it is not UTF-8; choose another directory".to_owned(),
        })
}

fn machine(
    args: &mut Arguments,
    guest: &GuestDefinition,
    host: &HostFacts,
) -> Result<(), DriverError> {
    args.0
        .extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    args.pair("-name", format!("guest={}", quoted(&guest.name)));
    // With graphics=off SeaBIOS and the boot loader speak on the serial console.
    let mut machine = format!("{},graphics=off,vmport=off", host.machine);
    if image(guest).is_some() {
        machine.push_str(",memory-backend=ram0");
    }
    if guest.firmware() == Firmware::Uefi {
        machine.push_str(",pflash0=firmware,pflash1=vars");
        firmware(args, guest, host)?;
    }
    args.pair("-machine", machine);
    match host.acceleration {
        Acceleration::Kvm => {
            args.pair("-accel", "kvm");
            args.pair("-cpu", "host");
        }
        Acceleration::Tcg { .. } => {
            let translations = translations(guest).bytes() >> 20;
            args.pair("-accel", format!("tcg,thread=multi,tb-size={translations}"));
            // The plainest x86-64 translates fastest; rdrand spares the guest a wait for entropy.
            args.pair("-cpu", "qemu64,+rdrand,+rdseed");
        }
    }
    args.pair("-smp", guest.hardware.cpus.to_string());
    args.pair("-m", format!("{}M", guest.hardware.memory.bytes() >> 20));
    args.pair("-display", "none");
    args.pair("-rtc", "base=utc");
    args.pair("-boot", "strict=on");
    Ok(())
}

/// How large emulation's buffer for translated code may grow. QEMU by itself lets it take an eighth
/// of the host's memory, up to 1 GiB, and a guest that was up for a while fills it.
fn translations(guest: &GuestDefinition) -> ByteSize {
    match guest.start {
        Start::Resume { .. } => instant::FORK_TRANSLATIONS,
        Start::Boot | Start::BootResumed | Start::BootToFreeze { .. } => instant::TRANSLATIONS,
    }
}

/// The directory of the memory image that the guest is started for, or from.
fn image(guest: &GuestDefinition) -> Option<&Path> {
    match &guest.start {
        Start::BootToFreeze { image } | Start::Resume { image } => Some(image),
        Start::Boot | Start::BootResumed => None,
    }
}

/// The file that is the guest's memory: shared while it is to be frozen, private pages above a
/// file that is only read once it is.
fn memory(
    args: &mut Arguments,
    guest: &GuestDefinition,
    host: &HostFacts,
) -> Result<(), DriverError> {
    let Some(image) = image(guest) else {
        return Ok(());
    };
    let resumes = matches!(guest.start, Start::Resume { .. });
    let mut backend = json!({
        "qom-type": "memory-backend-file", "id": "ram0", "share": !resumes,
        "size": guest.hardware.memory.bytes() >> 20 << 20,
        "mem-path": path_text(&MemoryImageDir::at(image).memory())?,
    });
    if resumes && host.reads_only {
        // Without the second, the guest's memory would be read-only to the guest, too.
        backend["readonly"] = true.into();
        backend["rom"] = "off".into();
    }
    args.pair("-object", backend.to_string());
    if resumes {
        // It waits until it is told what to load, and then until it is told to go on.
        args.pair("-incoming", "defer");
        args.0.push("-S".to_owned());
    }
    Ok(())
}

fn firmware(
    args: &mut Arguments,
    guest: &GuestDefinition,
    host: &HostFacts,
) -> Result<(), DriverError> {
    let uefi = host.uefi.ok_or_else(no_uefi)?;
    let vars = Place::at(&guest.directory).vars();
    let flash = |node: &str, path: &Path, read_only: bool| -> Result<Value, DriverError> {
        Ok(json!({
            "driver": "raw", "node-name": node, "read-only": read_only,
            "file": {"driver": "file", "filename": path_text(path)?, "read-only": read_only, "auto-read-only": false},
        }))
    };
    args.block(&flash("firmware", &uefi.code, true)?);
    args.block(&flash("vars", &vars, false)?);
    Ok(())
}

/// The refusal for a host without UEFI firmware.
pub(crate) fn no_uefi() -> DriverError {
    DriverError::Unsupported {
        what: "start a guest with UEFI".to_owned(),
        why: "no firmware is installed; on Debian: apt install ovmf".to_owned(),
    }
}

/// Everything by which the guest can tell itself from others, and where it came from (SMBIOS 3.x,
/// types 1 and 11; QEMU `docs/specs/vmgenid`).
fn identity(args: &mut Arguments, guest: &GuestDefinition) {
    let (id, serial) = (guest.id, quoted(&guest.serial));
    args.pair("-uuid", id.to_string());
    args.pair(
        "-smbios",
        format!("type=1,manufacturer=stampo,product=guest,serial={serial},uuid={id}"),
    );
    args.pair(
        "-smbios",
        format!("type=3,manufacturer=stampo,serial={serial},asset={serial}"),
    );
    args.pair(
        "-smbios",
        format!("type=11,value={}", quoted(&guest.provenance)),
    );
    args.device(json!({"driver": "vmgenid", "guid": guest.generation_id.to_string()}));
    args.pair("-object", "rng-random,id=rng0,filename=/dev/urandom");
}

/// The monitor, the serial console with its log, and the channels of the guest agent and of
/// stampo's own.
fn control(args: &mut Arguments, place: &Place) {
    let socket = |id: &str, path: &Path, more: &str| {
        let path = quoted(&place.socket_argument(path).to_string_lossy());
        format!("socket,id={id},path={path},server=on,wait=off{more}")
    };
    args.pair("-chardev", socket("qmp", &place.qmp_socket(), ""));
    args.pair("-mon", "chardev=qmp,mode=control");
    let log = quoted(&place.console_log().to_string_lossy());
    args.pair(
        "-chardev",
        socket(
            "console",
            &place.console_socket(),
            &format!(",logfile={log},logappend=on"),
        ),
    );
    args.pair("-serial", "chardev:console");
    args.pair("-chardev", socket(QEMU_CHANNEL, &place.agent_socket(), ""));
    args.device(json!({"driver": "virtio-serial-pci", "id": "channels"}));
    args.device(json!({
        "driver": "virtserialport", "bus": "channels.0", "chardev": QEMU_CHANNEL, "name": "org.qemu.guest_agent.0",
    }));
    args.pair("-chardev", socket(OWN_CHANNEL, &place.channel_socket(), ""));
    args.device(json!({
        "driver": "virtserialport", "bus": "channels.0", "chardev": OWN_CHANNEL, "name": "dev.stampo.agent.0",
    }));
}

fn tpm(args: &mut Arguments, place: &Place) {
    let path = quoted(&place.socket_argument(&place.tpm_socket()).to_string_lossy());
    args.pair("-chardev", format!("socket,id=tpm,path={path}"));
    args.pair("-tpmdev", "emulator,id=tpm0,chardev=tpm");
    args.device(json!({"driver": "tpm-tis", "tpmdev": "tpm0"}));
}

/// The seccomp filter. The bridge helper is a setuid program that QEMU starts by itself, so a
/// guest on a bridge can't have the two strongest parts.
fn sandbox(guest: &GuestDefinition) -> &'static str {
    if guest
        .nics
        .iter()
        .any(|nic| matches!(nic.link, Link::Bridge { .. }))
    {
        "on,obsolete=deny,resourcecontrol=deny"
    } else {
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    }
}

/// Whether the guest has virtio drivers, as far as its definition tells.
fn has_virtio(bus: DiskBus) -> bool {
    matches!(bus, DiskBus::Virtio | DiskBus::Scsi)
}

#[cfg(test)]
mod tests;
