//! Running programs: to their end, timed, and from a shell.

use anyhow::{Context, Result, bail, ensure};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs a program that must succeed; what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes back what ran before left in memory: a program that waits for its own bytes would wait for
/// those of another, too (ext4 commits all changes together).
pub fn write_back() {
    rustix::fs::sync();
}

/// Runs a program that must succeed; the milliseconds from before it is started until it is
/// collected. Nothing of another is to be written when it starts. Both its outputs are pipes that nothing is written to a terminal from.
pub fn timed(command: &mut Command) -> Result<f64> {
    write_back();
    let start = Instant::now();
    output(command)?;
    Ok(milliseconds(start))
}

/// Milliseconds since `start`.
pub fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// A command from words.
pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// A command line for bash, which stops at the first error.
pub fn bash(script: &str) -> Command {
    command(&["bash", "-euc", script])
}

/// Asks `ready` until it says yes.
pub fn wait_for(what: &str, limit_s: u64, ready: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !ready() {
        ensure!(
            start.elapsed().as_secs() < limit_s,
            "{what} did not come within {limit_s} s"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
