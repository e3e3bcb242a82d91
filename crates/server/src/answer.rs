//! Passing an operation's events from the engine to whoever watches through the API.

use crate::convert;
use stampo_api::Progress;
use stampo_store::EventRow;

/// The engine's watcher over an API watcher.
pub(crate) struct Bridge<'a>(pub &'a dyn stampo_api::Watch);

impl stampo_engine::Watch for Bridge<'_> {
    fn event(&self, event: &EventRow) {
        self.0.event(&convert::event(event));
    }

    fn progress(&self, phase: &str, done: u64, total: u64) {
        self.0.progress(&Progress {
            phase: phase.to_owned(),
            done,
            total,
        });
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
