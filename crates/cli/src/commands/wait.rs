//! Waiting until guests have started, and showing how far one is.

use super::Session;
use crate::args::Sign;
use crate::progress::Show;
use serde::Serialize;
use stampo_api::{Boot, Event, Guest, Kind, Problem, Reply, Watch};
use stampo_core::names::GuestName;

/// A guest with how far it has started.
#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    guest: Guest,
    /// What an agent in it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Boot>,
    /// Why nobody says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_unknown: Option<String>,
}

/// Asks a guest that runs.
pub fn shown(session: &Session, name: &GuestName, guest: Guest) -> Shown {
    let told = (guest.power == "running" && guest.state == "ready").then(|| session.api.boot(name));
    let (boot, boot_unknown) = match told {
        None => (None, None),
        Some(Ok(boot)) => (Some(boot), None),
        Some(Err(problem)) => (None, Some(problem.message)),
    };
    Shown {
        guest,
        boot,
        boot_unknown,
    }
}

/// Waits for one guest. The name of the phase that ended, and its milliseconds since the guest
/// started.
pub fn wait(
    session: &Session,
    show: &Show,
    guest: &GuestName,
    sign: Sign,
    timeout_s: u64,
) -> Reply<(&'static str, u64)> {
    match sign {
        Sign::Ssh => {
            show.busy(&format!("waiting until ssh of {guest} answers"));
            let ms = session.api.wait_ssh(guest, timeout_s)?;
            Ok((ended(show, guest, "ssh", "answers".to_owned(), ms), ms))
        }
        Sign::System => {
            show.busy(&format!("waiting until the system of {guest} has started"));
            let boot = session.api.wait_system(guest, timeout_s)?;
            let before = boot.before_kernel_ms.unwrap_or(0);
            let ms = before + boot.finished_at_ms.unwrap_or(boot.uptime_ms);
            let detail = format!("{}, says {}", boot.system, boot.told_by);
            Ok((ended(show, guest, "system", detail, ms), ms))
        }
    }
}

fn ended(
    show: &Show,
    guest: &GuestName,
    phase: &'static str,
    detail: String,
    ms: u64,
) -> &'static str {
    show.event(&Event {
        subject: guest.to_string(),
        phase: phase.to_owned(),
        detail,
        duration_ms: Some(ms),
    });
    phase
}

/// The name of a guest that the API gave.
pub fn name_of(guest: &Guest) -> Reply<GuestName> {
    let name = guest.name.parse();
    name.map_err(|error| Problem::from_error(Kind::Failed, &error))
}
