//! Commands that matter in a power loss and are not among the cases that are killed.

use crate::cases::{self, Case};
use crate::home::*;
use stampo_core::goal::CloneKind;
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use stampo_engine::{Engine, EngineError, Watch};
use stampo_store::EventRow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every case.
pub fn all() -> Vec<Case> {
    let mut all = cases::all();
    all.push(Case {
        name: "clone_cancelled",
        prepare: Home::published,
        act: cancel_a_clone,
        done: |e| guests(e).is_empty(),
    });
    all.push(Case {
        name: "clone_full_larger",
        prepare: Home::published,
        act: |e| clone(e, "app", &larger()).map(drop),
        done: |e| guests(e) == ["app"],
    });
    all
}

pub fn by_name(name: &str) -> Case {
    let found = all().into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

/// A full clone that nothing is written into: only its size is another.
fn larger() -> CloneSpec {
    CloneSpec {
        kind: Some(CloneKind::Full),
        no_personalisation: true,
        disk_size: Some(ByteSize(24 << 20)),
        ..CloneSpec::default()
    }
}

/// Wants to stop when the first guest is complete.
#[derive(Default)]
struct Stopper(AtomicBool);

impl Watch for Stopper {
    fn event(&self, event: &EventRow) {
        self.0.fetch_or(event.phase == "start", Ordering::SeqCst);
    }
    fn progress(&self, _: &str, _: u64, _: u64) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn cancel_a_clone(engine: &Engine) -> Result<(), EngineError> {
    let spec = CloneSpec {
        count: Some(2),
        ..spec()
    };
    match clone_watched(engine, "app-{n}", &spec, &Stopper::default()) {
        Err(EngineError::Cancelled) => Ok(()),
        Ok(_) => panic!("it was cancelled"),
        Err(error) => Err(error),
    }
}

fn guests(engine: &Engine) -> Vec<String> {
    let rows = engine.store().read(|tx| tx.guests()).expect("rows");
    rows.iter().map(|row| row.name.to_string()).collect()
}
