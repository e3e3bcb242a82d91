//! The documents: `main.md` for people, `main.json` with every round, `main.svg`.

use super::machine::Machine;
use super::row::{Judged, Measured, PEAK_LIMIT_KIB, Timed};
use super::{plot, stats};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// A note that a person keeps beside the figures: what misses its number, and why. It is put into
/// the document as it is.
const PROFILE: &str = "main-profile.md";

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// The load averages after.
    pub load_after: String,
    /// Programs and their versions.
    pub versions: Vec<(String, String)>,
    /// Rows that could not be measured, and why.
    pub skipped: Vec<(String, String)>,
    /// The rows.
    pub rows: Vec<Measured>,
}

impl Report {
    /// Writes the documents into a directory.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        let profile = std::fs::read_to_string(dir.join(PROFILE)).unwrap_or_default();
        let put = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).with_context(|| format!("write {name}"))
        };
        put("main.json", &(serde_json::to_string_pretty(self)? + "\n"))?;
        put("main.svg", &plot::bars(&self.bars())?)?;
        put("main.md", &self.document(&profile))?;
        eprintln!("written: {}", dir.join("main.md").display());
        Ok(())
    }

    /// One bar for each goal.
    fn bars(&self) -> Vec<plot::Bar> {
        let mut bars = Vec::new();
        for row in &self.rows {
            for goal in &row.goals {
                bars.push(plot::Bar {
                    label: format!("{}: beside {}", row.id, row.sides[goal.beside].name),
                    margin: goal.margin,
                    shown: format!("{} (wanted {})", goal.found, goal.wanted),
                });
            }
        }
        bars
    }

    /// The table of goals.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| work | beside | ours | theirs | found | wanted | reached |\n|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            for goal in &row.goals {
                goal_line(&mut text, row, goal);
            }
        }
        let peaks = self
            .rows
            .iter()
            .flat_map(|row| &row.sides)
            .filter_map(|side| side.peak_kib);
        if let Some(peak) = peaks.max() {
            let reached = if peak <= PEAK_LIMIT_KIB {
                "yes"
            } else {
                "**no**"
            };
            let _ = writeln!(
                text,
                "| peak memory of any of these | – | {} MiB | – | – | ≤ {} MiB | {reached} |",
                peak.div_ceil(1024),
                PEAK_LIMIT_KIB >> 10
            );
        }
        text
    }

    fn document(&self, profile: &str) -> String {
        let mut text = String::from(
            "# stampo beside what people use today\n\nWritten by `cargo xtask bench main`; don't edit. \
             Explanations are kept in `main-profile.md`.\n\n",
        );
        text.push_str(&self.table());
        text.push_str("\n![The same as a plot](main.svg)\n\n");
        if !profile.trim().is_empty() {
            let _ = writeln!(text, "{}\n", profile.trim());
        }
        text.push_str(&self.how());
        text.push_str("\n## Every way, measured\n\n");
        text.push_str("| row | way | median | quartiles | rounds | peak memory |\n|---|---|---|---|---|---|\n");
        for row in &self.rows {
            for side in &row.sides {
                side_line(&mut text, &row.id, side);
            }
        }
        text.push_str("\n## Command lines and remarks\n\n");
        for row in &self.rows {
            let _ = writeln!(text, "**{}**: {}. {}\n", row.id, row.work, row.note);
            for side in &row.sides {
                let _ = writeln!(text, "- {}: `{}`", side.name, side.how);
            }
            text.push('\n');
        }
        text.push_str("Every round of every way is in [main.json](main.json).\n");
        text
    }

    fn how(&self) -> String {
        let machine = &self.machine;
        let mut text = String::from("## How it was taken\n\n");
        let _ = writeln!(
            text,
            "On {}, commit {}: {} processors ({}), {} GiB, kernel {}, {}; the files are on {}, where \
             fsync of a new 4 KiB file takes {}. Guests and libguestfs' appliance are emulated (TCG). \
             Load averages before: {}; after: {}.{}\n",
            machine.date,
            machine.commit,
            machine.processors,
            machine.processor,
            machine.memory_gib,
            machine.kernel,
            machine.system,
            machine.filesystem,
            stats::duration(machine.fsync_ms),
            machine.load,
            self.load_after,
            machine.busy()
        );
        text.push_str(
            "The ways of a row are measured in turn (A B C, A B C, …), after one round that is thrown \
             away. Figures are medians of the wall-clock time from before the program is started until \
             it has ended; quartiles are by nearest rank. Removing what a round made is not counted, and \
             what it left to be written is written back (sync) before the next program starts. \
             Memory is the largest process of a command and its children, as wait4(2) tells. The guest \
             is Debian 12 with about 735 MiB of data on ext4 in a disk of 3 GiB, built by stampo.\n\n",
        );
        text.push_str("| program's package | version |\n|---|---|\n");
        for (name, version) in &self.versions {
            let _ = writeln!(text, "| {name} | {version} |");
        }
        for (row, why) in &self.skipped {
            let _ = writeln!(text, "\nNot measured: {row}: {why}.");
        }
        text
    }
}

fn goal_line(text: &mut String, row: &Measured, goal: &Judged) {
    let (ours, theirs) = (&row.sides[goal.ours], &row.sides[goal.beside]);
    let work = match goal.ours {
        0 => row.work.clone(),
        _ => format!("{} ({})", row.work, ours.name),
    };
    let reached = if goal.is_reached() { "yes" } else { "**no**" };
    let _ = writeln!(
        text,
        "| {work} | {} | {} | {} | {} | {} | {reached} |",
        theirs.name,
        stats::duration(ours.summary.median),
        stats::duration(theirs.summary.median),
        goal.found,
        goal.wanted,
    );
}

fn side_line(text: &mut String, row: &str, side: &Timed) {
    let summary = side.summary;
    let peak = side.peak_kib.map_or_else(
        || "–".to_owned(),
        |kib| format!("{} MiB", kib.div_ceil(1024)),
    );
    let _ = writeln!(
        text,
        "| {row} | {} | {} | {} – {} | {} | {peak} |",
        side.name,
        stats::duration(summary.median),
        stats::duration(summary.low),
        stats::duration(summary.high),
        side.rounds_ms.len(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Wanted;

    fn side(name: &str, ms: f64, peak_kib: Option<u64>) -> Timed {
        Timed {
            name: name.to_owned(),
            how: format!("{name} --run"),
            summary: stats::summary(&[ms]).expect("a value"),
            rounds_ms: vec![ms],
            peak_kib,
        }
    }

    fn report(ours_ms: f64, peak_kib: u64) -> Report {
        let (found, wanted, margin) = Wanted::FasterBy(4.0).judge(ours_ms, 100.0);
        let row = Measured {
            id: "row".to_owned(),
            work: "the work".to_owned(),
            sides: vec![
                side("ours", ours_ms, Some(peak_kib)),
                side("theirs", 100.0, None),
            ],
            goals: vec![Judged {
                ours: 0,
                beside: 1,
                found,
                wanted,
                margin,
            }],
            note: "A remark.".to_owned(),
        };
        let machine = Machine::look(&std::env::temp_dir(), "9 9 9".to_owned()).expect("a machine");
        Report {
            machine,
            load_after: String::new(),
            versions: vec![("qemu-utils".to_owned(), "1".to_owned())],
            skipped: Vec::new(),
            rows: vec![row],
        }
    }

    #[test]
    fn the_table_says_what_is_reached_and_what_is_not() {
        let good = report(20.0, 1000).table();
        assert!(
            good.contains(
                "| the work | theirs | 20.0 ms | 100 ms | 5.00× faster | ≥ 4× faster | yes |"
            ),
            "{good}"
        );
        assert!(
            good.contains("| 1 MiB | – | – | ≤ 150 MiB | yes |"),
            "{good}"
        );
        let bad = report(30.0, 200 << 10).table();
        assert!(
            bad.contains("3.33× faster | ≥ 4× faster | **no** |"),
            "{bad}"
        );
        assert!(
            bad.contains("| 200 MiB | – | – | ≤ 150 MiB | **no** |"),
            "{bad}"
        );
    }

    #[test]
    fn the_documents_are_written_whole_with_the_kept_explanation() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(PROFILE), "## Why\n\nBecause.\n").expect("written");
        report(20.0, 1000).write(dir.path()).expect("written");
        let text = std::fs::read_to_string(dir.path().join("main.md")).expect("read");
        for part in [
            "## Why\n\nBecause.",
            "theirs --run",
            "A remark.",
            "| qemu-utils | 1 |",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let svg = std::fs::read_to_string(dir.path().join("main.svg")).expect("read");
        assert!(
            svg.contains("<svg") && svg.contains("row: beside theirs"),
            "{svg}"
        );
        let json = std::fs::read_to_string(dir.path().join("main.json")).expect("read");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["rows"][0]["sides"][1]["rounds_ms"][0], 100.0);
    }
}
