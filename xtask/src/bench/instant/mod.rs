//! Instant clones and pools, beside booting the same template.
//!
//! ```text
//! build, seal, publish, freeze ─ rounds: one fork, ten forks, boots, takes of each depth ─ fifty at rest
//! ```
//! One version of a small Debian is the ground of everything. What is wanted of each figure is the
//! project's own aim, not another program's time: QEMU alone offers nothing that could be put beside.

mod memory;
mod report;

use super::lab::Lab;
use super::machine::{self, Machine};
use super::program::{milliseconds, wait_for};
use super::project;
use anyhow::{Context, Result, ensure};
use clap::Args;
use report::{Figure, Report, Wanted};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// A small Debian with an ssh server, which boots as fast as it can.
const RECIPE: &str = r#"
release = "bookworm"
packages = ["sudo"]
[services]
disable = ["apt-daily.timer", "apt-daily-upgrade.timer"]
[disk]
size = "2G"
[hardware]
cpus = 1
memory = "512M"
"#;

/// `bench instant`.
#[derive(Debug, Args)]
pub struct InstantArgs {
    /// Rounds of one fork, and of each way to take a member.
    #[arg(long, default_value_t = 15, value_name = "COUNT")]
    rounds: usize,
    /// Clones that are left at rest to see what memory they take.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    clones: usize,
    /// Write the documents here [default: docs/bench].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &InstantArgs) -> Result<()> {
    let load = machine::load();
    let lab = Lab::open_without_guests()?;
    let machine = Machine::look(lab.dir(), load)?;
    let doctor = lab.ok(&["doctor", "-o", "json"])?;
    let frozen_ms = prepare(&lab)?;
    let mut figures = Vec::new();
    let (forks, boots) = forks_and_boots(&lab, args.rounds)?;
    figures.extend(of_forks(&forks, &boots));
    figures.push(ten(&lab)?);
    for depth in ["warm", "loaded", "spawned"] {
        figures.push(takes(&lab, depth, args.rounds)?);
    }
    figures.extend(memory::at_rest(&lab, args.clones)?);
    figures.push(Figure::new(
        "freeze: from the last instruction to saved",
        "ms",
        vec![frozen_ms],
        Some(Wanted::AtMost(50.0)),
    ));
    let report = Report {
        machine,
        load_after: machine::load(),
        acceleration: acceleration(&doctor)?,
        versions: machine::versions_of(&["qemu-system-x86"]),
        figures,
    };
    let default = project().join("docs/bench");
    report.write(args.out.as_deref().unwrap_or(&default))
}

/// What runs guest code, as the doctor found out.
fn acceleration(doctor: &str) -> Result<String> {
    let doctor: Value = serde_json::from_str(doctor)?;
    let checks = doctor["checks"].as_array().context("checks")?;
    let found = checks
        .iter()
        .find(|check| check["id"].as_str().is_some_and(|id| id.contains("accel")));
    Ok(found.map_or_else(
        || "unknown".to_owned(),
        |check| check["found"].as_str().unwrap_or("unknown").to_owned(),
    ))
}

/// A published and frozen version; how long its freezing kept the guest from running, in ms.
fn prepare(lab: &Lab) -> Result<f64> {
    let recipe = lab.path("instant.toml");
    fs::write(&recipe, RECIPE)?;
    eprintln!("building the guest");
    lab.ok(&[
        "template",
        "build",
        "fork",
        "-f",
        &recipe.display().to_string(),
    ])?;
    for verb in ["seal", "publish", "freeze"] {
        lab.ok(&["template", verb, "fork"])?;
    }
    let shown = json(lab, &["template", "show", "fork"])?;
    let image = shown["image"].as_str().context("an image")?;
    let hash = shown["memory_images"][0]
        .as_str()
        .context("a memory image")?;
    let dir = lab.home().join("images").join(image);
    let memory = fs::read_dir(&dir)?
        .flatten()
        .map(|entry| entry.path().join("image.json"))
        .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(hash)))
        .context("its manifest")?;
    let manifest: Value = serde_json::from_str(&fs::read_to_string(memory)?)?;
    let us = manifest["saved_after_us"].as_f64().context("a time")?;
    Ok(us / 1000.0)
}

fn json(lab: &Lab, args: &[&str]) -> Result<Value> {
    let mut all = args.to_vec();
    all.extend(["-q", "-o", "json"]);
    Ok(serde_json::from_str(&lab.ok(&all)?)?)
}

/// The times of one guest's phases, in milliseconds.
struct Phases {
    resume: f64,
    identify: f64,
    link: f64,
    connect: f64,
    whole: f64,
}

/// Forks and boots of the same version in turn: one boot to every fifth fork, since it takes so much
/// longer.
fn forks_and_boots(lab: &Lab, rounds: usize) -> Result<(Vec<Phases>, Vec<f64>)> {
    let (mut forks, mut boots) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        eprintln!("one fork: round {round} of {rounds}");
        let begun = Instant::now();
        let made = json(lab, &["clone", "--instant=only", "fork", "one"])?;
        let whole = milliseconds(begun);
        let phase = |name: &str| made[0]["phases_ms"][name].as_f64().context("a phase");
        let found = Phases {
            resume: phase("resume")?,
            identify: phase("identify")?,
            link: phase("link")?,
            connect: phase("connect")?,
            whole,
        };
        lab.ok(&["rm", "-q", "--force", "one"])?;
        // The first one fills caches.
        if round > 0 {
            forks.push(found);
        }
        if round % 5 == 2 {
            let made = json(lab, &["clone", "--linked", "fork", "boots"])?;
            boots.push(made[0]["phases_ms"]["ssh"].as_f64().context("ssh")?);
            lab.ok(&["rm", "-q", "--force", "boots"])?;
        }
    }
    Ok((forks, boots))
}

fn of_forks(forks: &[Phases], boots: &[f64]) -> Vec<Figure> {
    let all = |of: fn(&Phases) -> f64| forks.iter().map(of).collect::<Vec<f64>>();
    let proven = all(|p| p.resume + p.identify + p.link);
    let addressed = all(|p| p.resume + p.identify + p.link + p.connect);
    let figure = |work: &str, values: Vec<f64>, wanted| Figure::new(work, "ms", values, wanted);
    let to_proof = Figure::ratio(
        "booting, until ssh answers, beside: spawn → proven unique, link up",
        boots,
        &proven,
        Some(Wanted::AtLeast(100.0)),
    );
    let to_address = Figure::ratio(
        "booting, until ssh answers, beside: spawn → proven unique, link up, with an address",
        boots,
        &addressed,
        None,
    );
    vec![
        figure(
            "spawn → running, one clone",
            all(|p| p.resume),
            Some(Wanted::AtMost(60.0)),
        ),
        figure("running → proven unique", all(|p| p.identify), None),
        figure(
            "spawn → proven unique, link up",
            proven,
            Some(Wanted::AtMost(500.0)),
        ),
        figure(
            "spawn → proven unique, link up, with an address",
            addressed,
            None,
        ),
        figure(
            "the whole command, until ssh answers",
            all(|p| p.whole),
            None,
        ),
        figure(
            "booting the same version until ssh answers",
            boots.to_vec(),
            None,
        ),
        to_proof,
        to_address,
    ]
}

/// Ten clones with one command, all unlike each other.
fn ten(lab: &Lab) -> Result<Figure> {
    let mut times = Vec::new();
    for round in 0..=3 {
        eprintln!("ten forks: round {round} of 3");
        let begun = Instant::now();
        let args = [
            "clone",
            "--instant=only",
            "fork",
            "ten-{n}",
            "--count",
            "10",
            "--no-wait",
        ];
        json(lab, &args)?;
        let took = milliseconds(begun);
        // Its exit code says whether any two share anything.
        lab.ok(&["passport", "--all"])?;
        let names: Vec<String> = (1..=10).map(|n| format!("ten-{n}")).collect();
        remove(lab, &names)?;
        if round > 0 {
            times.push(took);
        }
    }
    let work = "ten clones in one command (`--no-wait`), all unlike";
    Ok(Figure::new(work, "ms", times, Some(Wanted::AtMost(4000.0))))
}

fn remove(lab: &Lab, names: &[String]) -> Result<()> {
    let mut args = vec!["rm", "-q", "--force"];
    args.extend(names.iter().map(String::as_str));
    lab.ok(&args).map(drop)
}

/// Members of a pool, taken one by one while nothing else is made.
fn takes(lab: &Lab, depth: &str, rounds: usize) -> Result<Figure> {
    let batch = rounds.min(4);
    let mut times = Vec::new();
    while times.len() < rounds {
        let name = format!("{depth}-pool");
        let warm = batch.to_string();
        let create = [
            "pool", "create", &name, "--from", "fork", "--warm", &warm, "--depth", depth,
        ];
        lab.ok(&create)?;
        let (ready, rest) = take_all(lab, &name, batch)?;
        times.extend(ready);
        remove(lab, &rest)?;
        lab.ok(&["pool", "rm", "-q", &name])?;
    }
    times.truncate(rounds);
    let work = format!("from a pool of depth {depth} → proven unique");
    let wanted = (depth == "warm").then_some(Wanted::AtMost(100.0));
    Ok(Figure::new(&work, "ms", times, wanted))
}

/// Takes so many members, each when the pool is full and nothing is made; their times and names.
fn take_all(lab: &Lab, pool: &str, count: usize) -> Result<(Vec<f64>, Vec<String>)> {
    let (mut times, mut names) = (Vec::new(), Vec::new());
    for _ in 0..count {
        wait_for("a filled pool", 300, || is_full(lab, pool, count))?;
        let taken = json(lab, &["pool", "take", pool])?;
        ensure!(taken[0]["state"] == "ready", "{taken}");
        times.push(taken[0]["took_ms"].as_f64().context("a time")?);
        names.push(taken[0]["name"].as_str().context("a name")?.to_owned());
    }
    Ok((times, names))
}

fn is_full(lab: &Lab, pool: &str, count: usize) -> bool {
    json(lab, &["pool", "show", pool])
        .is_ok_and(|pool| pool["ready"].as_array().map(Vec::len) == Some(count))
}
