//! Printing data: a table for people, JSON and YAML for programs, names for shells.

use crate::args::Format;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use stampo_api::{Kind, Problem};
use std::io::Write;

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
        Format::Json => serde_json::to_string_pretty(value).map_err(|e| failed(e.to_string()))?,
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
        // A guest's words may hold control characters; a terminal must not obey them.
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
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

/// The text without characters that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Prints to standard output. A closed pipe is not an error: the reader has had enough.
pub fn print(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::new(
            Kind::Failed,
            format!("write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints a line to standard error. That nobody reads it must not stop the work.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Milliseconds since 1970 as RFC 3339 in UTC, to the second.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
