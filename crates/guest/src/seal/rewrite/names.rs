//! The template's name and id in files of other programs.

use super::lines::{Line, edit, key_value};
use crate::seal::guest::Guest;
use crate::seal::items::Rewritten;

fn is_own_name(guest: &Guest, name: &str) -> bool {
    guest.names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// hosts(5). A line for 127.0.1.1 has no other use than the host's own name (Debian reference,
/// section 5.1.1) and goes; elsewhere only the template's names go, and lines that have no other.
pub(in crate::seal) fn hosts(content: &[u8], guest: &Guest) -> Rewritten {
    edit(content, |line| {
        let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        let mut words = entry.split_whitespace();
        let Some(address) = words.next() else {
            return Line::Same;
        };
        if address == "127.0.1.1" {
            return Line::Drop;
        }
        let names: Vec<&str> = words.collect();
        let kept: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !is_own_name(guest, name))
            .collect();
        match kept.len() {
            same if same == names.len() => Line::Same,
            0 => Line::Drop,
            _ => Line::Change(format!("{address}\t{}{comment}", kept.join(" "))),
        }
    })
}

/// postconf(5): without `myhostname` postfix takes the host's name at each start; in
/// `mydestination` the name that the package's installation baked in goes.
pub(in crate::seal) fn postfix(content: &[u8], guest: &Guest) -> Rewritten {
    edit(content, |line| match key_value(line) {
        // An indented line continues the one before it.
        _ if line.starts_with([' ', '\t']) => Line::Same,
        Some(("myhostname", _)) => Line::Drop,
        Some(("mydestination", value)) => without_own_names(guest, &value, ',')
            .map_or(Line::Same, |kept| {
                Line::Change(format!("mydestination = {kept}"))
            }),
        _ => Line::Same,
    })
}

/// Debian's exim4: `dc_other_hostnames='a;b'`.
pub(in crate::seal) fn exim(content: &[u8], guest: &Guest) -> Rewritten {
    edit(content, |line| match key_value(line) {
        Some(("dc_other_hostnames", value)) => without_own_names(guest, &value, ';')
            .map_or(Line::Same, |kept| {
                Line::Change(format!("dc_other_hostnames='{kept}'"))
            }),
        _ => Line::Same,
    })
}

/// The list without the template's names; `None` when it has none of them.
fn without_own_names(guest: &Guest, list: &str, separator: char) -> Option<String> {
    let entries: Vec<&str> = list.split(separator).map(str::trim).collect();
    let kept: Vec<&str> = entries
        .iter()
        .copied()
        .filter(|e| !e.is_empty() && !is_own_name(guest, e))
        .collect();
    let named = entries.iter().any(|entry| is_own_name(guest, entry));
    named.then(|| kept.join(if separator == ',' { ", " } else { ";" }))
}

/// zabbix_agentd.conf: `Hostname=` of the template. The package's own example value stays, since
/// it is the same on every machine that ever installed it.
pub(in crate::seal) fn zabbix(content: &[u8], _: &Guest) -> Rewritten {
    edit(content, |line| match key_value(line) {
        Some(("Hostname", value)) if value != "Zabbix server" => Line::Drop,
        _ => Line::Same,
    })
}

/// mdadm.conf(5): `HOMEHOST <system>` stands for the host's name.
pub(in crate::seal) fn mdadm(content: &[u8], _: &Guest) -> Rewritten {
    edit(content, |line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(word), Some(host))
                if word.eq_ignore_ascii_case("homehost") && !host.starts_with('<') =>
            {
                Line::Change("HOMEHOST <system>".to_owned())
            }
            _ => Line::Same,
        }
    })
}

/// Boot Loader Specification, "Type #1": `machine-id` lines, and entry tokens that are a
/// machine-id.
pub(in crate::seal) fn machine_id_in_boot_entry(content: &[u8], _: &Guest) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let is_id = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let found = text.lines().any(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("machine-id"), Some(id)) => is_id(id),
            (Some(token), None) => is_id(token),
            _ => false,
        }
    });
    found.then(|| "it is filed under the template's machine-id".to_owned())
}

/// Whether any line is neither empty nor a comment.
pub(in crate::seal) fn active_lines(content: &[u8], _: &Guest) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let count = text
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
        .count();
    (count > 0).then(|| format!("{count} active lines"))
}

/// A fixed address in any of the formats that name one with a key.
pub(in crate::seal) fn static_address(content: &[u8], _: &Guest) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let mut in_addresses = false;
    let found = text.lines().map(str::trim).find(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ifupdown = matches!(words.as_slice(), ["iface", name, _, "static"] if *name != "lo");
        let keyed = match key_value(line) {
            // A list in netplan may follow on the next lines.
            Some(("addresses", value)) => {
                in_addresses = value.is_empty();
                value.starts_with('[') && value.len() > 2
            }
            Some(("Address" | "address1" | "IPADDR", value)) => {
                value.starts_with(|c: char| c.is_ascii_hexdigit())
            }
            _ => false,
        };
        let listed = in_addresses && line.starts_with("- ");
        ifupdown || keyed || listed
    });
    found.map(|_| "an interface has a fixed address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Guest {
        Guest {
            names: vec!["web.example.org".into(), "web".into()],
            ..Guest::default()
        }
    }

    fn check(rewrite: fn(&[u8], &Guest) -> Rewritten, before: &str, after: &str) {
        assert_eq!(
            rewrite(before.as_bytes(), &web()),
            Rewritten::Content(after.into())
        );
        assert_eq!(rewrite(after.as_bytes(), &web()), Rewritten::Same);
    }

    #[test]
    fn the_hosts_file() {
        let before = "127.0.0.1\tlocalhost web\n127.0.1.1 web.example.org web\n# 127.0.1.1 kept\n\
                      10.0.0.5 WEB\n10.0.0.6 webcam # web\n::1 ip6-localhost\n";
        let after =
            "127.0.0.1\tlocalhost\n# 127.0.1.1 kept\n10.0.0.6 webcam # web\n::1 ip6-localhost\n";
        check(hosts, before, after);
    }

    #[test]
    fn mail_servers() {
        let before = "myhostname = web.example.org\n#myhostname = x\nmydestination = $myhostname, web, , localhost\nrelayhost =\n";
        check(
            postfix,
            before,
            "#myhostname = x\nmydestination = $myhostname, localhost\nrelayhost =\n",
        );
        check(
            exim,
            "dc_other_hostnames='web;mail.example.org'\n",
            "dc_other_hostnames='mail.example.org'\n",
        );
    }

    #[test]
    fn other_programs() {
        check(
            mdadm,
            "HOMEHOST web\nMAILADDR root\n",
            "HOMEHOST <system>\nMAILADDR root\n",
        );
        check(zabbix, "Server=1\nHostname=web\n", "Server=1\n");
        assert_eq!(zabbix(b"Hostname=Zabbix server\n", &web()), Rewritten::Same);
    }

    #[test]
    fn fixed_addresses_are_seen_in_each_format() {
        for fixed in [
            "iface eth0 inet static\n",
            "[Network]\nAddress=10.0.0.2/24\n",
            "  addresses: [10.0.0.2/24]\n",
            "  addresses:\n    - 10.0.0.2/24\n",
            "[ipv4]\naddress1=10.0.0.2/24\n",
            "IPADDR=10.0.0.2\n",
        ] {
            assert!(
                static_address(fixed.as_bytes(), &web()).is_some(),
                "{fixed:?}"
            );
        }
        for dynamic in [
            "iface eth0 inet dhcp\niface lo inet static\n",
            "dhcp4: true\n",
            "DHCP=yes\n",
            "BOOTPROTO=dhcp\n",
        ] {
            assert_eq!(
                static_address(dynamic.as_bytes(), &web()),
                None,
                "{dynamic:?}"
            );
        }
    }
}
