//! Keys, tokens and passwords that whoever has a clone would have. The seal proof finds them.

use super::row;
use crate::check::Severity::{Critical, High, Medium};
use crate::check::Test::{Ask, Proof};
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};

const ALWAYS: When = When::Always;
const KEYS: &[&str] = &["NIST IA-5(7)", "NIST SC-12"];

pub(super) const CHECKS: &[Check] = &[
    row(
        "secrets.authorized-keys",
        "nobody's key is let in",
        High,
        ALWAYS,
        Proof(&["ssh.authorized-keys"]),
    )
    .why("whoever made the template can log in to every clone")
    .maps(&["NIST AC-2", "NIST IA-5"]),
    row(
        "secrets.private-keys",
        "there are no private keys",
        Critical,
        ALWAYS,
        Proof(&["key.", "ssh.user-keys", "gpg.", "tls.", "boot.signing-keys"]),
    )
    .why("a key that is in every clone is nobody's secret")
    .maps(KEYS),
    row(
        "secrets.tokens",
        "there are no tokens",
        Critical,
        ALWAYS,
        Proof(&["token."]),
    )
    .why("a token works for whoever reads it, from anywhere")
    .maps(KEYS),
    row(
        "secrets.credentials",
        "there are no files with credentials",
        Critical,
        ALWAYS,
        Proof(&["cred."]),
    )
    .why("they open accounts at clouds, registries and databases")
    .maps(KEYS),
    row(
        "secrets.networks",
        "there are no keys of wireless networks and tunnels",
        High,
        ALWAYS,
        Proof(&[
            "net.connection-secrets",
            "net.wireguard",
            "net.vpn-keys",
            "net.ppp-secrets",
        ]),
    )
    .why("every clone, and whoever has one, is in that network")
    .maps(KEYS),
    row(
        "secrets.password-files",
        "there are no further files with passwords",
        High,
        ALWAYS,
        Proof(&[
            "password.backup",
            "password.debconf",
            "password.htpasswd",
            "boot.grub-password",
        ]),
    )
    .why("a hash in a backup can be guessed like the one in use")
    .maps(&["NIST IA-5(1)"]),
    row(
        "secrets.known-hosts",
        "nobody's list of known hosts is there",
        Medium,
        ALWAYS,
        Proof(&["ssh.known-hosts"]),
    )
    .why("it tells which machines the people of the template reach")
    .maps(&["NIST MP-6"]),
    row(
        "secrets.disk-keys",
        "no key of an encrypted disk lies on the disk",
        High,
        ALWAYS,
        Ask(disk_keys),
    )
    .why("who can read the disk can open it, and all clones have one key")
    .mend("guest# cryptsetup luksKillSlot DEVICE SLOT")
    .maps(&["NIST SC-28"])
    .reads(&["/etc/crypttab"]),
];

fn disk_keys(inquiry: &Inquiry<'_>) -> Answer {
    let mut found = inquiry.proven(&["storage.disk-keys"]);
    for device in &inquiry.evidence.files.crypt_devices {
        // Swap with a key of random bytes has no key that lies anywhere.
        let is_file = |key: &&String| !key.starts_with("/dev/");
        if let Some(key) = device.key_file.as_ref().filter(is_file) {
            let what = format!("crypttab opens {} with it", device.name);
            found.push(Found::fail(key, what));
        }
    }
    Answer::Looked(found)
}
