//! netplan(5): the YAML of Ubuntu and of many cloud images.
//!
//! Only what one file says is read; netplan's merging of several files is not done.

use super::super::yaml::Yaml;
use super::{Addressing, Interface, MAX_INTERFACES};

/// The sections that hold interfaces.
const SECTIONS: &[&str] = &[
    "ethernets",
    "wifis",
    "bonds",
    "bridges",
    "vlans",
    "tunnels",
    "modems",
];

/// The interfaces of one file; an error when it is not YAML.
pub fn parse(text: &str) -> Result<Vec<Interface>, String> {
    let document = Yaml::parse(text)?;
    let network = document.get("network").unwrap_or(&document);
    let of_section = |section: &&str| network.get(section).map(Yaml::pairs).unwrap_or_default();
    let found = SECTIONS.iter().flat_map(of_section).take(MAX_INTERFACES);
    Ok(found
        .map(|(name, settings)| interface(name, settings))
        .collect())
}

fn interface(name: &str, settings: &Yaml) -> Interface {
    let mut interface = Interface::named(name);
    let is_on = |key: &str| settings.get(key).is_some_and(Yaml::is_true);
    if is_on("dhcp4") || is_on("dhcp6") {
        interface.gets(Addressing::Dhcp);
    }
    if is_on("accept-ra") {
        interface.gets(Addressing::Auto);
    }
    for address in settings
        .get("addresses")
        .map(Yaml::items)
        .unwrap_or_default()
    {
        // An address is text, or a mapping with the address as its key.
        let text = address
            .text()
            .or_else(|| address.pairs().first().map(|(key, _)| key.as_str()));
        interface.has_address(text.unwrap_or_default());
    }
    let matched = settings
        .get("match")
        .and_then(|rule| rule.get("macaddress"));
    for mac in [matched, settings.get("macaddress")].into_iter().flatten() {
        interface.is_tied_to(mac.text().unwrap_or_default());
    }
    interface
}
