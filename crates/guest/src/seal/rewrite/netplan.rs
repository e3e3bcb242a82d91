//! netplan's YAML, as far as it can be changed by lines: block style, one key a line.
//!
//! `macaddress` directly under an interface sets its address and goes. Under `match:` it says
//! which interface is meant. When the file has exactly one such match, "any Ethernet" means the
//! same thing in a clone; with several nobody can say which is which, so nothing is changed and a
//! notice tells. Flow style (`match: {macaddress: …}`) counts as several. Source: netplan-yaml(5).

use super::lines::{Line, edit, key_value};
use crate::seal::guest::Guest;
use crate::seal::items::Rewritten;

/// Replaces the only match by address, and drops addresses that are set.
pub(in crate::seal) fn unpin(content: &[u8], _: &Guest) -> Rewritten {
    if unclear(content) {
        return Rewritten::Same;
    }
    let pinned = pinned_matches(content) == 1;
    let others = conditions_beside_the_address(content);
    let mut place = Place::default();
    edit(content, |line| {
        let in_match = place.enter(line);
        match key_value(line) {
            Some(("macaddress", _)) if in_match && others => Line::Drop,
            Some(("macaddress", _)) if in_match => {
                Line::Change(format!("{}name: \"e*\"", &line[..indent(line)]))
            }
            Some(("macaddress", _)) => Line::Drop,
            Some(("set-name", _)) if pinned => Line::Drop,
            _ => Line::Same,
        }
    })
}

/// Says so when a file's matches by address cannot be rewritten.
pub(in crate::seal) fn several(content: &[u8], _: &Guest) -> Option<String> {
    unclear(content).then(|| "interfaces are told apart by hardware address".to_owned())
}

/// Several matches by address, or one in a style that is not read here.
fn unclear(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let flow = text
        .lines()
        .any(|line| line.contains('{') && line.contains("macaddress"));
    flow || pinned_matches(content) > 1
}

fn pinned_matches(content: &[u8]) -> usize {
    let text = String::from_utf8_lossy(content);
    let mut place = Place::default();
    text.lines()
        .filter(|line| place.enter(line) && matches!(key_value(line), Some(("macaddress", _))))
        .count()
}

/// Whether a `match:` has a condition besides the address.
fn conditions_beside_the_address(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let mut place = Place::default();
    text.lines()
        .any(|line| place.enter(line) && matches!(key_value(line), Some(("name" | "driver", _))))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether we are inside of a `match:` block.
#[derive(Default)]
struct Place {
    /// The indentation of the `match:` that was entered last.
    of_match: Option<usize>,
}

impl Place {
    /// Takes the next line; says whether it is inside of a `match:`.
    fn enter(&mut self, line: &str) -> bool {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            return false;
        }
        if self.of_match.is_some_and(|outer| indent(line) <= outer) {
            self.of_match = None;
        }
        let inside = self.of_match.is_some();
        if matches!(key_value(line), Some(("match", value)) if value.is_empty()) {
            self.of_match = Some(indent(line));
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "network:\n  version: 2\n  ethernets:\n    eth0:\n      match:\n        macaddress: \"52:54:00:aa:bb:cc\"\n      dhcp4: true\n      set-name: eth0\n";

    #[test]
    fn the_only_interface_is_matched_as_any_ethernet() {
        let Rewritten::Content(after) = unpin(ONE.as_bytes(), &Guest::default()) else {
            panic!("it must be rewritten");
        };
        let expected = "network:\n  version: 2\n  ethernets:\n    eth0:\n      match:\n        name: \"e*\"\n      dhcp4: true\n";
        assert_eq!(String::from_utf8(after.clone()).expect("text"), expected);
        assert_eq!(unpin(&after, &Guest::default()), Rewritten::Same);
        assert_eq!(several(ONE.as_bytes(), &Guest::default()), None);
    }

    #[test]
    fn an_address_that_is_set_goes() {
        let before = "network:\n  ethernets:\n    eth0:\n      macaddress: 52:54:00:aa:bb:cc\n      dhcp4: true\n";
        let after = "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n";
        assert_eq!(
            unpin(before.as_bytes(), &Guest::default()),
            Rewritten::Content(after.into())
        );
    }

    #[test]
    fn several_or_unreadable_matches_are_told_and_left() {
        let two = format!("{ONE}    eth1:\n      match:\n        macaddress: 52:54:00:aa:bb:dd\n");
        let flow = "network: {ethernets: {a: {match: {macaddress: 52:54:00:aa:bb:cc}}}}\n";
        for content in [two.as_str(), flow] {
            assert_eq!(
                unpin(content.as_bytes(), &Guest::default()),
                Rewritten::Same
            );
            assert!(several(content.as_bytes(), &Guest::default()).is_some());
        }
    }
}
