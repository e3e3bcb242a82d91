//! interfaces(5), the format of Debian's ifupdown.
//!
//! `source` lines are not followed: the directory that Debian sources is read by the caller.

use super::super::look::config_lines;
use super::{Addressing, Interface, MAX_INTERFACES};

/// The interfaces of one file. Several `iface` stanzas of one interface are joined.
pub fn parse(text: &str) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut current: Option<usize> = None;
    let joined = text.replace("\\\n", " ");
    for line in config_lines(&joined) {
        let mut words = line.split_whitespace();
        let keyword = words.next().unwrap_or_default();
        let value = words.next().unwrap_or_default();
        match keyword {
            "iface" => {
                current = at(&mut interfaces, value);
                if let Some(interface) = current.and_then(|index| interfaces.get_mut(index)) {
                    interface.gets(method(line));
                }
            }
            // These end a stanza.
            "mapping" | "auto" | "source" | "source-directory" => current = None,
            keyword if keyword.starts_with("allow-") => current = None,
            _ => {
                if let Some(interface) = current.and_then(|index| interfaces.get_mut(index)) {
                    option(interface, keyword, line);
                }
            }
        }
    }
    interfaces
}

fn at(interfaces: &mut Vec<Interface>, name: &str) -> Option<usize> {
    let known = interfaces
        .iter()
        .position(|interface| interface.name == name);
    if known.is_none() && interfaces.len() < MAX_INTERFACES {
        interfaces.push(Interface::named(name));
        return Some(interfaces.len() - 1);
    }
    known
}

/// The method is the last word of `iface NAME FAMILY METHOD`.
fn method(line: &str) -> Addressing {
    match line.split_whitespace().nth(3) {
        Some("dhcp") => Addressing::Dhcp,
        Some("static") => Addressing::Static,
        Some("auto") => Addressing::Auto,
        _ => Addressing::Other,
    }
}

fn option(interface: &mut Interface, keyword: &str, line: &str) {
    match keyword {
        "address" => interface.has_address(line["address".len()..].trim()),
        "hwaddress" => interface.is_tied_to(line),
        _ => {}
    }
}
