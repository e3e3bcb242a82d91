//! The order of versions, as each package manager has it.
//!
//! Every text has a place in the order: a hostile version is compared like any other, and nothing is
//! refused. The three managers differ in almost everything, so each has a file of its own. Written
//! here and not taken from a crate: there is none for all three, those that exist refuse texts that
//! a hostile database may hold, and what each means is a page that can be compared with the
//! manager's own program.

mod apk;
mod dpkg;
mod rpm;

use stampo_guest::inspect::packages::PackageManager;
use std::cmp::Ordering;

pub use apk::compare as compare_apk;
pub use dpkg::compare as compare_dpkg;
pub use rpm::compare as compare_rpm;

/// Which of two versions comes first.
pub fn compare(manager: PackageManager, a: &str, b: &str) -> Ordering {
    match manager {
        PackageManager::Dpkg => dpkg::compare(a, b),
        PackageManager::Rpm => rpm::compare(a, b),
        PackageManager::Apk => apk::compare(a, b),
    }
}

/// Compares two runs of digits as numbers, however long they are.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    fn significant(digits: &[u8]) -> &[u8] {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        &digits[zeros..]
    }
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The longest beginning whose bytes all are what `is` says, and the rest.
fn split_run(text: &[u8], is: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is(*byte));
    text.split_at(end.unwrap_or(text.len()))
}
