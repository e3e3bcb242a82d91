//! Which of a command's calls meet a fault: all in the long mode, otherwise a seeded sample.
//!
//! `STAMPO_SLICE=2/5` takes the second of five slices instead, whole: five runs, which may be at
//! different times or on different machines, meet every call of every case once.

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
    slice: Option<Slice>,
    random: StdRng,
}

/// Every call whose number is `which` when counted in rounds of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    which: usize,
    of: usize,
}

impl Slice {
    /// What `STAMPO_SLICE` asks for.
    fn asked() -> Option<Slice> {
        let text = std::env::var("STAMPO_SLICE").ok()?;
        Some(Slice::read(&text).expect("STAMPO_SLICE is like 2/5"))
    }

    fn read(text: &str) -> Option<Slice> {
        let (which, of) = text.split_once('/')?;
        let (which, of) = (which.parse().ok()?, of.parse().ok()?);
        (1..=of).contains(&which).then_some(Slice { which, of })
    }

    fn points(self, count: usize) -> Vec<usize> {
        (self.which..=count).step_by(self.of).collect()
    }
}

/// All slices together are every point, none of them twice.
pub fn slices_meet_every_call_once() {
    for (count, of) in [(1, 3), (7, 3), (48, 5), (1000, 1)] {
        let slices = (1..=of).map(|which| format!("{which}/{of}"));
        let slices = slices.map(|text| Slice::read(&text).expect("a slice").points(count));
        let mut all: Vec<usize> = slices.flatten().collect();
        all.sort_unstable();
        assert_eq!(all, (1..=count).collect::<Vec<_>>());
    }
    for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "a/b"] {
        assert_eq!(Slice::read(text), None, "{text}");
    }
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
            slice: Slice::asked(),
            random: StdRng::seed_from_u64(seed() ^ own),
        }
    }

    /// For other choices that the seed decides.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// Whether each of the chosen ones meets every kind of trouble.
    pub fn is_thorough(&self) -> bool {
        self.slice.is_some() || is_long()
    }

    /// Whether more than the chosen ones may be tried: not where each takes long, nor in a slice.
    pub fn has_room(&self) -> bool {
        self.slice.is_none() && !is_long() && self.sample == SAMPLE && self.count > SAMPLE
    }

    /// All of them, a slice, or one of each of so many equal stretches.
    pub fn chosen(&mut self) -> Vec<usize> {
        if let Some(slice) = self.slice {
            return slice.points(self.count);
        }
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
