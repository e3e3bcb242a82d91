//! Users as useradd(8) and usermod(8) would make them, without running anything of the guest.
//!
//! Ids, ranges and modes follow the guest's own login.defs. One thing differs on purpose: a user
//! without a password gets `*` and not `!` in shadow(5). Both let no password in, but sshd without
//! PAM takes `!` for a locked account and would refuse keys too.
//!
//! Does not run hooks, make mail spools or change an existing user's id, group or home.

use super::account::{Account, Accounts, LoginDefs};
use super::edit::Editor;
use super::error::PersonaliseError;
use super::ssh::write_authorized_keys;
use crate::fs::{FileKind, FsError, GuestRead, Owner};
use stampo_core::personalisation::{Personalisation, User};

/// No password opens this account.
const NO_PASSWORD: &str = "*";
/// Deepest directory of `/etc/skel` that is copied, and most entries.
const SKEL_DEPTH: usize = 16;
const SKEL_ENTRIES: usize = 2_000;
const SECONDS_A_DAY: i64 = 86_400;

/// Finds out whether every user of the request can be had, before anything is written.
pub(super) fn check_users(
    fs: &dyn GuestRead,
    request: &Personalisation,
) -> Result<(), PersonaliseError> {
    let accounts = Accounts::load(fs)?;
    if !request.users.is_empty() || request.root_password_hash.is_some() {
        accounts.check_present()?;
    }
    for user in &request.users {
        check_user(fs, &accounts, request, user)?;
    }
    Ok(())
}

fn check_user(
    fs: &dyn GuestRead,
    accounts: &Accounts,
    request: &Personalisation,
    user: &User,
) -> Result<(), PersonaliseError> {
    let named = || user.name.clone();
    for group in &user.groups {
        let comes = request.users.iter().any(|other| other.name == *group);
        if accounts.gid(group).is_none() && !comes {
            return Err(PersonaliseError::UnknownGroup {
                user: named(),
                group: group.clone(),
            });
        }
    }
    if let Some(shell) = &user.shell
        && !fs.exists(shell)?
    {
        return Err(PersonaliseError::UnknownShell {
            user: named(),
            shell: shell.clone(),
        });
    }
    if user.sudo && !fs.exists("/etc/sudoers.d")? {
        return Err(PersonaliseError::NoSudo { user: named() });
    }
    let Some(uid) = user.uid else { return Ok(()) };
    let wrong = |why: String| PersonaliseError::UserId {
        user: named(),
        uid,
        why,
    };
    if let Some(existing) = accounts.account(&user.name) {
        let same = existing.uid == uid;
        return if same {
            Ok(())
        } else {
            Err(wrong(format!("it has the id {}", existing.uid)))
        };
    }
    let holder = accounts
        .passwd
        .rows()
        .find(|row| row.get(2) == Some(&uid.to_string()));
    match holder.and_then(|row| row.into_iter().next()) {
        Some(other) => Err(wrong(format!("the user {other} has it"))),
        None => Ok(()),
    }
}

/// Makes or changes every user, sets root's password, writes authorized keys and sudo rules.
pub(super) fn write_users(
    edit: &mut Editor<'_>,
    request: &Personalisation,
    now_s: i64,
) -> Result<(), PersonaliseError> {
    let mut accounts = Accounts::load(edit.reader())?;
    let rules = LoginDefs::load(edit.reader())?;
    let days = (now_s / SECONDS_A_DAY).to_string();
    let root_hash = request.root_password_hash.as_deref().unwrap_or(NO_PASSWORD);
    set_password(&mut accounts, "root", root_hash, &days);
    let mut made = Vec::new();
    for user in &request.users {
        if accounts.account(&user.name).is_none() {
            add_user(&mut accounts, &rules, user, &days)?;
            made.push(user.name.as_str());
        } else {
            change_user(&mut accounts, user, &days);
        }
    }
    for user in &request.users {
        for group in &user.groups {
            accounts.add_member(group, &user.name);
        }
    }
    accounts.save(edit)?;
    for name in made {
        if let Some(account) = accounts.account(name) {
            make_home(edit, &account, rules.home_mode())?;
        }
    }
    write_access(edit, &accounts, request)
}

fn write_access(
    edit: &mut Editor<'_>,
    accounts: &Accounts,
    request: &Personalisation,
) -> Result<(), PersonaliseError> {
    let shared: Vec<&str> = request
        .ssh_authorized_keys
        .iter()
        .map(String::as_str)
        .collect();
    if let Some(root) = accounts.account("root") {
        write_authorized_keys(edit, &root, &shared)?;
    }
    for user in &request.users {
        let own = user.ssh_authorized_keys.iter().map(String::as_str);
        let keys: Vec<&str> = shared.iter().copied().chain(own).collect();
        if let Some(account) = accounts.account(&user.name) {
            write_authorized_keys(edit, &account, &keys)?;
        }
        // sudo leaves out files whose names have a dot or end in '~'; a user's name has neither.
        let path = format!("/etc/sudoers.d/90-stampo-{}", user.name);
        if user.sudo {
            let rule = format!("{} ALL=(ALL:ALL) NOPASSWD: ALL\n", user.name);
            edit.put(&path, rule, Owner::root(0o440))?;
        } else {
            edit.remove(&path)?;
        }
    }
    Ok(())
}

fn set_password(accounts: &mut Accounts, name: &str, hash: &str, days: &str) {
    if accounts
        .shadow
        .find(name)
        .is_some_and(|row| row.get(1).is_some_and(|old| old != hash))
    {
        accounts.shadow.set(name, 1, hash);
        accounts.shadow.set(name, 2, days);
    }
    if accounts.shadow.is_present() {
        accounts.passwd.set(name, 1, "x");
    }
}

fn change_user(accounts: &mut Accounts, user: &User, days: &str) {
    if let Some(shell) = &user.shell {
        accounts.passwd.set(&user.name, 6, shell);
    }
    if let Some(hash) = &user.password_hash {
        set_password(accounts, &user.name, hash, days);
    }
}

fn add_user(
    accounts: &mut Accounts,
    rules: &LoginDefs,
    user: &User,
    days: &str,
) -> Result<(), PersonaliseError> {
    let name = user.name.as_str();
    let range = |kind: &str| {
        (
            rules.number(&format!("{kind}_MIN"), 1000),
            rules.number(&format!("{kind}_MAX"), 60000),
        )
    };
    let users = Accounts::used_ids(&accounts.passwd);
    let uid = match user.uid {
        Some(uid) => uid,
        None => free_id(&users, range("UID"), name)?,
    };
    let groups = Accounts::used_ids(&accounts.group);
    // A group of the user's own, with the user's id where it is free (USERGROUPS_ENAB).
    let gid = match accounts.gid(name) {
        Some(gid) => gid,
        None if !groups.contains(&uid) => uid,
        None => free_id(&groups, range("GID"), name)?,
    };
    if accounts.gid(name).is_none() {
        accounts.group.append(&[name, "x", &gid.to_string(), ""]);
        if accounts.gshadow.is_present() {
            accounts.gshadow.append(&[name, "!", "", ""]);
        }
    }
    let shell = user.shell.as_deref().unwrap_or("/bin/bash");
    let home = format!("/home/{name}");
    let (uid, gid) = (uid.to_string(), gid.to_string());
    accounts
        .passwd
        .append(&[name, "x", &uid, &gid, "", &home, shell]);
    let hash = user.password_hash.as_deref().unwrap_or(NO_PASSWORD);
    let number = |key, default| rules.number(key, default).to_string();
    let (most, least) = (number("PASS_MAX_DAYS", 99_999), number("PASS_MIN_DAYS", 0));
    let warn = number("PASS_WARN_AGE", 7);
    accounts
        .shadow
        .append(&[name, hash, days, &least, &most, &warn, "", "", ""]);
    add_subordinate_ids(accounts, rules, name);
    Ok(())
}

/// One above the highest id in use, as useradd(8) chooses; the lowest free one when that is taken.
fn free_id(
    used: &std::collections::BTreeSet<u32>,
    (first, last): (u32, u32),
    user: &str,
) -> Result<u32, PersonaliseError> {
    let above = match used.range(first..=last.max(first)).next_back() {
        Some(highest) => highest.checked_add(1),
        None => Some(first),
    };
    above
        .filter(|id| *id <= last)
        .or_else(|| (first..=last).find(|id| !used.contains(id)))
        .ok_or_else(|| PersonaliseError::NoFreeId {
            user: user.to_owned(),
            first,
            last,
        })
}

/// Subordinate ids for user namespaces, where the guest keeps such files.
fn add_subordinate_ids(accounts: &mut Accounts, rules: &LoginDefs, name: &str) {
    let count = rules.number("SUB_UID_COUNT", 65_536);
    for (table, kind) in [
        (&mut accounts.subuid, "SUB_UID"),
        (&mut accounts.subgid, "SUB_GID"),
    ] {
        if !table.is_present() || count == 0 || table.find(name).is_some() {
            continue;
        }
        let ends = table.rows().filter_map(|row| {
            let number = |at: usize| row.get(at)?.parse::<u32>().ok();
            number(1)?.checked_add(number(2)?)
        });
        let start = ends
            .max()
            .unwrap_or(0)
            .max(rules.number(&format!("{kind}_MIN"), 100_000));
        let most = rules.number(&format!("{kind}_MAX"), 600_100_000);
        if start.checked_add(count).is_some_and(|end| end <= most) {
            table.append(&[name, &start.to_string(), &count.to_string()]);
        }
    }
}

/// A home with what `/etc/skel` has, all of it the user's.
fn make_home(edit: &mut Editor<'_>, account: &Account, mode: u32) -> Result<(), PersonaliseError> {
    if edit.exists(&account.home)? {
        edit.note(format!(
            "{} existed in the template and was left as it is",
            account.home
        ));
        return Ok(());
    }
    edit.dir(
        &account.home,
        Owner {
            uid: account.uid,
            gid: account.gid,
            mode,
        },
    )?;
    let mut pending = vec![(String::from("/etc/skel"), account.home.clone(), 0)];
    let mut copied = 0;
    while let Some((from, to, depth)) = pending.pop() {
        for name in edit.names(&from, |_| true)? {
            copied += 1;
            if copied > SKEL_ENTRIES || depth > SKEL_DEPTH {
                let why = "it has too many entries to be a skeleton of a home";
                return Err(FsError::Unsuitable {
                    path: "/etc/skel".into(),
                    why,
                }
                .into());
            }
            let (source, target) = (format!("{from}/{name}"), format!("{to}/{name}"));
            if copy_skel_entry(edit, account, &source, &target)? == Some(FileKind::Directory) {
                pending.push((source, target, depth + 1));
            }
        }
    }
    Ok(())
}

fn copy_skel_entry(
    edit: &mut Editor<'_>,
    account: &Account,
    source: &str,
    target: &str,
) -> Result<Option<FileKind>, PersonaliseError> {
    let Some(found) = edit.metadata(source)? else {
        return Ok(None);
    };
    let owner = Owner {
        uid: account.uid,
        gid: account.gid,
        mode: found.mode & 0o777,
    };
    match found.kind {
        FileKind::Directory => edit.dir(target, owner)?,
        FileKind::File => {
            let content = edit.bytes(source)?.unwrap_or_default();
            edit.put(target, content, owner)?;
        }
        FileKind::Symlink => {
            let link = edit.reader().read_link(source)?;
            edit.link(target, &String::from_utf8_lossy(&link))?;
            edit.set_owner(
                target,
                Owner {
                    mode: 0o777,
                    ..owner
                },
            )?;
        }
        FileKind::Special => {}
    }
    Ok(Some(found.kind))
}
