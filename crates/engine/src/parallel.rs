//! The same work on many things, by a few threads.

use crate::engine::Engine;
use crate::error::EngineError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

impl Engine {
    /// Runs `act` on each of `items`, whatever becomes of the others; a defect in it is an error
    /// like any other. The errors, in the order in which they came.
    pub(crate) fn on_each<T: Sync>(
        &self,
        items: &[T],
        act: impl Fn(&T) -> Result<(), EngineError> + Sync,
    ) -> Vec<EngineError> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        let work = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.caught(|| act(item)) {
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(error);
                }
            }
        };
        std::thread::scope(|scope| {
            // This thread works, too.
            for _ in 1..self.settings.parallel.min(items.len()) {
                scope.spawn(work);
            }
            work();
        });
        failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
