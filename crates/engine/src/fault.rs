//! Named points between steps, where a test can end the process.
//!
//! Production code names the point after each persisted step; only a test gives it something to
//! do. A point must never change what the engine does by itself.

use std::fmt;
use std::sync::Arc;

/// Called with the name of a point.
type Act = dyn Fn(&str) + Send + Sync;

/// What to do at named points. By default nothing.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Act>>);

impl Faults {
    /// Calls `act` with the name of every point that is reached.
    pub fn new(act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Faults(Some(Arc::new(act)))
    }

    /// A step was persisted.
    pub(crate) fn reach(&self, point: &str) {
        if let Some(act) = &self.0 {
            act(point);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Faults(set)"
        } else {
            "Faults(none)"
        })
    }
}
