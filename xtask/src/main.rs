//! Developer tasks, run as `cargo xtask …` from anywhere in the project.
//!
//! Apart from the program because nothing of it is shipped. It does *not* hold tests: those run
//! under `cargo test`.

mod bench;

use clap::{Parser, Subcommand};

/// Developer tasks of stampo.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure stampo beside other programs, and write docs/bench.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench(bench) => bench::run(&bench),
    }
}
