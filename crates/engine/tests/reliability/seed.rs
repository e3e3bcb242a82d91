//! The seed of a run's choices.

use std::sync::OnceLock;

/// `STAMPO_SEED`. Without it, always the same, so that a run that fails shows what has changed and
/// not what was drawn; in the long mode a new one each time, so that more is seen than that.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("STAMPO_SEED") {
        Ok(given) => given.parse().expect("STAMPO_SEED is a number"),
        Err(_) if is_long() => rand::random_range(0..1_000_000),
        Err(_) => 1,
    })
}

/// Whether everything is tried that would take a night.
pub fn is_long() -> bool {
    std::env::var_os("STAMPO_LONG").is_some_and(|value| value == "1")
}
