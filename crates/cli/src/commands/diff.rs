//! `template diff`.

use super::Session;
use crate::args::{DiffArgs, Format};
use crate::output;
use stampo_api::{DiffFiles, Problem, TemplateDiff};
use std::process::ExitCode;

/// How many paths of a class a table shows.
const SHOWN: usize = 3;

/// `template diff`.
pub fn run(session: &Session, args: &DiffArgs) -> Result<ExitCode, Problem> {
    let found = session.api.diff(&args.before, &args.after)?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &found)?,
        Format::Name => {
            let names = found
                .changes
                .iter()
                .map(|one| format!("{}/{}", one.section, one.name));
            output::print(&names.collect::<Vec<_>>().join("\n"))?;
        }
        form => print(&found, form == Format::Wide)?,
    }
    for why in &found.unknown {
        session.note(&format!("unknown: {why}"));
    }
    session.note(&format!(
        "{} facts and {} files differ from {} to {}",
        found.changes.len(),
        found.files.iter().map(count).sum::<usize>(),
        found.before,
        found.after
    ));
    session.note(&match found.guests.len() {
        0 => format!("no guest was cloned from {}", found.before),
        count => format!(
            "{count} guests were cloned from {}: {}",
            found.before,
            found.guests.join(", ")
        ),
    });
    Ok(ExitCode::SUCCESS)
}

fn count(files: &DiffFiles) -> usize {
    files.added.len() + files.removed.len() + files.changed.len()
}

fn print(found: &TemplateDiff, all: bool) -> Result<(), Problem> {
    let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    if !found.changes.is_empty() {
        let rows = found.changes.iter().map(|one| {
            vec![
                one.section.clone(),
                one.name.clone(),
                of(&one.before),
                of(&one.after),
            ]
        });
        output::print(&output::grid(&["SECTION", "NAME", "BEFORE", "AFTER"], rows))?;
    }
    if !found.files.is_empty() {
        let rows = found.files.iter().map(|one| {
            let counts =
                [&one.added, &one.removed, &one.changed].map(|list| list.len().to_string());
            let mut cells = vec![one.class.clone()];
            cells.extend(counts);
            cells.push(paths(one, if all { usize::MAX } else { SHOWN }));
            cells
        });
        let columns = ["FILES", "ADDED", "REMOVED", "CHANGED", "PATHS"];
        output::print(&output::grid(&columns, rows))?;
    }
    Ok(())
}

/// The first paths of a class, with what is the matter.
fn paths(files: &DiffFiles, most: usize) -> String {
    let lists = [
        ("+", &files.added),
        ("-", &files.removed),
        ("~", &files.changed),
    ];
    let all = lists
        .iter()
        .flat_map(|(sign, list)| list.iter().map(move |path| format!("{sign}{path}")));
    let shown: Vec<String> = all.take(most).collect();
    let rest = count(files) - shown.len();
    match rest {
        0 => shown.join(" "),
        rest => format!("{} and {rest} more", shown.join(" ")),
    }
}
