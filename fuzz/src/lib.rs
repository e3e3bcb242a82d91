//! What the fuzzers share: how a run ends in a finding.
//!
//! libfuzzer-sys ends the process at every panic, also at one that the product catches on purpose
//! (a third-party library's, behind `catch_unwind`). Here only a panic that leaves a target is one.

use stampo_fuzz_targets::Target;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// The last panic, in case that it turns out to be a finding.
static LAST: Mutex<String> = Mutex::new(String::new());

/// The target of this name, ready for its first run.
pub fn begin(name: &str) -> Target {
    let target = stampo_fuzz_targets::find(name).expect("the name of a target");
    stampo_fuzz_targets::prepare(name);
    std::panic::set_hook(Box::new(|info| {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    target
}

/// One run.
pub fn run(target: &Target, data: &[u8]) {
    let data = &data[..data.len().min(target.most_bytes)];
    if catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
        let why = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("finding in {}: {why}", target.name);
        std::process::abort();
    }
}

/// A fuzzer for the target of this name.
#[macro_export]
macro_rules! fuzzer {
    ($name:expr) => {
        static TARGET: std::sync::OnceLock<stampo_fuzz_targets::Target> = std::sync::OnceLock::new();

        libfuzzer_sys::fuzz_target!(
            init: {
                let name: String = $name.into();
                TARGET.get_or_init(|| $crate::begin(&name));
            },
            |data: &[u8]| if let Some(target) = TARGET.get() { $crate::run(target, data) }
        );
    };
}
