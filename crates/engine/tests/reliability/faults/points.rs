//! Which of a command's calls meet a fault: all in the long mode, otherwise a seeded sample.

use crate::seed::{is_long, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many points of one case are in the short mode's sample.
const SAMPLE: usize = 16;

/// The case whose thousands of calls are nearly all those of programs that it starts, and which
/// waits for the network's timeouts: a sample in the long mode, too.
const SLOW: &str = "failing_build";
const SLOW_SAMPLE: usize = 2;
const SLOW_SAMPLE_LONG: usize = 48;

/// The points of one case.
pub struct Points {
    count: usize,
    sample: usize,
    random: StdRng,
}

impl Points {
    /// The points 1 to `count` of a case, for one kind of test.
    pub fn of(case: &str, kind: &str, count: usize) -> Points {
        assert!(count > 0, "{case} makes no call");
        let name = blake3::hash(format!("{kind} {case}").as_bytes());
        let own = u64::from_le_bytes(name.as_bytes()[..8].try_into().expect("eight bytes"));
        let sample = match (case == SLOW, is_long()) {
            (false, true) => count,
            (false, false) => SAMPLE,
            (true, true) => SLOW_SAMPLE_LONG,
            (true, false) => SLOW_SAMPLE,
        };
        Points {
            count,
            sample,
            random: StdRng::seed_from_u64(seed() ^ own),
        }
    }

    /// For other choices that the seed decides.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// All of them, or one of each of so many equal stretches.
    pub fn chosen(&mut self) -> Vec<usize> {
        if self.count <= self.sample {
            return (1..=self.count).collect();
        }
        let edge = |stretch: usize| 1 + stretch * self.count / self.sample;
        let stretches: Vec<_> = (0..self.sample).map(|n| edge(n)..edge(n + 1)).collect();
        stretches
            .into_iter()
            .map(|stretch| self.random.random_range(stretch))
            .collect()
    }
}

/// Runs a check that panics; its words as an error.
pub fn caught(check: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Prints what was tried and every failure, and fails with the first of them.
pub fn report(case: &str, what: &str, tried: usize, of: usize, failures: &[String]) {
    eprintln!(
        "{case}: {what} {tried} times at {of} calls, seed {}",
        seed()
    );
    for failure in failures {
        eprintln!("{failure}");
    }
    if let Some(first) = failures.first() {
        panic!(
            "STAMPO_SEED={}: {} failures, the first: {first}",
            seed(),
            failures.len()
        );
    }
}
