//! Starting a guest.
//!
//! ```text
//! lock ─ runs already? ─ ports free? ─ sweep ─ TPM ─ spawn ─ record ─ go ─ monitor answers with our id
//! ```
//! What is between the last two for a guest that goes on from a memory image is in
//! [`crate::resume`].
//!
//! The new process becomes QEMU only at `go`, and ends by itself when we die before: from the first
//! moment of a QEMU its record is there. Under the lock nobody else can be between these steps.

use crate::argv;
use crate::host::Host;
use crate::place::Place;
use crate::process::ProcessName;
use crate::qmp::Qmp;
use crate::wire::{Deadline, Wire, WireError, printable};
use crate::{resume, running, tpm};
use stampo_driver::{DriverError, Ensured, GuestDefinition, MemoryImage, MemoryImageDir, Start};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The shell's program for a process that becomes QEMU when it is told to, and ends when nobody is
/// left to tell it.
const WAIT: &str = r#"read -r go && exec "$@" < /dev/null"#;

/// How often the monitor's socket is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(1);

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
        return Err(crate::driver::busy(guest.name.as_str()));
    };
    if let Some(name) = running::find(place, guest.id)?
        && let Some(ensured) = resume::settle(guest, place, &name, Deadline::after(limit))?
    {
        return Ok((ensured, Vec::new()));
    }
    let origin = prepare(guest, place, host)?;
    check_ports(guest)?;
    // A TPM whose QEMU never came would wait for ever once its socket is swept away.
    tpm::dismiss(place);
    place.sweep()?;
    rotate_console_log(place)?;
    let mut children = Vec::new();
    if guest.hardware.tpm {
        children.push(tpm::start(place, &host.swtpm().ok_or_else(tpm::missing)?)?);
    }
    match start(guest, place, host, origin.as_ref(), Deadline::after(limit)) {
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

/// The memory image that a guest goes on from.
struct Origin {
    dir: MemoryImageDir,
    image: MemoryImage,
}

/// What must be so before a process is started, as far as memory images are concerned.
fn prepare(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
) -> Result<Option<Origin>, DriverError> {
    match &guest.start {
        Start::Boot | Start::BootResumed => Ok(None),
        Start::BootToFreeze { image } => {
            let whole_mib = guest.hardware.memory.bytes() >> 20 << 20;
            MemoryImageDir::at(image).prepare(whole_mib)?;
            Ok(None)
        }
        Start::Resume { image } => {
            let dir = MemoryImageDir::at(image);
            let image = resume::check(guest, place, host, &dir)?;
            Ok(Some(Origin { dir, image }))
        }
    }
}

fn start(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    origin: Option<&Origin>,
    deadline: Deadline,
) -> Result<Child, DriverError> {
    let _turn = match origin {
        Some(_) => Some(resume::turn(host.cache_dir(), deadline)?),
        None => None,
    };
    let begun = Instant::now();
    let mut child = spawn(guest, place, host, origin)?;
    match bring_up(guest, place, host, origin, &mut child, deadline) {
        Ok(()) => {
            let ms = begun.elapsed().as_millis();
            tracing::debug!(guest = %guest.id, resumed = origin.is_some(), ms, "started");
            Ok(child)
        }
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
fn spawn(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    origin: Option<&Origin>,
) -> Result<Child, DriverError> {
    let qemu = host.qemu()?;
    let facts = host.facts(origin.map(|origin| origin.image.machine_type.as_str()))?;
    let args = argv::build(guest, place, &facts)?;
    let path = place.complaints();
    let mut open = OpenOptions::new();
    let open = open.write(true).create(true).truncate(true).mode(0o600);
    let complaints = open.open(&path).map_err(DriverError::io("create", &path))?;
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", WAIT, "sh"]);
    command.arg(&qemu.path).args(args).current_dir(place.dir());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(complaints);
    command.spawn().map_err(|e| DriverError::Program {
        program: "setsid".to_owned(),
        why: e.to_string(),
    })
}

/// Records the process, which from then on may become QEMU.
fn release(place: &Place, child: &mut Child) -> Result<(), DriverError> {
    let broken = || DriverError::io("start a process in", place.dir());
    // One that has ended already is found out where its monitor is waited for.
    if let Some(name) = ProcessName::of(child.id()).map_err(broken())? {
        running::remember(place, &name)?;
    }
    match child.stdin.take().map(|mut stdin| stdin.write_all(b"go\n")) {
        None | Some(Ok(())) => Ok(()),
        Some(Err(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Some(Err(e)) => Err(broken()(e)),
    }
}

/// From a new process to a guest that runs.
fn bring_up(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    origin: Option<&Origin>,
    child: &mut Child,
    deadline: Deadline,
) -> Result<(), DriverError> {
    release(place, child)?;
    let Some(origin) = origin else {
        return await_monitor(guest, place, child, deadline).map(drop);
    };
    // While QEMU builds its devices: this is as slow as the disk.
    place.mark_resumed()?;
    let loaded = await_monitor(guest, place, child, deadline).and_then(|(name, mut qmp)| {
        resume::load(&mut qmp, host, &origin.dir, deadline)?;
        Ok((name, qmp))
    });
    match loaded {
        Ok((name, mut qmp)) => resume::go_on(&mut qmp, &name, deadline),
        Err(error) => {
            let error = last_words(guest, place, child, error);
            // The guest executed nothing, so another attempt may be made.
            place.unmark_resumed()?;
            Err(error)
        }
    }
}

/// Ends a QEMU that could not load its image. One that gave up by itself has said why.
fn last_words(
    guest: &GuestDefinition,
    place: &Place,
    child: &mut Child,
    error: DriverError,
) -> DriverError {
    let deadline = Deadline::after(Duration::from_millis(500));
    while matches!(child.try_wait(), Ok(None)) && deadline.sleep(LOOK_EVERY) {}
    let gave_up = matches!(child.try_wait(), Ok(Some(_)));
    let _ = child.kill();
    let _ = child.wait();
    if !gave_up {
        return error;
    }
    let complaints = complaints(place);
    explain(guest, &complaints).unwrap_or_else(|| DriverError::Program {
        program: "qemu".to_owned(),
        why: format!("the memory image was not loaded: {complaints}"),
    })
}

/// Waits until the monitor answers with the guest's id: then every device is there, every port is
/// forwarded, and the guest runs.
fn await_monitor(
    guest: &GuestDefinition,
    place: &Place,
    child: &mut Child,
    deadline: Deadline,
) -> Result<(ProcessName, Qmp), DriverError> {
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
            Ok(found) => return Ok(found),
            // Not there yet, or already ending: the child's state tells at the next turn.
            Err(WireError::Connect(_) | WireError::Closed | WireError::Io(_)) => {}
            Err(error) => return Err(failed(format!("its monitor did not answer: {error}"))),
        }
        if !deadline.sleep(LOOK_EVERY) {
            return Err(failed("its monitor did not appear in time".to_owned()));
        }
    }
}

fn greet(
    guest: &GuestDefinition,
    place: &Place,
    deadline: Deadline,
) -> Result<(ProcessName, Qmp), WireError> {
    let wire = Wire::connect(&place.qmp_socket(), deadline)?;
    let name = running::peer(&wire, guest.id)
        .map_err(WireError::Io)?
        .ok_or(WireError::Closed)?;
    let mut qmp = Qmp::greet(wire, deadline)?;
    let uuid = qmp.uuid(deadline)?;
    if uuid == guest.id.0 {
        Ok((name, qmp))
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
