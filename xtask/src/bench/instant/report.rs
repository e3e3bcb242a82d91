//! The documents: `instant.md` for people, `instant.json` with every value, `instant.svg`.

use super::super::machine::Machine;
use super::super::{plot, stats};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// A note that a person keeps beside the figures.
const PROFILE: &str = "instant-profile.md";

/// What is wanted of a median.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    work: String,
    unit: &'static str,
    values: Vec<f64>,
    wanted: Option<Wanted>,
}

impl Figure {
    pub fn new(work: &str, unit: &'static str, values: Vec<f64>, wanted: Option<Wanted>) -> Figure {
        Figure {
            work: work.to_owned(),
            unit,
            values,
            wanted,
        }
    }

    /// How many times larger the median of `large` is than that of `small`.
    pub fn ratio(work: &str, large: &[f64], small: &[f64], wanted: Option<Wanted>) -> Figure {
        let medians = stats::summary(large).zip(stats::summary(small));
        let values = medians.map(|(large, small)| large.median / small.median);
        Figure::new(work, "×", values.into_iter().collect(), wanted)
    }

    fn shown(&self, value: f64) -> String {
        match self.unit {
            "ms" => stats::duration(value),
            "×" => stats::ratio(value),
            unit => format!("{value:.1} {unit}"),
        }
    }

    /// How much better than wanted, as a factor.
    fn margin(&self) -> Option<f64> {
        let median = stats::summary(&self.values)?.median;
        self.wanted.map(|wanted| match wanted {
            Wanted::AtMost(most) => most / median,
            Wanted::AtLeast(least) => median / least,
        })
    }

    fn wanted(&self) -> String {
        match self.wanted {
            None => "–".to_owned(),
            Some(Wanted::AtMost(most)) => format!("≤ {}", self.shown(most)),
            Some(Wanted::AtLeast(least)) => format!("≥ {}", self.shown(least)),
        }
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub load_after: String,
    pub acceleration: String,
    pub versions: Vec<(String, String)>,
    pub figures: Vec<Figure>,
}

impl Report {
    /// Writes the documents into a directory.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        let put = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).with_context(|| format!("write {name}"))
        };
        put(
            "instant.json",
            &(serde_json::to_string_pretty(self)? + "\n"),
        )?;
        put("instant.svg", &plot::bars(&self.bars())?)?;
        let profile = std::fs::read_to_string(dir.join(PROFILE)).unwrap_or_default();
        put("instant.md", &self.document(&profile))?;
        eprintln!("written: {}", dir.join("instant.md").display());
        Ok(())
    }

    fn bars(&self) -> Vec<plot::Bar> {
        let bar = |figure: &Figure| {
            let median = stats::summary(&figure.values)?.median;
            Some(plot::Bar {
                label: figure.work.clone(),
                margin: figure.margin()?,
                shown: format!("{} (wanted {})", figure.shown(median), figure.wanted()),
            })
        };
        self.figures.iter().filter_map(bar).collect()
    }

    fn document(&self, profile: &str) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "# Instant clones and pools\n\nWritten by `cargo xtask bench instant`; don't edit. \
             Explanations are kept in `{PROFILE}`.\n\n\
             | figure | median | quartiles | values | wanted | reached |\n|---|---|---|---|---|---|\n"
        );
        for figure in &self.figures {
            line(&mut text, figure);
        }
        text.push_str("\n![The same as a plot](instant.svg)\n\n");
        if !profile.trim().is_empty() {
            let _ = writeln!(text, "{}\n", profile.trim());
        }
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let _ = writeln!(
            text,
            "## How it was taken\n\nOn {}, commit {}: {} processors ({}), {} GiB, kernel {}, {}, files on {}; \
             {}. Guests run on: {}. Load averages before: {}; after: {}.{}\n\n\
             The guest is Debian 12 with an ssh server, 1 processor and 512 MiB, built by stampo. Times of one \
             guest are those that the operation records for each phase, to the millisecond; the first round \
             is thrown away. Boots are taken between the forks, one to five of them. A member is taken when \
             its pool is full and nothing is being made. Private memory is `Anonymous` of \
             /proc/PID/smaps_rollup of the guest's process, its emulator included. That all guests are \
             unlike is what `stampo passport --all` says. Every value is in [instant.json](instant.json).",
            machine.date,
            machine.commit,
            machine.processors,
            machine.processor,
            machine.memory_gib,
            machine.kernel,
            machine.system,
            machine.filesystem,
            versions.join(", "),
            self.acceleration,
            machine.load,
            self.load_after,
            machine.busy()
        );
        text
    }
}

fn line(text: &mut String, figure: &Figure) {
    let Some(found) = stats::summary(&figure.values) else {
        return;
    };
    let reached = match figure.margin() {
        None => "–",
        Some(margin) if margin >= 1.0 => "yes",
        Some(_) => "**no**",
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} to {} | {} | {} | {reached} |",
        figure.work,
        figure.shown(found.median),
        figure.shown(found.low),
        figure.shown(found.high),
        figure.values.len(),
        figure.wanted()
    );
}
