//! What guests at rest take of the host's memory: forks that share it, and booted ones that do not.

use super::super::lab::Lab;
use super::report::{Figure, Wanted};
use super::{json, remove};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::Duration;

/// How long guests are left alone before they are looked at.
const REST: Duration = Duration::from_secs(30);

/// How many booted guests are looked at. As many as there are forks would not fit into the host, which
/// is what this is about; each is a machine of its own, so a few tell.
const BOOTED: usize = 4;

/// The figures of so many forks, and of a few booted guests.
pub fn at_rest(lab: &Lab, count: usize) -> Result<Vec<Figure>> {
    eprintln!("{count} forks at rest");
    let number = count.to_string();
    let forks = [
        "clone",
        "--instant=only",
        "--overcommit-memory",
        "fork",
        "rest-{n}",
        "--count",
    ];
    let mut args = forks.to_vec();
    args.extend([number.as_str(), "--no-wait"]);
    let made = json(lab, &args)?;
    std::thread::sleep(REST);
    let private = private_mib(&made)?;
    ensure!(private.len() == count, "{} of {count} run", private.len());
    // Its exit code says whether any two share anything.
    lab.ok(&["passport", "--all"])?;
    let names: Vec<String> = (1..=count).map(|n| format!("rest-{n}")).collect();
    remove(lab, &names)?;

    eprintln!("{BOOTED} booted guests at rest");
    let number = BOOTED.to_string();
    let args = ["clone", "--linked", "fork", "boot-{n}", "--count", &number];
    let booted = json(lab, &args)?;
    std::thread::sleep(REST);
    let whole = private_mib(&booted)?;
    let names: Vec<String> = (1..=BOOTED).map(|n| format!("boot-{n}")).collect();
    remove(lab, &names)?;
    let ratio = Figure::ratio(
        "private memory, booted beside forked",
        &whole,
        &private,
        Some(Wanted::AtLeast(5.0)),
    );
    let forked = format!("private memory of a fork, {count} of them, after 30 s");
    let of_booted = format!("private memory of a booted guest, {BOOTED} of them, after 30 s");
    Ok(vec![
        Figure::new(&forked, "MiB", private, Some(Wanted::AtMost(60.0))),
        Figure::new(&of_booted, "MiB", whole, None),
        ratio,
    ])
}

/// The anonymous memory of each guest's process, in MiB: what it shares with no file.
fn private_mib(made: &serde_json::Value) -> Result<Vec<f64>> {
    let guests = made.as_array().context("guests")?;
    let of_guest = |guest: &serde_json::Value| {
        let pid = guest["pid"].as_u64().context("a process")?;
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"));
        let kib: f64 = line
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .context("Anonymous (proc_pid_smaps(5))")?
            .trim()
            .parse()?;
        Ok(kib / 1024.0)
    };
    guests.iter().map(of_guest).collect()
}
