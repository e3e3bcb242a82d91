//! RPM's order: rpm-version(7).

use super::{compare_digits, split_run};
use std::cmp::Ordering;

/// `[epoch:]version[-release]`. A version without a release comes before those with one.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a) = epoch(a.trim());
    let (b_epoch, b) = epoch(b.trim());
    let (a_version, a_release) = release(a);
    let (b_version, b_release) = release(b);
    compare_digits(a_epoch.as_bytes(), b_epoch.as_bytes())
        .then_with(|| compare_part(a_version, b_version))
        .then_with(|| match (a_release, b_release) {
            (Some(a), Some(b)) => compare_part(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
}

fn epoch(version: &str) -> (&str, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("", version),
    }
}

fn release(version: &str) -> (&str, Option<&str>) {
    match version.rsplit_once('-') {
        Some((version, release)) => (version, Some(release)),
        None => (version, None),
    }
}

/// One part, which is a version or a release: runs of digits and of letters, whatever is between them.
/// A tilde comes before the end, a caret after it but before everything else.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (without_separators(a), without_separators(b));
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), _) => return Ordering::Less,
            (_, Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a_first), Some(b_first)) => {
                let is_number = a_first.is_ascii_digit();
                if is_number != b_first.is_ascii_digit() {
                    // A number is newer than letters.
                    return if is_number {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    };
                }
                let of_kind = |byte: u8| match is_number {
                    true => byte.is_ascii_digit(),
                    false => byte.is_ascii_alphabetic(),
                };
                let ((a_run, a_rest), (b_run, b_rest)) =
                    (split_run(a, of_kind), split_run(b, of_kind));
                let order = match is_number {
                    true => compare_digits(a_run, b_run),
                    false => a_run.cmp(b_run),
                };
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (a_rest, b_rest);
            }
        }
    }
}

fn without_separators(text: &[u8]) -> &[u8] {
    let is_separator = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'~' && byte != b'^';
    split_run(text, is_separator).1
}
