//! Printing a problem: what, why, and the next command.

use crate::output::say;
use stampo_api::Problem;
use std::process::ExitCode;

/// Prints the problem to standard error; its exit code.
pub fn report(problem: &Problem) -> ExitCode {
    say(&format!("stampo: failed to {}", problem.message));
    for cause in &problem.causes {
        say(&format!("  because: {cause}"));
    }
    for hint in &problem.hints {
        say(&format!("  try: {hint}"));
    }
    ExitCode::from(problem.kind.exit_code())
}
