//! Ending a guest: ask an agent in it, press its power button, end QEMU, kill the process.
//!
//! No lock is held meanwhile: a user who is tired of a graceful stop may kill the guest from
//! another terminal. Everything is done to one held process, so a guest that was started again in
//! between is not hit.

use crate::agent::Agent;
use crate::channel;
use crate::hold::Hold;
use crate::listening;
use crate::place::Place;
use crate::process::{Held, ProcessName};
use crate::qmp::Qmp;
use crate::wire::Deadline;
use stampo_agent_protocol::{Ending, Request, Response};
use stampo_core::ids::GuestId;
use stampo_driver::{DriverError, StopMethod, StoppedBy};
use std::io;
use std::time::Duration;

use crate::{running, settle};

/// How long QEMU may take to end when it is told to: it flushes its disks.
const QUIT: Duration = Duration::from_secs(3);

/// How long a killed process may take to go: the kernel frees its memory and finishes its I/O.
const GONE: Duration = Duration::from_secs(30);

/// How often it is looked whether an agent listens: a guest that is still booting has none yet.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often the power button is pressed. A guest that is still booting does not feel it.
const PRESS_EVERY: Duration = Duration::from_secs(1);

/// Ends the guest unless it is stopped.
pub(crate) fn ensure(
    place: &Place,
    id: GuestId,
    method: StopMethod,
) -> Result<StoppedBy, DriverError> {
    let Some(name) = running::find(place, id)? else {
        return Ok(StoppedBy::Already);
    };
    let broken = || DriverError::io("end the process of", place.dir());
    let Some(held) = name.hold().map_err(broken())? else {
        return Ok(StoppedBy::Already);
    };
    if let StopMethod::Graceful { agent, acpi } = method
        && can_hear(place, &name)?
    {
        if by_agent(place, &held, agent).map_err(broken())? {
            return Ok(StoppedBy::Agent);
        }
        if by_power_button(place, &held, acpi).map_err(broken())? {
            return Ok(StoppedBy::Acpi);
        }
        if by_quit(place, &held).map_err(broken())? {
            return Ok(StoppedBy::Kill);
        }
    }
    held.kill().map_err(broken())?;
    if held.wait_gone(GONE).map_err(broken())? {
        return Ok(StoppedBy::Kill);
    }
    Err(DriverError::Program {
        program: "qemu".to_owned(),
        why: format!(
            "process {} was killed and is still there after {} s: a device of the host hangs",
            name.pid,
            GONE.as_secs()
        ),
    })
}

/// Whether something of the guest runs that could end it. One that is paused is let go on; one
/// that was only prepared has nothing to end.
fn can_hear(place: &Place, name: &ProcessName) -> Result<bool, DriverError> {
    let Some(hold) = Hold::of(place, name)? else {
        return Ok(true);
    };
    if hold.stage.readiness().is_some() {
        return Ok(false);
    }
    // Whoever holds the lock is just letting it go on, or making it wait.
    if let Some(_lock) = place.lock(QUIT)? {
        settle::go_on(place, name, Deadline::after(QUIT))?;
    }
    Ok(true)
}

/// Half of the time is for an agent to listen and to answer: if none has by then, none is there.
fn by_agent(place: &Place, held: &Held, limit: Duration) -> io::Result<bool> {
    let deadline = Deadline::after(limit);
    let listen = deadline.at_most(limit / 2);
    while listen.left().is_some() {
        if told_to_end(place, listen) {
            return held.wait_gone(deadline.left().unwrap_or_default());
        }
        if held.wait_gone(LOOK_EVERY.min(listen.left().unwrap_or_default()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks the agents that listen, stampo's own first, until one takes the shutdown.
fn told_to_end(place: &Place, deadline: Deadline) -> bool {
    let listening = match listening::ask(place, deadline) {
        Ok(listening) => listening,
        Err(error) => {
            tracing::debug!(%error, "which agents listen is not known");
            return false;
        }
    };
    let ending = Ending::PowerOff;
    let request = Request::Shutdown { ending };
    if listening.own {
        // A part of the time: one that is stuck must not keep the other from being asked.
        let deadline = deadline.at_most(deadline.left().unwrap_or_default() / 2);
        match channel::ask(&place.channel_socket(), &request, deadline) {
            Ok(Response::ShuttingDown) => return true,
            Ok(_) => tracing::debug!("stampo's agent answered something else"),
            Err(error) => tracing::debug!(%error, "stampo's agent did not take the shutdown"),
        }
    }
    if listening.qemu {
        let asked = Agent::connect(&place.agent_socket(), deadline)
            .and_then(|mut agent| agent.shutdown(deadline));
        match asked {
            Ok(()) => return true,
            Err(error) => tracing::debug!(%error, "QEMU's agent did not take the shutdown"),
        }
    }
    false
}

fn by_power_button(place: &Place, held: &Held, limit: Duration) -> io::Result<bool> {
    let deadline = Deadline::after(limit);
    while let Some(left) = deadline.left() {
        let pressed = Qmp::connect(&place.qmp_socket(), deadline)
            .and_then(|mut qmp| qmp.press_power_button(deadline));
        if let Err(error) = pressed {
            tracing::debug!(%error, "the power button could not be pressed");
        }
        if held.wait_gone(left.min(PRESS_EVERY))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn by_quit(place: &Place, held: &Held) -> io::Result<bool> {
    let deadline = Deadline::after(QUIT);
    let told = Qmp::connect(&place.qmp_socket(), deadline).and_then(|mut qmp| qmp.quit(deadline));
    if let Err(error) = told {
        tracing::debug!(%error, "QEMU could not be told to end");
        return Ok(false);
    }
    held.wait_gone(deadline.left().unwrap_or_default())
}
