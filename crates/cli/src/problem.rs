//! Printing a problem: what, why, and the next command.

use crate::output::{pushed_in, say};
use stampo_api::Problem;
use std::process::ExitCode;

/// Prints the problem to standard error; its exit code.
pub fn report(problem: &Problem) -> ExitCode {
    say(&format!(
        "stampo: failed to {}",
        pushed_in(&problem.message)
    ));
    for cause in &problem.causes {
        say(&format!("  because: {}", pushed_in(cause)));
    }
    for hint in &problem.hints {
        say(&format!("  try: {}", pushed_in(hint)));
    }
    ExitCode::from(problem.kind.exit_code())
}
