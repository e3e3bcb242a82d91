//! Showing an operation: a line for each phase that ended, a bar for the one that runs.
//!
//! On a terminal a bar moves at the bottom of standard error; elsewhere only the lines are
//! printed, so that a log stays readable.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stampo_api::{Event, Progress, Watch};
use std::io::IsTerminal;
use std::time::Duration;

/// Watches an operation and shows it.
pub struct Show {
    bar: ProgressBar,
    quiet: bool,
}

impl Show {
    /// A new display; silent when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let visible = !quiet && std::io::stderr().is_terminal();
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(spinner());
        bar.enable_steady_tick(Duration::from_millis(120));
        crate::signals::install();
        Show { bar, quiet }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        self.bar.suspend(|| crate::output::say(text));
    }

    /// Shows what is going on.
    pub fn busy(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a constant template")
}

fn bytes() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {eta}")
        .expect("a constant template")
}

impl Watch for Show {
    fn event(&self, event: &Event) {
        let took = match event.duration_ms {
            Some(ms) if ms >= 1000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
            Some(ms) => format!("{ms} ms"),
            None => String::new(),
        };
        let line = format!(
            "{:<16} {:<10} {took:>8}  {}",
            event.subject, event.phase, event.detail
        );
        self.line(crate::output::one_line(&line).trim_end());
    }

    fn progress(&self, progress: &Progress) {
        self.bar.set_message(progress.phase.clone());
        if progress.total > 0 {
            if self.bar.length() != Some(progress.total) {
                self.bar.set_style(bytes());
                self.bar.set_length(progress.total);
            }
            self.bar.set_position(progress.done);
        } else {
            self.bar.set_style(spinner());
            self.bar.unset_length();
        }
    }

    fn is_cancelled(&self) -> bool {
        crate::signals::interrupted()
    }
}
