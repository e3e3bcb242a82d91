//! How long the engine's own part takes: hundred clones on the simulated driver, and a start with
//! nothing to recover. The limits are far above what was measured (see the guide's figures): they
//! catch a mistake of an order of magnitude, not a slow machine.

use crate::home::*;
use stampo_core::plan::CloneSpec;
use stampo_engine::{Faults, Settings};
use std::time::{Duration, Instant};

/// Personalised and plain.
pub fn a_hundred_clones() {
    for (kind, no_personalisation, limit) in [("plain", true, 30), ("personalised", false, 60)] {
        let home = Home::published();
        let engine = open_with(&home.path(), Faults::default(), Settings::default());
        let spec = CloneSpec {
            count: Some(100),
            no_personalisation,
            ..spec()
        };
        let start = Instant::now();
        let made = clone(&engine, "app-{n}", &spec).expect("cloned");
        let took = start.elapsed();
        eprintln!("100 {kind} clones: {} ms", took.as_millis());
        assert_eq!(made.len(), 100);
        assert!(took < Duration::from_secs(limit), "{kind}: {took:?}");
        let start = Instant::now();
        for _ in 0..20 {
            engine.recover().expect("nothing to recover");
        }
        let each = start.elapsed() / 20;
        eprintln!("nothing to recover, 100 guests: {} us", each.as_micros());
        assert!(each < Duration::from_millis(100), "{each:?}");
    }
}
