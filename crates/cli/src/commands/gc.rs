//! `gc`.

use super::Session;
use crate::args::{Format, GcArgs};
use crate::output;
use serde::Serialize;
use stampo_api::{GcSubject, Problem};
use std::process::ExitCode;

/// A subject of collection as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(GcSubject);

impl output::Row for Line {
    const COLUMNS: &'static [&'static str] = &["KIND", "NAME", "SIZE", "WHAT", "WHY"];
    const NARROW: usize = 5;

    fn cells(&self) -> Vec<String> {
        let what = if self.0.goes { "goes" } else { "stays" };
        vec![
            self.0.kind.clone(),
            self.0.name.clone(),
            self.0.size.to_string(),
            what.to_owned(),
            self.0.reason.clone(),
        ]
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }
}

/// `gc`.
pub fn gc(session: &Session, args: &GcArgs) -> Result<ExitCode, Problem> {
    let report = session.api.gc(!args.dry_run, args.now)?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &report)?,
        form => {
            let lines: Vec<Line> = report.subjects.into_iter().map(Line).collect();
            output::rows(form, &lines)?;
        }
    }
    let verb = if report.applied {
        "freed"
    } else {
        "would free"
    };
    session.note(&format!("{verb} {}", report.freed));
    Ok(ExitCode::SUCCESS)
}
