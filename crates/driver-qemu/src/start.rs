//! Starting a guest.
//!
//! ```text
//! lock ─ runs already? ─ ports free? ─ sweep ─ TPM ─ spawn ─ record ─ go ─ monitor answers with our id
//! ```
//! What comes after it for a guest that goes on from a memory image is in [`crate::resume`].
//!
//! The new process becomes QEMU only at `go`, and ends by itself when we die before: from the first
//! moment of a QEMU its record is there. Under the lock nobody else can be between these steps.

use crate::argv;
use crate::hold::{self, Hold};
use crate::host::Host;
use crate::place::Place;
use crate::process::ProcessName;
use crate::qmp::Qmp;
use crate::settle::{Goal, Way};
use crate::wire::{Deadline, Wire, WireError, printable};
use crate::{resume, running, tpm};
use stampo_driver::memory_image::nothing_to_prepare;
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

/// Starts the guest as far as this, from wherever it is. The children are given back to be reaped
/// when they end.
pub(crate) fn ensure(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    goal: Goal,
) -> Result<(Ensured, Vec<Child>), DriverError> {
    let limit = host.options().start_limit;
    let Some(_lock) = place.lock(limit)? else {
        return Err(crate::driver::busy(guest.name.as_str()));
    };
    if goal != Goal::Running && !matches!(guest.start, Start::Resume { .. }) {
        return Err(nothing_to_prepare(guest));
    }
    if let Some(name) = running::find(place, guest.id)? {
        let way = Way {
            guest,
            place,
            host,
            name: &name,
            goal,
            deadline: Deadline::after(limit),
        };
        if let Some(ensured) = way.settle()? {
            return Ok((ensured, Vec::new()));
        }
    }
    let origin = origin(guest, place, host)?;
    check_ports(guest)?;
    hold::forget_unused(place)?;
    // A TPM whose QEMU never came would wait for ever once its socket is swept away.
    tpm::dismiss(place);
    place.sweep()?;
    rotate_console_log(place)?;
    let mut children = Vec::new();
    if guest.hardware.tpm {
        children.push(tpm::start(place, &host.swtpm().ok_or_else(tpm::missing)?)?);
    }
    let task = Task {
        guest,
        place,
        host,
        origin: origin.as_ref(),
        goal,
        deadline: Deadline::after(limit),
    };
    match start(&task) {
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

/// A process that is to be started.
struct Task<'a> {
    guest: &'a GuestDefinition,
    place: &'a Place,
    host: &'a Host,
    /// The memory image that it goes on from.
    origin: Option<&'a MemoryImage>,
    goal: Goal,
    deadline: Deadline,
}

/// What must be so before a process is started, as far as memory images are concerned; the image
/// that the guest goes on from.
fn origin(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
) -> Result<Option<MemoryImage>, DriverError> {
    match &guest.start {
        Start::Boot | Start::BootResumed => Ok(None),
        Start::BootToFreeze { image } => {
            let whole_mib = guest.hardware.memory.bytes() >> 20 << 20;
            MemoryImageDir::at(image).prepare(whole_mib)?;
            Ok(None)
        }
        Start::Resume { image } => {
            resume::check(guest, place, host, &MemoryImageDir::at(image)).map(Some)
        }
    }
}

fn start(task: &Task<'_>) -> Result<Child, DriverError> {
    let _turn = match task.origin {
        Some(_) => Some(resume::turn(task.host.cache_dir(), task.deadline)?),
        None => None,
    };
    let begun = Instant::now();
    let mut child = spawn(task)?;
    match bring_up(task, &mut child) {
        Ok(()) => {
            let (guest, goal) = (task.guest.id, task.goal);
            let ms = begun.elapsed().as_millis();
            tracing::debug!(%guest, ?goal, resumed = task.origin.is_some(), ms, "started");
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
fn spawn(task: &Task<'_>) -> Result<Child, DriverError> {
    let Task {
        guest, place, host, ..
    } = *task;
    let qemu = host.qemu()?;
    let facts = host.facts(task.origin.map(|image| image.machine_type.as_str()))?;
    let args = argv::build(guest, place, &facts)?;
    let path = place.complaints();
    let mut open = OpenOptions::new();
    let open = open.write(true).create(true).truncate(true).mode(0o600);
    let complaints = open.open(&path).map_err(DriverError::io("create", &path))?;
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", WAIT, "sh"]);
    command.arg(&qemu.path).args(args).current_dir(place.dir());
    // Its few threads need no heaps of their own, which would be about 2 MiB for each guest (mallopt(3)).
    command.env("MALLOC_ARENA_MAX", "1");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(complaints);
    command.spawn().map_err(|e| DriverError::Program {
        program: "setsid".to_owned(),
        why: e.to_string(),
    })
}

/// Records the process, which from then on may become QEMU. One that has ended already has no
/// name, and is found out where its monitor is waited for.
fn release(task: &Task<'_>, child: &mut Child) -> Result<(), DriverError> {
    let place = task.place;
    let broken = || DriverError::io("start a process in", place.dir());
    if let Some(name) = ProcessName::of(child.id()).map_err(broken())? {
        if task.origin.is_some() {
            Hold::spawned(&name, task.guest).write(place)?;
        }
        running::remember(place, &name)?;
    }
    match child.stdin.take().map(|mut stdin| stdin.write_all(b"go\n")) {
        None | Some(Ok(())) => Ok(()),
        Some(Err(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Some(Err(e)) => Err(broken()(e)),
    }
}

/// From a new process to a guest that is where it is wanted.
fn bring_up(task: &Task<'_>, child: &mut Child) -> Result<(), DriverError> {
    let Task {
        guest,
        place,
        deadline,
        ..
    } = *task;
    release(task, child)?;
    if task.origin.is_none() {
        return await_monitor(guest, place, child, deadline).map(drop);
    }
    // While QEMU builds its devices: this is as slow as the disk.
    place.mark_resumed()?;
    let advanced = await_monitor(guest, place, child, deadline)
        .and_then(|(name, qmp)| advance(task, &name, qmp));
    advanced.or_else(|error| {
        let error = last_words(guest, place, child, error);
        // If the guest executed nothing, another attempt may be made.
        hold::forget_unused(place)?;
        Err(error)
    })
}

fn advance(task: &Task<'_>, name: &ProcessName, qmp: Qmp) -> Result<(), DriverError> {
    let mut hold = Hold::spawned(name, task.guest);
    let way = Way {
        guest: task.guest,
        place: task.place,
        host: task.host,
        name,
        goal: task.goal,
        deadline: task.deadline,
    };
    way.advance(Some(qmp), &mut hold)
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
