//! What the ssh server lets in: sshd_config(5), the first value of a keyword wins.
//!
//! What a `Match` block says holds for some connections only: it is a warning, not a failure.

use super::{list, row};
use crate::check::Severity::{Critical, High, Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use stampo_guest::inspect::sshd::Setting;

const SERVER: When = When::SshServer;
const FILES: &[&str] = &["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", "sshd"];
const ACCESS: &[&str] = &["NIST AC-17", "NIST IA-2"];

pub(super) const CHECKS: &[Check] = &[
    row(
        "ssh.root-login",
        "root does not log in by ssh with a password",
        High,
        SERVER,
        Ask(root_login),
    )
    .why("root's name is known, so only the password is left to guess")
    .mend("guest# echo 'PermitRootLogin prohibit-password' > /etc/ssh/sshd_config.d/10-root.conf")
    .maps(ACCESS)
    .reads(FILES)
    .with(&[list(
        "allow",
        &[
            "no",
            "prohibit-password",
            "without-password",
            "forced-commands-only",
        ],
    )]),
    row(
        "ssh.passwords",
        "ssh takes no passwords",
        Medium,
        SERVER,
        Ask(passwords),
    )
    .why("passwords are guessed by machines all day; keys are not")
    .mend("guest# echo 'PasswordAuthentication no' > /etc/ssh/sshd_config.d/10-passwords.conf")
    .maps(ACCESS)
    .reads(FILES),
    row(
        "ssh.empty-passwords",
        "ssh lets nobody in without a password",
        Critical,
        SERVER,
        Ask(empty_passwords),
    )
    .why("an account without a password is then open to the network")
    .mend("guest# echo 'PermitEmptyPasswords no' > /etc/ssh/sshd_config.d/10-empty.conf")
    .maps(ACCESS)
    .reads(FILES),
    row("ssh.x11", "ssh does not forward X11", Low, SERVER, Ask(x11))
        .why("a server that is taken over can reach the screen of whoever logs in")
        .mend("guest# echo 'X11Forwarding no' > /etc/ssh/sshd_config.d/10-x11.conf")
        .maps(&["NIST CM-7"])
        .reads(FILES),
    row(
        "ssh.ciphers",
        "ssh is not told to use weak ciphers",
        Medium,
        SERVER,
        Ask(ciphers),
    )
    .why("what they protect can be read or changed on the way")
    .mend("guest# sed -i '/^Ciphers/d;/^MACs/d' /etc/ssh/sshd_config")
    .maps(&["NIST SC-8", "NIST SC-13"])
    .reads(FILES)
    .with(&[list(
        "forbid",
        &[
            "*-cbc",
            "*3des*",
            "*arcfour*",
            "*blowfish*",
            "*cast128*",
            "none",
        ],
    )]),
    row(
        "ssh.macs",
        "ssh is not told to use weak checksums",
        Medium,
        SERVER,
        Ask(macs),
    )
    .why("what they protect can be changed on the way")
    .mend("guest# sed -i '/^Ciphers/d;/^MACs/d' /etc/ssh/sshd_config")
    .maps(&["NIST SC-8", "NIST SC-13"])
    .reads(FILES)
    .with(&[list("forbid", &["*md5*", "*-96*", "none"])]),
];

/// Asks about the value that counts, and about those of `Match` blocks.
fn ask(inquiry: &Inquiry<'_>, keyword: &str, wrong: impl Fn(&str) -> Option<String>) -> Answer {
    let evidence = inquiry.evidence;
    let value = evidence
        .inspection
        .sshd
        .as_ref()
        .and_then(|values| values.get(keyword));
    let place = |setting: &Setting| {
        let source = setting.source.clone();
        source.unwrap_or_else(|| "sshd's own default".into())
    };
    let mut found = Vec::new();
    if let Some(setting) = value
        && let Some(what) = wrong(&setting.value)
    {
        found.push(Found::fail(place(setting), format!("{keyword} is {what}")));
    }
    let matches = evidence
        .files
        .ssh_matches
        .iter()
        .filter(|(key, _)| key == keyword);
    for (_, setting) in matches {
        if let Some(what) = wrong(&setting.value) {
            let what = format!("{keyword} is {what} for what a Match block names");
            found.push(Found::warn(place(setting), what));
        }
    }
    Answer::Looked(found)
}

fn unless_no(value: &str) -> Option<String> {
    (!value.eq_ignore_ascii_case("no")).then(|| value.to_owned())
}

fn root_login(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "permitrootlogin", |value| {
        let is_fine = inquiry.is_listed("allow", &value.to_ascii_lowercase());
        (!is_fine).then(|| value.to_owned())
    })
}

fn passwords(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "passwordauthentication", unless_no)
}

fn empty_passwords(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "permitemptypasswords", unless_no)
}

fn x11(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "x11forwarding", unless_no)
}

fn ciphers(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "ciphers", |value| forbidden(inquiry, value))
}

fn macs(inquiry: &Inquiry<'_>) -> Answer {
    ask(inquiry, "macs", |value| forbidden(inquiry, value))
}

/// The names of a list that are forbidden. A list that begins with `-` only takes away.
fn forbidden(inquiry: &Inquiry<'_>, value: &str) -> Option<String> {
    if value.starts_with('-') {
        return None;
    }
    let names = value
        .trim_start_matches(['+', '^'])
        .split(',')
        .map(str::trim);
    let weak: Vec<&str> = names
        .filter(|name| inquiry.is_listed("forbid", &name.to_ascii_lowercase()))
        .collect();
    (!weak.is_empty()).then(|| weak.join(", "))
}
