//! Hardware addresses in the files of ifupdown, NetworkManager and systemd-networkd. netplan has
//! a file of its own, because its YAML needs more care.

use super::lines::{Line, edit, is_mac, key_value, section};
use crate::seal::guest::Guest;
use crate::seal::items::Rewritten;

/// interfaces(5): `hwaddress [ether] ADDRESS` sets an interface's address.
pub(in crate::seal) fn interfaces(content: &[u8], _: &Guest) -> Rewritten {
    edit(content, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hwaddress", .., address] if is_mac(address) => Line::Drop,
            _ => Line::Same,
        }
    })
}

/// nm-settings-keyfile(5): `mac-address` binds a connection to one interface, `cloned-mac-address`
/// sets an address unless it is a word like `random`; `timestamp` and `seen-bssids` are state.
pub(in crate::seal) fn keyfile(content: &[u8], _: &Guest) -> Rewritten {
    edit(content, |line| match key_value(line) {
        Some(("mac-address" | "timestamp" | "seen-bssids", _)) => Line::Drop,
        Some(("cloned-mac-address", value)) if is_mac(&value.replace('\\', "")) => Line::Drop,
        _ => Line::Same,
    })
}

/// systemd.network(5), systemd.netdev(5): a `[Match]` that is left without a condition would match
/// loopback and tunnels too, so the address gives way to `Type=ether`.
pub(in crate::seal) fn networkd(content: &[u8], _: &Guest) -> Rewritten {
    let others = other_conditions(content);
    let mut in_match = false;
    let mut replaced = others;
    edit(content, |line| {
        if let Some(name) = section(line) {
            in_match = name == "Match";
        }
        match key_value(line) {
            Some(("MACAddress" | "PermanentMACAddress", _)) if in_match && !replaced => {
                replaced = true;
                Line::Change("Type=ether".to_owned())
            }
            Some(("MACAddress" | "PermanentMACAddress", _)) => Line::Drop,
            _ => Line::Same,
        }
    })
}

/// systemd.link(5): a file that matches one address names an interface that no clone has.
pub(in crate::seal) fn link_file(content: &[u8], _: &Guest) -> Rewritten {
    let text = String::from_utf8_lossy(content);
    let mut in_match = false;
    let pinned = text.lines().any(|line| {
        if let Some(name) = section(line) {
            in_match = name == "Match";
        }
        in_match
            && matches!(
                key_value(line),
                Some(("MACAddress" | "PermanentMACAddress", _))
            )
    });
    if pinned {
        Rewritten::Gone
    } else {
        Rewritten::Same
    }
}

/// Whether `[Match]` has a condition besides addresses.
fn other_conditions(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let mut in_match = false;
    text.lines().any(|line| {
        if let Some(name) = section(line) {
            in_match = name == "Match";
            return false;
        }
        in_match
            && matches!(key_value(line), Some((key, _)) if !matches!(key, "MACAddress" | "PermanentMACAddress"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rewrite: fn(&[u8], &Guest) -> Rewritten, before: &str, after: &str) {
        let guest = Guest::default();
        assert_eq!(
            rewrite(before.as_bytes(), &guest),
            Rewritten::Content(after.into())
        );
        assert_eq!(rewrite(after.as_bytes(), &guest), Rewritten::Same);
    }

    #[test]
    fn ifupdown() {
        let before =
            "auto eth0\niface eth0 inet dhcp\n\thwaddress ether 52:54:00:aa:bb:cc\n\tmtu 1400\n";
        check(
            interfaces,
            before,
            "auto eth0\niface eth0 inet dhcp\n\tmtu 1400\n",
        );
    }

    #[test]
    fn network_manager() {
        let before = "[connection]\nid=a\nuuid=1\ntimestamp=5\n[ethernet]\nmac-address=52:54:00:AA:BB:CC\ncloned-mac-address=random\n";
        check(
            keyfile,
            before,
            "[connection]\nid=a\nuuid=1\n[ethernet]\ncloned-mac-address=random\n",
        );
    }

    #[test]
    fn systemd_networkd() {
        let before = "[Match]\nMACAddress=52:54:00:aa:bb:cc\n\n[Network]\nDHCP=yes\n";
        check(
            networkd,
            before,
            "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
        );
        let before = "[Match]\nName=ens*\nPermanentMACAddress=52:54:00:aa:bb:cc\n[Link]\nMACAddress=52:54:00:aa:bb:cc\n";
        check(networkd, before, "[Match]\nName=ens*\n[Link]\n");
    }

    #[test]
    fn link_files_go_only_when_they_match_an_address() {
        let pinned = b"[Match]\nMACAddress=52:54:00:aa:bb:cc\n[Link]\nName=lan0\n";
        assert_eq!(link_file(pinned, &Guest::default()), Rewritten::Gone);
        let policy = b"[Match]\nOriginalName=*\n[Link]\nMACAddressPolicy=none\n";
        assert_eq!(link_file(policy, &Guest::default()), Rewritten::Same);
    }
}
