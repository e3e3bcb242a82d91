//! `start`, `stop`, `restart`.

use super::Session;
use super::guests::GuestLine;
use super::wait::wait;
use crate::args::{Sign, StartArgs, StopArgs};
use crate::output;
use crate::progress::Show;
use stampo_api::Problem;
use std::process::ExitCode;

/// `start`.
pub fn start(session: &Session, args: &StartArgs) -> Result<ExitCode, Problem> {
    for guest in &args.guests {
        session.api.start(guest)?;
    }
    let show = Show::new(session.global.quiet);
    let mut lines = Vec::new();
    for guest in &args.guests {
        if let Some(sign) = args.wait_for.or(args.wait.then_some(Sign::Ssh)) {
            wait(session, &show, guest, sign, args.timeout)?;
        }
        lines.push(GuestLine(session.api.guest(guest)?));
    }
    drop(show);
    output::rows(session.global.output, &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// `stop`.
pub fn stop(session: &Session, args: &StopArgs) -> Result<ExitCode, Problem> {
    let show = Show::new(session.global.quiet);
    for guest in &args.guests {
        show.busy(&format!("stopping {guest}"));
        let by = session.api.stop(guest, args.kill)?.by;
        let how = match by.as_str() {
            "already" => "was not running",
            "agent" => "shut down by its guest agent",
            "acpi" => "shut down by ACPI",
            _ => "killed",
        };
        show.line(&format!("{guest} {how}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `restart`.
pub fn restart(session: &Session, args: &StopArgs) -> Result<ExitCode, Problem> {
    stop(session, args)?;
    let guests = args.guests.clone();
    start(
        session,
        &StartArgs {
            guests,
            wait: false,
            wait_for: None,
            timeout: 0,
        },
    )
}
