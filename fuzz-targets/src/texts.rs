//! Parsers of single files of a guest, each on the same text.
//!
//! What a parser gives must not be larger than what it was given (times a constant): a guest must
//! not be able to fill the host's memory with a small file.

use crate::bytes::text;
use stampo_guest::inspect as parsers;
use stampo_guest::inspect::network::{ifupdown, keyfile, mac_in, netplan};
use stampo_guest::inspect::yaml::Yaml;
use std::fmt::Debug;

/// A value's fields have names; each line of input may make one value.
fn bounded(value: &dyn Debug, text: &str) {
    let shown = format!("{value:?}").len();
    let lines = text.lines().count() + 1;
    // Debug writes a control character as up to 8 characters.
    let most = 8 * text.len() + 400 * lines + 400;
    assert!(shown <= most, "{shown} bytes out of {} bytes", text.len());
}

/// dpkg and apk.
pub fn packages(bytes: &[u8]) {
    let text = text(bytes);
    bounded(&parsers::dpkg::parse(&text), &text);
    bounded(&parsers::apk::parse(&text), &text);
}

/// passwd, shadow, group, sudoers.
pub fn accounts(bytes: &[u8]) {
    use parsers::users::{parse_group, parse_passwd, parse_shadow};
    let text = text(bytes);
    let shadow = parse_shadow(&text);
    bounded(&shadow, &text);
    bounded(&parse_passwd(&text, Some(&shadow)), &text);
    bounded(&parse_group(&text), &text);
    bounded(&parsers::sudoers::parse(&text), &text);
}

/// os-release, fstab, sshd_config, cloud.cfg, boot loaders, program headers.
pub fn system(bytes: &[u8]) {
    let text = text(bytes);
    bounded(&parsers::os::parse(&text), &text);
    bounded(&parsers::os::assignments(&text), &text);
    bounded(&parsers::fstab::parse(&text), &text);
    for line in text.lines() {
        let (keyword, value) = parsers::sshd::keyword_and_value(line);
        assert!(
            keyword.len() + value.len() <= 3 * line.len() + 1,
            "{line:?}"
        );
    }
    bounded(&parsers::cloud_init::datasource_list(&text), &text);
    bounded(&parsers::boot::parse_grub(&text), &text);
    bounded(&parsers::boot::parse_entry(&text), &text);
    bounded(&parsers::boot::parse_extlinux(&text), &text);
    let _ = parsers::os::machine(bytes);
}

/// ifupdown, netplan, networkd, NetworkManager, ifcfg, YAML.
pub fn network(bytes: &[u8]) {
    let text = text(bytes);
    bounded(&ifupdown::parse(&text), &text);
    bounded(&netplan::parse(&text), &text);
    bounded(&keyfile::networkd(&text), &text);
    bounded(&keyfile::network_manager(&text), &text);
    bounded(&keyfile::ifcfg(&text), &text);
    bounded(&Yaml::parse(&text), &text);
    if let Some(mac) = mac_in(&text) {
        assert_eq!(mac.len(), 17, "{mac:?}");
    }
}
