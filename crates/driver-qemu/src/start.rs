//! Starting a guest.
//!
//! ```text
//! lock ─ runs already? ─ ports free? ─ sweep ─ TPM ─ spawn ─ monitor answers with our id ─ record
//! ```
//! A crash of ours after `spawn` leaves a running guest without a record; [`crate::running`] finds
//! it by its socket. Under the lock nobody else can be between these steps.

use crate::argv::{self, HostFacts};
use crate::host::Host;
use crate::place::Place;
use crate::process::ProcessName;
use crate::qmp::Qmp;
use crate::wire::{Deadline, Wire, WireError, printable};
use crate::{running, tpm};
use stampo_driver::{DriverError, Ensured, GuestDefinition};
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A console log that is larger at a start is moved aside, over the one moved before.
const LARGEST_CONSOLE_LOG: u64 = 16 << 20;

/// Starts the guest unless it runs. The children are given back to be reaped when they
/// end.
pub(crate) fn ensure(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
) -> Result<(Ensured, Vec<Child>), DriverError> {
    let limit = host.options().start_limit;
    let Some(_lock) = place.lock(limit)? else {
        return Err(crate::driver::busy(guest));
    };
    if running::find(place, guest.id)?.is_some() {
        return Ok((Ensured::Unchanged, Vec::new()));
    }
    check_ports(guest)?;
    // A TPM whose QEMU never came would wait for ever once its socket is swept away.
    tpm::dismiss(place);
    place.sweep()?;
    rotate_console_log(place)?;
    let mut children = Vec::new();
    if guest.hardware.tpm {
        children.push(tpm::start(place, &host.swtpm().ok_or_else(tpm::missing)?)?);
    }
    match start(guest, place, host, Deadline::after(limit)) {
        Ok(child) => children.push(child),
        Err(error) => {
            for child in &mut children {
                // Our own and not reaped: its id can't belong to another process.
                let _ = child.kill();
                let _ = child.wait();
            }
            return Err(error);
        }
    }
    Ok((Ensured::Changed, children))
}

fn start(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    deadline: Deadline,
) -> Result<Child, DriverError> {
    let mut child = spawn(guest, place, host)?;
    match await_monitor(guest, place, &mut child, deadline) {
        Ok(name) => running::record(place, &name).map(|()| child),
        Err(error) => {
            // It is our own child and not reaped yet: its id can't belong to another process.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Refuses a taken port before QEMU is started: QEMU's own message does not say more, and comes
/// after much work.
fn check_ports(guest: &GuestDefinition) -> Result<(), DriverError> {
    for port in guest.forwarded_ports() {
        TcpListener::bind(("127.0.0.1", port)).map_err(|e| port_busy(port, &e.to_string()))?;
    }
    Ok(())
}

fn port_busy(port: u16, why: &str) -> DriverError {
    DriverError::Busy {
        resource: format!("port {port}"),
        why: why.to_owned(),
    }
}

fn rotate_console_log(place: &Place) -> Result<(), DriverError> {
    let log = place.console_log();
    if fs::metadata(&log).is_ok_and(|m| m.len() > LARGEST_CONSOLE_LOG) {
        fs::rename(&log, place.old_console_log()).map_err(DriverError::io("rename", &log))?;
    }
    Ok(())
}

/// Starts QEMU in a session of its own, so that neither the end of ours nor its terminal's reaches
/// it. QEMU's own `-daemonize` would do that too, but not under its seccomp filter.
fn spawn(guest: &GuestDefinition, place: &Place, host: &Host) -> Result<Child, DriverError> {
    let qemu = host.qemu()?;
    let facts = HostFacts {
        acceleration: host.acceleration()?,
        uefi: host.uefi(),
        sandbox: host.sandbox()?,
    };
    let args = argv::build(guest, place, &facts)?;
    let path = place.complaints();
    let mut open = OpenOptions::new();
    let open = open.write(true).create(true).truncate(true).mode(0o600);
    let complaints = open.open(&path).map_err(DriverError::io("create", &path))?;
    let mut command = Command::new("setsid");
    command.arg(&qemu.path).args(args).current_dir(place.dir());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints);
    command.spawn().map_err(|e| DriverError::Program {
        program: "setsid".to_owned(),
        why: e.to_string(),
    })
}

/// Waits until the monitor answers with the guest's id: then every device is there, every port is
/// forwarded, and the guest runs.
fn await_monitor(
    guest: &GuestDefinition,
    place: &Place,
    child: &mut Child,
    deadline: Deadline,
) -> Result<ProcessName, DriverError> {
    let failed = |why: String| DriverError::Program {
        program: "qemu".to_owned(),
        why,
    };
    loop {
        if let Some(status) = child.try_wait().map_err(|e| failed(e.to_string()))? {
            let complaints = complaints(place);
            return Err(explain(guest, &complaints)
                .unwrap_or_else(|| failed(format!("{status}: {complaints}"))));
        }
        match greet(guest, place, deadline) {
            Ok(name) => return Ok(name),
            // Not there yet, or already ending: the child's state tells at the next turn.
            Err(WireError::Connect(_) | WireError::Closed | WireError::Io(_)) => {}
            Err(error) => return Err(failed(format!("its monitor did not answer: {error}"))),
        }
        if !deadline.sleep(Duration::from_millis(5)) {
            return Err(failed("its monitor did not appear in time".to_owned()));
        }
    }
}

fn greet(
    guest: &GuestDefinition,
    place: &Place,
    deadline: Deadline,
) -> Result<ProcessName, WireError> {
    let wire = Wire::connect(&place.qmp_socket(), deadline)?;
    let name = running::peer(&wire, guest.id)
        .map_err(WireError::Io)?
        .ok_or(WireError::Closed)?;
    let uuid = Qmp::greet(wire, deadline)?.uuid(deadline)?;
    if uuid == guest.id.0 {
        Ok(name)
    } else {
        Err(WireError::Malformed(format!(
            "it says that it is guest {uuid}"
        )))
    }
}

/// QEMU's last words.
fn complaints(place: &Place) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    let read =
        File::open(place.complaints()).and_then(|file| file.take(64 << 10).read_to_end(&mut text));
    match read {
        Ok(0) => "it said nothing".to_owned(),
        Ok(_) => {
            let text = String::from_utf8_lossy(&text);
            // It repeats the whole option, which is JSON, before it says what is wrong.
            let words = text.rsplit_once("}: ").map_or(&*text, |(_, words)| words);
            printable(words.trim_start_matches("qemu-system-x86_64: "))
        }
        Err(e) => format!("its words can't be read: {e}"),
    }
}

/// An error that says more than QEMU's own words, where they are known.
fn explain(guest: &GuestDefinition, complaints: &str) -> Option<DriverError> {
    let has = |text: &str| complaints.contains(text);
    if has("host forwarding rule") {
        // Somebody took it between our look and QEMU's.
        return guest
            .forwarded_ports()
            .find(|p| has(&format!(":{p}-")))
            .map(|port| port_busy(port, complaints));
    }
    let hint = if has("Cannot allocate memory") || has("cannot set up guest memory") {
        format!(
            "the host has not {} free for the guest; choose less memory",
            guest.hardware.memory
        )
    } else if has("Could not access KVM") || has("failed to initialize kvm") {
        "this user may not use /dev/kvm; add it to the group kvm and log in again".to_owned()
    } else if has("Failed to get \"write\" lock") || has("Failed to get shared") {
        "another program has the disk open".to_owned()
    } else if has("bridge helper") {
        "the bridge must be allowed in /etc/qemu/bridge.conf and exist".to_owned()
    } else if has("No space left") {
        "the disk of the guests' directory is full".to_owned()
    } else {
        return None;
    };
    Some(DriverError::Program {
        program: "qemu".to_owned(),
        why: format!("{hint} ({complaints})"),
    })
}
