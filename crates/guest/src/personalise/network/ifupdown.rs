//! interfaces(5) of Debian's ifupdown.
//!
//! `auto mac/52:53:…=stampo0` lets `ifup -a` find the interface by its MAC and configure it by the
//! stanza `iface stampo0`, whatever the kernel calls it (patterns: interfaces(5), "INTERFACE
//! PATTERNS", ifupdown 0.8.26 and newer). The pattern sees only interfaces that exist when
//! `ifup -a` runs, and `allow-hotplug` does not understand it, so networking.service is told to
//! wait for udev. Stanzas of the template for Ethernet names are taken out: two stanzas for one
//! interface would race.

use super::{Interface, by_family};
use crate::fs::Owner;
use crate::personalise::edit::Editor;
use crate::personalise::error::PersonaliseError;
use stampo_core::personalisation::Network;

const MAIN: &str = "/etc/network/interfaces";
const DIRECTORY: &str = "/etc/network/interfaces.d";
const OURS: &str = "stampo";
const SOURCE: &str = "source /etc/network/interfaces.d/*";
const LOOPBACK: &str = "auto lo\niface lo inet loopback\n";
/// ifupdown-pre.service waits for udev only when it already sees an interface to configure.
const WAIT_FOR_UDEV: &str =
    "[Unit]\nWants=systemd-udev-settle.service\nAfter=systemd-udev-settle.service\n";

pub(super) fn write(
    edit: &mut Editor<'_>,
    interfaces: &[Interface<'_>],
) -> Result<(), PersonaliseError> {
    let main = without_ethernet(&edit.text(MAIN)?.unwrap_or_default());
    let mut others = String::new();
    for name in edit.names(DIRECTORY, |name| name != OURS)? {
        let path = format!("{DIRECTORY}/{name}");
        // cloud-init makes this file, for the machine that the template was built on.
        if name == "50-cloud-init" || name == "50-cloud-init.cfg" {
            edit.remove(&path)?;
            continue;
        }
        let old = edit.text(&path)?.unwrap_or_default();
        let new = without_ethernet(&old);
        if new != old {
            edit.put_keeping(&path, &new, Owner::root(0o644))?;
        }
        others.push_str(&new);
    }
    let has_loopback = defines_loopback(&main) || defines_loopback(&others);
    let main = with_source(&main, has_loopback);
    edit.put_keeping(MAIN, main, Owner::root(0o644))?;
    edit.put(
        &format!("{DIRECTORY}/{OURS}"),
        stanzas(interfaces),
        Owner::root(0o644),
    )?;
    edit.put(
        "/etc/systemd/system/networking.service.d/50-stampo.conf",
        WAIT_FOR_UDEV,
        Owner::root(0o644),
    )?;
    Ok(())
}

fn stanzas(interfaces: &[Interface<'_>]) -> String {
    let mut text = String::from("# Written by stampo: interfaces by MAC.\n");
    for Interface {
        index,
        mac,
        network,
    } in interfaces
    {
        text += &format!("\nauto mac/{mac}=stampo{index}\n");
        match network {
            Network::Dhcp => text += &format!("iface stampo{index} inet dhcp\n"),
            Network::Static {
                address,
                gateway,
                dns,
            } => {
                let family = by_family(address, "inet", "inet6");
                text += &format!("iface stampo{index} {family} static\n\taddress {address}\n");
                if let Some(gateway) = gateway {
                    text += &format!("\tgateway {gateway}\n");
                }
                if !dns.is_empty() {
                    let servers: Vec<String> = dns.iter().map(ToString::to_string).collect();
                    text += &format!("\tdns-nameservers {}\n", servers.join(" "));
                }
            }
        }
    }
    text
}

/// A predictable or old name of an Ethernet interface: `eth0`, `ens3`, `enp1s0`, `/e*`, `mac/…`.
fn is_ethernet(name: &str) -> bool {
    let name = name.strip_prefix('/').unwrap_or(name);
    name.starts_with("eth")
        || name.starts_with("mac/")
        || name.starts_with("e*")
        || name.starts_with("en") && !name.contains('.')
}

/// `text` without the stanzas, and the names in `auto` and `allow-` lines, of Ethernet interfaces.
fn without_ethernet(text: &str) -> String {
    let mut kept = String::new();
    let mut dropping = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let keyword = words.next().unwrap_or("");
        let opens = [
            "iface",
            "mapping",
            "auto",
            "source",
            "source-directory",
            "rename",
            "template",
        ]
        .contains(&keyword)
            || keyword.starts_with("allow-");
        if opens {
            dropping = keyword == "iface" && words.clone().next().is_some_and(is_ethernet);
        }
        let is_list = keyword == "auto" || keyword.starts_with("allow-");
        if is_list {
            let names: Vec<&str> = words.collect();
            let left: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| !is_ethernet(name))
                .collect();
            if left.len() != names.len() {
                if !left.is_empty() {
                    kept += &format!("{keyword} {}\n", left.join(" "));
                }
                continue;
            }
        }
        if !dropping || keyword.is_empty() || keyword.starts_with('#') {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn defines_loopback(text: &str) -> bool {
    text.lines()
        .any(|line| line.split_whitespace().take(2).eq(["iface", "lo"]))
}

fn with_source(main: &str, has_loopback: bool) -> String {
    let mut text = main.to_owned();
    let reads_directory = main.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.starts_with("source"))
            && words
                .next()
                .is_some_and(|path| path.contains("interfaces.d"))
    });
    if !has_loopback {
        text = format!("{text}\n{LOOPBACK}");
    }
    if !reads_directory {
        text = format!("{text}\n{SOURCE}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ethernet_stanzas_go() {
        let old = "\
auto lo eth0
iface lo inet loopback
# the uplink
allow-hotplug enp1s0
iface enp1s0 inet static
\taddress 192.0.2.1/24
\tup ip route add 198.51.100.0/24 via 192.0.2.9
auto br0
iface br0 inet manual
\tbridge_ports none
";
        let new = "\
auto lo
iface lo inet loopback
# the uplink
auto br0
iface br0 inet manual
\tbridge_ports none
";
        assert_eq!(without_ethernet(old), new);
        assert_eq!(without_ethernet(new), new);
    }

    #[test]
    fn loopback_and_source_are_added_once() {
        let once = with_source("", false);
        assert!(defines_loopback(&once), "{once}");
        assert_eq!(with_source(&once, true), once);
    }
}
