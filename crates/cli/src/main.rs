//! The `stampo` program.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: this program is also its own sandboxed reader of untrusted images.
    stampo_server::run_child_if_asked();
    stampo_server::keep_descriptors_from_children();
    let cli = stampo_cli::args::Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("STAMPO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match stampo_cli::run(cli) {
        Ok(code) => code,
        Err(problem) => stampo_cli::report(&problem),
    }
}
