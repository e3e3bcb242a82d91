//! Benchmarks: `main` beside what people use today, `scale` with a large catalog.
//!
//! Everything is made under `target/bench`; built guests stay there for the next run. What it does
//! *not* do: compare with an earlier run. Machines differ, so each run takes both sides anew.

mod filesystem;
mod instant;
mod lab;
mod libvirt;
mod machine;
mod plot;
mod program;
mod report;
mod row;
mod rows;
mod scale;
mod stats;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use lab::Lab;
use rows::linked_options;
use std::path::{Path, PathBuf};

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The main job beside qemu-img, virt-clone, virt-sysprep and others: docs/bench/main.md.
    Main(MainArgs),
    /// 1,000 clones, and a catalog of 10,000 versions and 100,000 guests: docs/bench/scale.md.
    Scale(scale::ScaleArgs),
    /// Instant clones and pools beside booting: docs/bench/instant.md.
    Instant(instant::InstantArgs),
}

/// `bench main`.
#[derive(Debug, Args)]
pub struct MainArgs {
    /// Measure only this row and print it; may be repeated. The documents stay as they are.
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Rounds of each row [default: by row, 3 to 21].
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Write the documents here [default: docs/bench].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Install nothing; fail when a program is missing.
    #[arg(long)]
    no_install: bool,
}

/// The directory of this project.
fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the project")
}

/// Runs a benchmark.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Main(args) => main(args),
        Bench::Scale(args) => scale::run(args),
        Bench::Instant(args) => instant::run(args),
    }
}

fn main(args: &MainArgs) -> Result<()> {
    let wanted: Vec<_> = rows::ALL
        .iter()
        .filter(|(id, _)| args.only.is_empty() || args.only.iter().any(|only| only == id))
        .collect();
    let known: Vec<&str> = rows::ALL.iter().map(|(id, _)| *id).collect();
    ensure!(
        !wanted.is_empty() && (args.only.is_empty() || wanted.len() == args.only.len()),
        "the rows are {}",
        known.join(", ")
    );
    if !args.no_install {
        machine::install()?;
    }
    let load = machine::load();
    let lab = Lab::open()?;
    let before = machine::Machine::look(lab.dir(), load)?;
    let mut measured = Vec::new();
    let mut skipped = Vec::new();
    for (id, make) in wanted {
        match make(&lab).with_context(|| format!("prepare the row {id}"))? {
            rows::Made::Rows(made) => {
                for row in made {
                    measured.push(row.measure(&lab, args.rounds)?);
                }
            }
            rows::Made::Skipped(why) => {
                eprintln!("{id}: skipped: {why}");
                skipped.push(((*id).to_owned(), why));
            }
        }
    }
    let found = report::Report {
        versions: machine::versions(),
        load_after: machine::load(),
        machine: before,
        skipped,
        rows: measured,
    };
    if args.only.is_empty() || args.out.is_some() {
        let default = project().join("docs/bench");
        found.write(args.out.as_deref().unwrap_or(&default))
    } else {
        print!("{}", found.table());
        Ok(())
    }
}
