//! Host name, time zone and locale.

use super::look::{Look, clip, config_lines};
use super::os::assignments;
use serde::{Deserialize, Serialize};

/// The small settings that a clone is usually given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// hostname(5); `None` when the file is absent or empty.
    pub hostname: Option<String>,
    /// An IANA zone, for example `Europe/Berlin`.
    pub time_zone: Option<String>,
    /// `LANG`, for example `en_US.UTF-8`.
    pub locale: Option<String>,
    /// `KEYMAP` of vconsole.conf(5) or `XKBLAYOUT` of keyboard(5).
    pub keyboard: Option<String>,
}

/// Reads the settings.
pub fn read(look: &mut Look<'_>) -> Settings {
    let hostname = look.text("/etc/hostname");
    Settings {
        hostname: hostname.and_then(|text| config_lines(&text).next().map(clip)),
        time_zone: time_zone(look),
        locale: value(look, &["/etc/locale.conf", "/etc/default/locale"], "LANG"),
        keyboard: value(look, &["/etc/vconsole.conf"], "KEYMAP")
            .or_else(|| value(look, &["/etc/default/keyboard"], "XKBLAYOUT")),
    }
}

/// localtime(5): the link's target says the zone; Debian repeats it in `/etc/timezone`.
fn time_zone(look: &mut Look<'_>) -> Option<String> {
    let target = look.link("/etc/localtime");
    let zone = target
        .as_deref()
        .and_then(|target| target.split_once("zoneinfo/"));
    match zone {
        Some((_, zone)) => Some(clip(zone)),
        None => {
            let text = look.text("/etc/timezone")?;
            config_lines(&text).next().map(clip)
        }
    }
}

fn value(look: &mut Look<'_>, paths: &[&str], key: &str) -> Option<String> {
    paths.iter().find_map(|path| {
        let text = look.text(path)?;
        assignments(&text)
            .remove(key)
            .filter(|value| !value.is_empty())
    })
}
