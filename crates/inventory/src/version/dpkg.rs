//! Debian's order: deb-version(7), "Sorting algorithm".

use super::{compare_digits, split_run};
use std::cmp::Ordering;

/// `[epoch:]upstream[-revision]`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a) = epoch(a.trim());
    let (b_epoch, b) = epoch(b.trim());
    let (a_upstream, a_revision) = a.rsplit_once('-').unwrap_or((a, ""));
    let (b_upstream, b_revision) = b.rsplit_once('-').unwrap_or((b, ""));
    compare_digits(a_epoch.as_bytes(), b_epoch.as_bytes())
        .then_with(|| part(a_upstream.as_bytes(), b_upstream.as_bytes()))
        .then_with(|| part(a_revision.as_bytes(), b_revision.as_bytes()))
}

/// The epoch, which is 0 when there is none, and the rest.
fn epoch(version: &str) -> (&str, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("", version),
    }
}

/// Runs of anything but digits, and runs of digits, by turns.
fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let not_digit = |byte: u8| !byte.is_ascii_digit();
        let ((a_text, a_rest), (b_text, b_rest)) =
            (split_run(a, not_digit), split_run(b, not_digit));
        let ((a_digits, a_next), (b_digits, b_next)) = (
            split_run(a_rest, |byte| byte.is_ascii_digit()),
            split_run(b_rest, |byte| byte.is_ascii_digit()),
        );
        let order = compare_text(a_text, b_text).then_with(|| compare_digits(a_digits, b_digits));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (a_next, b_next);
    }
    Ordering::Equal
}

/// A tilde before everything, even the end; then the end; then letters; then all else.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let weights = (0..a.len().max(b.len())).map(|at| (weight(a.get(at)), weight(b.get(at))));
    let different = weights.into_iter().find(|(a, b)| a != b);
    different.map_or(Ordering::Equal, |(a, b)| a.cmp(&b))
}
