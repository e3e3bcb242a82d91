//! `doctor`.

use super::Session;
use crate::args::Format;
use crate::output;
use stampo_api::{CheckStatus, Problem};
use std::process::ExitCode;

/// Prints every check; exit code 1 when something can't work.
pub fn run(session: &Session) -> Result<ExitCode, Problem> {
    let report = session.api.doctor()?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &report)?,
        _ => {
            for check in &report.checks {
                let mark = match check.status {
                    CheckStatus::Ok => "ok  ",
                    CheckStatus::Warn => "warn",
                    CheckStatus::Fail => "FAIL",
                    CheckStatus::Unknown => "?   ",
                };
                output::print(&format!("{mark}  {:<16} {}", check.id, check.found))?;
                if check.status != CheckStatus::Ok {
                    output::print(&format!("      {:<16} needed for: {}", "", check.why))?;
                    if !check.remedy.is_empty() {
                        output::print(&format!("      {:<16} mend it:    {}", "", check.remedy))?;
                    }
                }
            }
        }
    }
    let failed = report
        .checks
        .iter()
        .any(|check| check.status == CheckStatus::Fail);
    Ok(ExitCode::from(u8::from(failed)))
}
