//! Many clones and a large catalog.

mod fill;

use super::lab::{Lab, PLAIN};
use super::machine::{self, Machine};
use super::program::timed;
use super::{linked_options, project, stats};
use anyhow::{Context, Result};
use clap::Args;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `bench scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Linked clones that are made.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    clones: usize,
    /// Versions in the large catalog.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    versions: u32,
    /// Guests in the large catalog.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT")]
    guests: u32,
    /// Rounds of each command.
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    rounds: usize,
    /// Write the document here [default: docs/bench]. With other counts than the defaults it is
    /// only printed, unless this is given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &ScaleArgs) -> Result<()> {
    let load = machine::load();
    let lab = Lab::open()?;
    let machine = Machine::look(lab.dir(), load)?;
    let mut text = String::from(
        "# Many clones, and a large catalog\n\nWritten by `cargo xtask bench scale`; don't edit.\n\n",
    );
    let _ = writeln!(
        text,
        "On {}, commit {}: {} processors ({}), {} GiB, files on {}. Load averages before: {}.{}\n",
        machine.date,
        machine.commit,
        machine.processors,
        machine.processor,
        machine.memory_gib,
        machine.filesystem,
        machine.load,
        machine.busy()
    );
    clones(&lab, args, &mut text)?;
    catalog(&lab, args, &mut text)?;
    let _ = writeln!(text, "Load averages after: {}.", machine::load());
    let usual = args.clones == 1000 && args.versions == 10_000 && args.guests == 100_000;
    let default = usual.then(|| project().join("docs/bench"));
    match args.out.clone().or(default) {
        None => print!("{text}"),
        Some(dir) => {
            std::fs::create_dir_all(&dir)?;
            std::fs::write(dir.join("scale.md"), text)?;
            eprintln!("written: {}", dir.join("scale.md").display());
        }
    }
    Ok(())
}

/// Linked clones, personalised and not, each in a home of its own.
fn clones(lab: &Lab, args: &ScaleArgs, text: &mut String) -> Result<()> {
    let count = args.clones.to_string();
    let _ = writeln!(text, "## {count} linked clones in one command\n");
    text.push_str(
        "| clones | time | each | bytes on disk | catalog | `ps` after | `rm` of all |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    let bare = ["--linked", "--no-start", "--no-personalisation"].map(str::to_owned);
    for (name, options) in [
        ("personalised", linked_options(lab)),
        ("plain", bare.to_vec()),
    ] {
        let home = lab.path(&format!("scale-{name}"));
        lab.publish(&home, PLAIN, &lab.disk(PLAIN, "raw"))?;
        let before = (allocated(&home.join("guests"))?, size(&home)?);
        let mut clone = lab.stampo_in(&home, &["clone", PLAIN, "s-{n}", "--count", &count]);
        let took = timed(clone.args(&options))?;
        let after = (allocated(&home.join("guests"))?, size(&home)?);
        let ps = timed(&mut lab.stampo_in(&home, &["ps"]))?;
        let names: Vec<String> = (1..=args.clones).map(|n| format!("s-{n}")).collect();
        let remove = timed(lab.stampo_in(&home, &["rm"]).args(&names))?;
        let each = took / args.clones as f64;
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            stats::duration(took),
            stats::duration(each),
            mebibytes(after.0 - before.0),
            mebibytes(after.1.saturating_sub(before.1)),
            stats::duration(ps),
            stats::duration(remove),
        );
        eprintln!("{name}: {}", stats::duration(took));
        std::fs::remove_dir_all(&home)?;
    }
    text.push('\n');
    Ok(())
}

/// Everyday commands in a home whose catalog is large.
fn catalog(lab: &Lab, args: &ScaleArgs, text: &mut String) -> Result<()> {
    let home = lab.path("scale-catalog");
    lab.publish(&home, PLAIN, &lab.disk(PLAIN, "raw"))?;
    let time = |words: &[&str]| -> Result<stats::Summary> {
        let mut times = Vec::new();
        for _ in 0..args.rounds {
            times.push(timed(&mut lab.stampo_in(&home, words))?);
        }
        stats::summary(&times).context("no rounds")
    };
    let commands: [(&str, Vec<&str>); 6] = [
        ("stampo ps", vec!["ps"]),
        ("stampo show GUEST", vec!["show", "fill-7"]),
        ("stampo template ls", vec!["template", "ls"]),
        (
            "stampo template show VERSION",
            vec!["template", "show", "fill-0@1"],
        ),
        ("stampo gc --dry-run", vec!["gc", "--dry-run"]),
        ("stampo operation ls", vec!["operation", "ls"]),
    ];
    let mut columns = Vec::new();
    let mut filled = (0, 0);
    for share in [100, 10, 1] {
        let (versions, guests) = (args.versions / share, args.guests / share);
        eprintln!("filling the catalog: {versions} versions, {guests} guests");
        fill::fill(&home, filled, (versions, guests))?;
        filled = (versions, guests);
        let mut cells = vec![(
            format!("{versions} versions, {guests} guests"),
            size(&home)?,
        )];
        for (name, words) in &commands {
            let took = time(words)?;
            eprintln!("{name}: {}", stats::duration(took.median));
            cells.push((stats::duration(took.median), 0));
        }
        cells.push((one_more(lab, &home, args.rounds)?, 0));
        columns.push(cells);
    }
    let names = commands.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.chain(["stampo clone, one more"]).collect();
    table(text, &names, &columns);
    std::fs::remove_dir_all(&home)?;
    Ok(())
}

fn table(text: &mut String, names: &[&str], columns: &[Vec<(String, u64)>]) {
    let _ = writeln!(text, "## Everyday commands in a large catalog\n");
    let heads: Vec<&str> = columns.iter().map(|cells| cells[0].0.as_str()).collect();
    let _ = writeln!(text, "| command | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
    for (number, name) in names.iter().enumerate() {
        let cells: Vec<&str> = columns
            .iter()
            .map(|cells| cells[number + 1].0.as_str())
            .collect();
        let _ = writeln!(text, "| `{name}` | {} |", cells.join(" | "));
    }
    let sizes: Vec<String> = columns.iter().map(|cells| mebibytes(cells[0].1)).collect();
    let _ = writeln!(text, "| size of the catalog | {} |\n", sizes.join(" | "));
    let _ = writeln!(
        text,
        "Medians of the wall-clock time of the whole command. The rows are made through the store's \
         own code; each guest has its directory with its definition, on a bridge, stopped.\n"
    );
}

/// One more linked clone; it is removed again, which is not counted.
fn one_more(lab: &Lab, home: &Path, rounds: usize) -> Result<String> {
    let mut times = Vec::new();
    for round in 0..rounds {
        let name = format!("more-{round}");
        let mut clone = lab.stampo_in(home, &["clone", PLAIN, &name]);
        times.push(timed(clone.args(linked_options(lab)))?);
        super::program::output(&mut lab.stampo_in(home, &["rm", &name]))?;
    }
    let summary = stats::summary(&times).context("no rounds")?;
    eprintln!("one more: {}", stats::duration(summary.median));
    Ok(stats::duration(summary.median))
}

/// The bytes that everything below a directory takes on the disk.
fn allocated(dir: &Path) -> Result<u64> {
    use super::program::{command, output};
    let words = ["du", "--summarize", "--block-size=1"];
    let text = output(command(&words).arg(dir))?;
    let first = text
        .split_whitespace()
        .next()
        .context("du prints a number")?;
    Ok(first.parse()?)
}

/// The size of the catalog with its log.
fn size(home: &Path) -> Result<u64> {
    let sizes = ["catalog.db", "catalog.db-wal"].map(|name| std::fs::metadata(home.join(name)));
    Ok(sizes.iter().flatten().map(std::fs::Metadata::len).sum())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
