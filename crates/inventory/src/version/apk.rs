//! Alpine's order: apk-package(5), "Version specification".
//!
//! `digits{.digits}[letter]{_suffix[digits]}[~hash][-rdigits]`. A text of another form keeps the parts
//! that have it, and the rest comes after them as it is.

use super::{compare_digits, split_run};
use std::cmp::Ordering;

/// Suffixes that come before the version without one, in order.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
/// Suffixes that come after it, in order.
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

#[derive(Debug, PartialEq, Eq)]
struct Parts<'v> {
    numbers: Vec<&'v [u8]>,
    letter: Option<u8>,
    /// Place in the order, 0 for none, and number.
    suffixes: Vec<(i32, &'v [u8])>,
    revision: &'v [u8],
    rest: &'v [u8],
}

/// Which of two versions comes first.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a.trim().as_bytes()), parts(b.trim().as_bytes()));
    compare_numbers(&a.numbers, &b.numbers)
        .then_with(|| a.letter.cmp(&b.letter))
        .then_with(|| compare_suffixes(&a.suffixes, &b.suffixes))
        .then_with(|| compare_digits(a.revision, b.revision))
        .then_with(|| a.rest.cmp(b.rest))
}

fn parts(text: &[u8]) -> Parts<'_> {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let (first, mut rest) = split_run(text, is_digit);
    let mut numbers = vec![first];
    while let Some(after) = rest.strip_prefix(b".") {
        let (digits, next) = split_run(after, is_digit);
        if digits.is_empty() {
            break;
        }
        numbers.push(digits);
        rest = next;
    }
    let letter = rest.first().copied().filter(u8::is_ascii_lowercase);
    if letter.is_some() {
        rest = &rest[1..];
    }
    let mut suffixes = Vec::new();
    while let Some((place, after)) = suffix(rest) {
        let (digits, next) = split_run(after, is_digit);
        suffixes.push((place, digits));
        rest = next;
    }
    if let Some(after) = rest.strip_prefix(b"~") {
        // The hash of a commit has no order.
        rest = split_run(after, |byte| byte.is_ascii_hexdigit()).1;
    }
    let mut revision: &[u8] = b"";
    if let Some(after) = rest.strip_prefix(b"-r") {
        (revision, rest) = split_run(after, is_digit);
    }
    Parts {
        numbers,
        letter,
        suffixes,
        revision,
        rest,
    }
}

/// `_word` at the beginning: its place in the order, and what follows.
fn suffix(text: &[u8]) -> Option<(i32, &[u8])> {
    let (word, rest) = split_run(text.strip_prefix(b"_")?, |byte| byte.is_ascii_lowercase());
    let place = |list: &[&str]| list.iter().position(|known| known.as_bytes() == word);
    let before = place(&BEFORE).map(|at| at as i32 - BEFORE.len() as i32);
    let place = before.or_else(|| place(&AFTER).map(|at| at as i32 + 1))?;
    Some((place, rest))
}

/// The first number by its value; those after it as fractions when they begin with a zero.
fn compare_numbers(a: &[&[u8]], b: &[&[u8]]) -> Ordering {
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        let is_fraction = at > 0 && (a.first() == Some(&b'0') || b.first() == Some(&b'0'));
        let order = match is_fraction {
            true => a.cmp(b),
            false => compare_digits(a, b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn compare_suffixes(a: &[(i32, &[u8])], b: &[(i32, &[u8])]) -> Ordering {
    let none: (i32, &[u8]) = (0, b"");
    for at in 0..a.len().max(b.len()) {
        let (a, b) = (a.get(at).unwrap_or(&none), b.get(at).unwrap_or(&none));
        let order = a.0.cmp(&b.0).then_with(|| compare_digits(a.1, b.1));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}
