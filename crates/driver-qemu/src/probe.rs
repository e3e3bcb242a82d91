//! Whether KVM runs guests here: found out by booting one, and remembered.
//!
//! That `/dev/kvm` opens and answers says nothing: in nested and paravirtual set-ups it may create
//! machines that then hang or run a hundred times too slowly. So a small guest
//! ([`payload`]) is booted with a time limit. The answer is kept in a file until something that it
//! depends on changes: QEMU, the kernel, the boot, or the rights on `/dev/kvm`.

mod cache;
mod payload;

pub(crate) use cache::Key;

use crate::program::{self, Qemu};
use stampo_driver::Acceleration;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the test guest may take; a processor needs half a second, most of it QEMU's start.
const LIMIT: Duration = Duration::from_secs(5);

/// The device of the host's KVM.
pub(crate) const KVM: &str = "/dev/kvm";

/// What the test guest showed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It ran to its end.
    Works,
    /// It crashed, or QEMU did.
    Fails(String),
    /// It was still at work at the limit. That may be the host's fault or a busy moment's.
    TooSlow(String),
}

/// What to use, from the cache if it holds. `cache_dir` must exist; without a usable cache the
/// probe is simply run.
pub(crate) fn acceleration(qemu: &Qemu, cache_dir: &Path) -> Acceleration {
    let key = Key::now(qemu);
    if let Some(known) = cache::read(cache_dir, &key) {
        return known;
    }
    let (found, lasting) = probe(qemu);
    if let Err(error) = cache::write(cache_dir, &key, &found, lasting) {
        tracing::debug!(%error, "the result of the acceleration probe was not kept");
    }
    found
}

/// What to use, and whether that will hold for as long as nothing changes.
fn probe(qemu: &Qemu) -> (Acceleration, bool) {
    let (reason, lasting) = match open_kvm() {
        Err(reason) => (reason, true),
        Ok(()) => match boot(qemu, "kvm", "host", LIMIT) {
            Ok(Verdict::Works) => return (Acceleration::Kvm, true),
            Ok(Verdict::Fails(why)) => (format!("{KVM} opens, but {why}"), true),
            Ok(Verdict::TooSlow(why)) => (format!("{KVM} opens, but {why}"), false),
            Err(error) => (
                format!("the test guest could not be started: {error}"),
                false,
            ),
        },
    };
    tracing::info!(%reason, "guests run without KVM");
    (Acceleration::Tcg { reason }, lasting)
}

/// Opens the device as QEMU will; the error is a reason for people.
pub(crate) fn open_kvm() -> Result<(), String> {
    let opened = fs::OpenOptions::new().read(true).write(true).open(KVM);
    opened.map(drop).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no {KVM}: the processor or the host gives no virtualisation")
        }
        io::ErrorKind::PermissionDenied => format!("this user may not open {KVM}"),
        _ => format!("{KVM} does not open: {e}"),
    })
}

/// Boots the test guest with this accelerator and processor.
fn boot(qemu: &Qemu, accel: &str, cpu: &str, limit: Duration) -> io::Result<Verdict> {
    let dir = tempfile::Builder::new().prefix("stampo-probe-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
    // SeaBIOS starts from disks that have at least one whole track.
    let mut disk = payload::bytes().to_vec();
    disk.resize(1 << 20, 0);
    fs::write(dir.path().join("disk"), disk)?;
    let mut command = test_guest(qemu, accel, cpu);
    command.current_dir(dir.path());
    let done = program::run(&mut command, limit)?;
    let stages = fs::read(dir.path().join("stages")).unwrap_or_default();
    Ok(match done {
        Some(done) if done.status.code() == Some(payload::SUCCESS_EXIT_CODE) => Verdict::Works,
        Some(done) if stages.is_empty() => Verdict::Fails(format!(
            "QEMU ended: {}",
            crate::wire::printable(&done.output)
        )),
        Some(_) => Verdict::Fails(format!("a test guest crashed {}", where_it_ended(&stages))),
        None => {
            let seconds = limit.as_secs_f64();
            Verdict::TooSlow(format!(
                "a test guest was still {} after {seconds} s",
                where_it_ended(&stages)
            ))
        }
    })
}

/// QEMU with the test guest on the disk `disk`, writing its stages to `stages`.
fn test_guest(qemu: &Qemu, accel: &str, cpu: &str) -> Command {
    let mut command = Command::new(&qemu.path);
    command.args(["-nodefaults", "-no-user-config", "-machine", "q35"]);
    command.args([
        "-accel",
        accel,
        "-cpu",
        cpu,
        "-m",
        "64",
        "-display",
        "none",
        "-no-reboot",
    ]);
    command.args(["-blockdev", r#"{"driver":"raw","node-name":"d","read-only":true,"file":{"driver":"file","filename":"disk","read-only":true}}"#]);
    command.args(["-device", "virtio-blk-pci,drive=d,bootindex=0"]);
    command.args([
        "-chardev",
        "file,id=stages,path=stages",
        "-device",
        "isa-debugcon,iobase=0xe9,chardev=stages",
    ]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    command
}

/// Words for the first stage that was not reached.
fn where_it_ended(stages: &[u8]) -> String {
    let missing = payload::STAGES
        .iter()
        .find(|(letter, _)| !stages.contains(letter));
    missing.map_or_else(
        || "at its end".to_owned(),
        |(_, name)| format!("before the end of {name}"),
    )
}

#[cfg(test)]
mod tests;
