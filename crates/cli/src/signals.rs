//! Interruption: the first signal asks the running operation to stop, which then undoes itself if
//! it has made anything; the second ends the process at once (the next command then tidies up).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Starts catching SIGINT, SIGTERM and SIGHUP.
pub fn install() {
    INSTALLED.get_or_init(|| {
        let handler = || {
            if COUNT.fetch_add(1, Ordering::Relaxed) > 0 {
                std::process::exit(130);
            }
            crate::output::say("\nstopping; once more to leave at once");
        };
        ctrlc::set_handler(handler).is_ok()
    });
}

/// Whether a signal came.
pub fn interrupted() -> bool {
    COUNT.load(Ordering::Relaxed) > 0
}
