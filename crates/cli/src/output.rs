//! Printing data: a table for people, JSON and YAML for programs, names for shells.

use crate::args::Format;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use stampo_api::{Kind, Problem};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Something that can be a row of a table.
pub trait Row: Serialize {
    /// Headings; those from `wide` on are only printed with `-o wide`.
    const COLUMNS: &'static [&'static str];
    /// How many columns a narrow table has.
    const NARROW: usize;
    /// The cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;
    /// What `-o name` prints.
    fn name(&self) -> String;
}

/// Prints rows in the form that was asked for.
pub fn rows<R: Row>(format: Format, rows: &[R]) -> Result<(), Problem> {
    match format {
        Format::Table => print(&table(rows, R::NARROW)),
        Format::Wide => print(&table(rows, R::COLUMNS.len())),
        Format::Json | Format::Yaml => value(format, &rows),
        Format::Name => {
            let names: Vec<String> = rows.iter().map(Row::name).collect();
            print(&names.join("\n"))
        }
    }
}

/// Prints one value: as fields for people, else as asked for.
pub fn value<T: Serialize>(format: Format, value: &T) -> Result<(), Problem> {
    let failed = |error: String| Problem::new(Kind::Failed, format!("print the output: {error}"));
    let text = match format {
        Format::Json => {
            escaped(&serde_json::to_string_pretty(value).map_err(|e| failed(e.to_string()))?)
        }
        _ => serde_yaml_ng::to_string(value).map_err(|e| failed(e.to_string()))?,
    };
    print(text.trim_end())
}

fn table<R: Row>(rows: &[R], columns: usize) -> String {
    let cells = rows
        .iter()
        .map(|row| row.cells().into_iter().take(columns).collect());
    grid(&R::COLUMNS[..columns], cells)
}

/// A borderless table.
pub fn grid(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for row in rows {
        // A line end in a guest's words would make a row of their own.
        table.add_row(row.into_iter().map(|cell| one_line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether a terminal would obey the character: C0, DEL and C1, or turn round what follows.
fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// The text without characters that a terminal would obey; lines stay lines. A guest's words are
/// hostile, and most messages quote some.
fn printable(text: &str) -> String {
    let obeyed = |c| c != '\n' && is_obeyed(c);
    text.replace(obeyed, "\u{fffd}")
}

/// The same in one line, for words that must not look like a line of ours.
pub fn one_line(text: &str) -> String {
    text.replace(is_obeyed, "\u{fffd}")
}

/// The same with its lines kept but pushed in, so that none looks like a line of ours.
pub fn pushed_in(text: &str) -> String {
    printable(text.trim_end()).replace('\n', "\n      ")
}

/// JSON with escapes for what may stand as it is in its strings, but which a terminal obeys.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_obeyed(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Prints to standard output. A closed pipe is not an error: the reader has had enough.
pub fn print(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout().lock(), "{}", printable(text)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::new(
            Kind::Failed,
            format!("write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints a line to standard error. That nobody reads it must not stop the work.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(text));
}

/// Milliseconds since 1970 as RFC 3339 in UTC, to the second.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// Writes a file that must not be there yet.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::AlreadyExists => Kind::Conflict,
            _ => Kind::Failed,
        };
        Problem::new(kind, format!("write {}: {error}", path.display()))
    };
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = opened.map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A title, a cleared screen, a step back, a turned line, and a row of its own.
    const EVIL: &str = "a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\nweb@1 published";

    #[test]
    fn a_cell_is_one_line_that_nothing_obeys() {
        let grid = grid(&["PATH"], [vec![EVIL.to_owned()]].into_iter());
        assert_eq!(grid.lines().count(), 2, "{grid}");
        assert!(!grid.contains(|c| c != '\n' && is_obeyed(c)), "{grid:?}");
    }

    #[test]
    fn json_means_the_same_with_nothing_to_obey_in_it() {
        let json = escaped(&serde_json::to_string_pretty(&[EVIL]).expect("JSON"));
        assert!(!json.contains(|c| c != '\n' && is_obeyed(c)), "{json:?}");
        let back: Vec<String> = serde_json::from_str(&json).expect("still JSON");
        assert_eq!(back, [EVIL]);
    }
}
