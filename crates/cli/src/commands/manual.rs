//! `completions` and `man`: made from the same definitions that parse the command line.

use crate::args::{Cli, CompletionsArgs, ManArgs};
use clap::CommandFactory;
use stampo_api::{Kind, Problem};
use std::process::ExitCode;

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, Problem> {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "stampo",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for stampo and for each of its verbs.
pub fn pages(args: &ManArgs) -> Result<ExitCode, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(
            Kind::Failed,
            format!("write man pages into {}: {error}", args.directory.display()),
        )
    };
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
