//! Printing a problem: what, why, and the next command.

use stampo_api::Problem;
use std::process::ExitCode;

/// Prints the problem to standard error; its exit code.
pub fn report(problem: &Problem) -> ExitCode {
    eprintln!("stampo: failed to {}", problem.message);
    for cause in &problem.causes {
        eprintln!("  because: {cause}");
    }
    for hint in &problem.hints {
        eprintln!("  try: {hint}");
    }
    ExitCode::from(problem.kind.exit_code())
}
