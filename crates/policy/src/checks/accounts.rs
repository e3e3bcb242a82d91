//! Accounts, passwords, and who may become root.

use super::{list, number, row};
use crate::check::Severity::{Critical, High, Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use stampo_guest::inspect::users::{Password, User};
use std::collections::BTreeMap;

const ACCOUNTS: When = When::Accounts;
const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
const BOTH: &[&str] = &[PASSWD, SHADOW];
const PASSWORDS: &[&str] = &["NIST IA-5(1)"];
/// The accounts that people have (login.defs(5), `UID_MIN` and `UID_MAX`).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=59_999;

pub(super) const CHECKS: &[Check] = &[
    row(
        "accounts.empty-password",
        "no account lets in without a password",
        Critical,
        ACCOUNTS,
        Ask(empty),
    )
    .why("anybody who reaches the console or the network is in")
    .mend("guest# passwd -l ACCOUNT")
    .maps(PASSWORDS)
    .reads(BOTH),
    row(
        "accounts.root-locked",
        "root has no password",
        High,
        ACCOUNTS,
        Ask(root_locked),
    )
    .why("one password of root for all clones is soon known to many")
    .mend("guest# passwd -l root")
    .maps(&["NIST AC-6", "NIST IA-2"])
    .reads(BOTH),
    row(
        "accounts.passwords",
        "no account has a password",
        High,
        ACCOUNTS,
        Ask(passwords),
    )
    .why("each clone has the same one, and its hash can be guessed at leisure")
    .mend("guest# passwd -l ACCOUNT")
    .maps(PASSWORDS)
    .reads(BOTH)
    .with(&[list("allow", &[])]),
    row(
        "accounts.weak-hash",
        "passwords are kept with a strong hash",
        High,
        ACCOUNTS,
        Ask(weak_hash),
    )
    .why("old hashes are guessed within hours")
    .mend("guest# passwd ACCOUNT")
    .maps(PASSWORDS)
    .reads(BOTH)
    .with(&[list(
        "allow",
        &[
            "yescrypt",
            "gost-yescrypt",
            "scrypt",
            "bcrypt",
            "sha512crypt",
        ],
    )]),
    row(
        "accounts.uid-0",
        "only root has the number 0",
        Critical,
        ACCOUNTS,
        Ask(uid_0),
    )
    .why("another account with it is root under a name that nobody watches")
    .mend("guest# userdel -f ACCOUNT")
    .maps(&["NIST AC-6"])
    .reads(&[PASSWD]),
    row(
        "accounts.duplicate-uid",
        "no two accounts share a number",
        Medium,
        ACCOUNTS,
        Ask(duplicate_uid),
    )
    .why("each of them owns the files of the other")
    .mend("guest# usermod -u NUMBER ACCOUNT")
    .maps(&["NIST IA-4"])
    .reads(&[PASSWD]),
    row(
        "accounts.people",
        "there are no accounts of people",
        Medium,
        ACCOUNTS,
        Ask(people),
    )
    .why("they are given to a clone when it is made, and end with whoever leaves")
    .mend("guest# userdel -r ACCOUNT")
    .maps(&["NIST AC-2"])
    .reads(&[PASSWD])
    .with(&[list(
        "allow",
        &[
            "nobody",
            "debian",
            "ubuntu",
            "alpine",
            "fedora",
            "cloud-user",
            "rocky",
            "almalinux",
        ],
    )]),
    row(
        "accounts.shadow-mode",
        "password hashes are readable by root only",
        High,
        ACCOUNTS,
        Ask(shadow_mode),
    )
    .why("whoever reads them can guess them")
    .mend("guest# chmod 0640 /etc/shadow /etc/gshadow")
    .maps(&["NIST AC-3"])
    .reads(BOTH),
    row(
        "accounts.sudo",
        "nobody becomes root without a password",
        Medium,
        ACCOUNTS,
        Ask(sudo),
    )
    .why("whoever takes over the account has the machine")
    .mend("guest# visudo -f FILE")
    .maps(&["NIST AC-6(2)"])
    .reads(&["/etc/sudoers", "/etc/sudoers.d"])
    .with(&[list("allow", &[])]),
    row(
        "accounts.password-age",
        "passwords end",
        Low,
        ACCOUNTS,
        Ask(password_age),
    )
    .why("a password that was lost works until it is changed")
    .mend("guest# sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 365/' /etc/login.defs")
    .maps(PASSWORDS)
    .reads(&["/etc/login.defs"])
    .with(&[number("days", 365)]),
    row(
        "accounts.system-shells",
        "accounts of services have no shell",
        Low,
        ACCOUNTS,
        Ask(system_shells),
    )
    .why("a service that is taken over gets a place to work from")
    .mend("guest# usermod -s /usr/sbin/nologin ACCOUNT")
    .maps(&["NIST AC-6"])
    .reads(&[PASSWD])
    .with(&[list("allow", &["root", "sync", "git", "postgres"])]),
];

fn users<'a>(inquiry: &'a Inquiry<'_>) -> &'a [User] {
    &inquiry.evidence.inspection.users
}

/// One finding for each account of which `what` has something to say.
fn each(inquiry: &Inquiry<'_>, path: &str, what: impl Fn(&User) -> Option<String>) -> Answer {
    let say = |user: &User| {
        let what = what(user)?;
        Some(Found::fail(path, format!("{}: {what}", user.name)))
    };
    let found: Vec<Found> = users(inquiry).iter().filter_map(say).collect();
    let unread = users(inquiry)
        .iter()
        .any(|user| user.password == Password::Unknown);
    if path == SHADOW && unread && found.is_empty() {
        return Answer::Unknown("passwords could not be read".into());
    }
    Answer::Looked(found)
}

fn empty(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, SHADOW, |user| {
        (user.password == Password::Empty).then(|| "no password is asked for".to_owned())
    })
}

fn root_locked(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, SHADOW, |user| {
        let is_open = matches!(user.password, Password::Hash(_) | Password::Empty);
        (user.uid == 0 && is_open).then(|| "a password is accepted".to_owned())
    })
}

fn passwords(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, SHADOW, |user| {
        let has_one = matches!(user.password, Password::Hash(_) | Password::LockedHash(_));
        let counts = has_one && user.uid != 0 && !inquiry.is_listed("allow", &user.name);
        counts.then(|| "it has a password".to_owned())
    })
}

fn weak_hash(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, SHADOW, |user| match &user.password {
        Password::Hash(algorithm) | Password::LockedHash(algorithm)
            if !inquiry.is_listed("allow", algorithm) =>
        {
            Some(format!("its password is kept with {algorithm}"))
        }
        _ => None,
    })
}

fn uid_0(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, PASSWD, |user| {
        (user.uid == 0 && user.name != "root").then(|| "it has the number 0".to_owned())
    })
}

fn duplicate_uid(inquiry: &Inquiry<'_>) -> Answer {
    let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for user in users(inquiry) {
        names.entry(user.uid).or_default().push(&user.name);
    }
    let shared = names.into_iter().filter(|(_, names)| names.len() > 1);
    let found = |(uid, names): (u32, Vec<&str>)| {
        Found::fail(
            PASSWD,
            format!("{} all have the number {uid}", names.join(", ")),
        )
    };
    Answer::Looked(shared.map(found).collect())
}

fn people(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, PASSWD, |user| {
        let is_person = PEOPLE.contains(&user.uid) && !inquiry.is_listed("allow", &user.name);
        is_person.then(|| format!("an account of number {}", user.uid))
    })
}

fn shadow_mode(inquiry: &Inquiry<'_>) -> Answer {
    let rights = &inquiry.evidence.entries.rights;
    let files = [
        "/etc/shadow",
        "/etc/shadow-",
        "/etc/gshadow",
        "/etc/gshadow-",
    ];
    let found = files.iter().filter_map(|path| {
        let found = rights.get(*path)?;
        let is_open = found.mode & !0o640 != 0 || found.uid != 0;
        is_open.then(|| {
            Found::fail(
                *path,
                format!("mode {:04o}, owner {}", found.mode, found.uid),
            )
        })
    });
    Answer::Looked(found.collect())
}

fn sudo(inquiry: &Inquiry<'_>) -> Answer {
    let rules = &inquiry.evidence.inspection.sudo_without_password;
    let open = rules
        .iter()
        .filter(|rule| !inquiry.is_listed("allow", &rule.who));
    let found = open.map(|rule| Found::fail(&rule.path, format!("{} {}", rule.who, rule.rule)));
    Answer::Looked(found.collect())
}

fn password_age(inquiry: &Inquiry<'_>) -> Answer {
    const PATH: &str = "/etc/login.defs";
    let files = &inquiry.evidence.files.login;
    if files.is_empty() {
        return Answer::NotApplicable("there is no login.defs".into());
    }
    let limit = inquiry.number("days");
    match files.get("PASS_MAX_DAYS").map(|days| days.parse::<u64>()) {
        Some(Ok(days)) if days <= limit => Answer::pass(),
        Some(Ok(days)) => Answer::fail(PATH, format!("PASS_MAX_DAYS is {days}, more than {limit}")),
        Some(Err(_)) => Answer::fail(PATH, "PASS_MAX_DAYS is no number of days"),
        None => Answer::fail(PATH, "PASS_MAX_DAYS is not set"),
    }
}

fn system_shells(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, PASSWD, |user| {
        let is_service = user.uid < *PEOPLE.start() && user.can_login;
        let counts = is_service && !inquiry.is_listed("allow", &user.name);
        counts.then(|| format!("its shell is {}", user.shell))
    })
}
