//! The guest's account files as lines of fields: passwd(5), shadow(5), group(5), gshadow(5),
//! subuid(5), subgid(5).
//!
//! Lines that are not changed stay as they were, to the byte: they may hold any encoding. What a
//! new user looks like is decided in `users.rs`; here is only the form.

use super::edit::{Editor, read_bytes, read_text};
use super::error::PersonaliseError;
use crate::fs::{GuestRead, Owner};
use std::collections::BTreeSet;

/// One user, as the rest of personalisation needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// A file of colon-separated lines.
pub(super) struct Table {
    path: &'static str,
    default_owner: Owner,
    lines: Vec<Vec<u8>>,
    present: bool,
    changed: bool,
}

impl Table {
    fn load(
        fs: &dyn GuestRead,
        path: &'static str,
        default_owner: Owner,
    ) -> Result<Self, PersonaliseError> {
        let bytes = read_bytes(fs, path)?;
        let present = bytes.is_some();
        let bytes = bytes.unwrap_or_default();
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        Ok(Table {
            path,
            default_owner,
            lines,
            present,
            changed: false,
        })
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.lines
            .iter()
            .position(|line| first_field(line) == name.as_bytes())
    }

    /// The fields of the line that starts with `name`; bytes that are not text are replaced.
    pub(super) fn find(&self, name: &str) -> Option<Vec<String>> {
        self.position(name).map(|at| fields(&self.lines[at]))
    }

    /// Every line's fields.
    pub(super) fn rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.lines.iter().map(|line| fields(line))
    }

    /// Adds a line. The caller has checked every field: none has a colon or a line break.
    pub(super) fn append(&mut self, fields: &[&str]) {
        self.lines.push(fields.join(":").into_bytes());
        self.changed = true;
    }

    /// Replaces one field of the line that starts with `name`, and nothing else of it.
    pub(super) fn set(&mut self, name: &str, field: usize, value: &str) {
        let Some(at) = self.position(name) else {
            return;
        };
        let mut parts: Vec<Vec<u8>> = self.lines[at]
            .split(|byte| *byte == b':')
            .map(<[u8]>::to_vec)
            .collect();
        let Some(part) = parts.get_mut(field) else {
            return;
        };
        if part != value.as_bytes() {
            *part = value.as_bytes().to_vec();
            self.lines[at] = parts.join(&b':');
            self.changed = true;
        }
    }

    /// Adds `member` to the comma-separated list in `field` of the line that starts with `group`.
    fn add_member(&mut self, group: &str, field: usize, member: &str) {
        let Some(row) = self.find(group) else { return };
        let Some(list) = row.get(field) else { return };
        if !list.split(',').any(|name| name == member) {
            let joined = if list.is_empty() {
                member.to_owned()
            } else {
                format!("{list},{member}")
            };
            self.set(group, field, &joined);
        }
    }

    fn save(&self, edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
        if self.changed && self.present {
            let mut content = self.lines.join(&b'\n');
            content.push(b'\n');
            edit.put_keeping(self.path, content, self.default_owner)?;
        }
        Ok(())
    }
}

fn first_field(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn fields(line: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(line)
        .split(':')
        .map(str::to_owned)
        .collect()
}

/// All account files of a guest.
pub(super) struct Accounts {
    pub(super) passwd: Table,
    pub(super) shadow: Table,
    pub(super) group: Table,
    pub(super) gshadow: Table,
    pub(super) subuid: Table,
    pub(super) subgid: Table,
}

impl Accounts {
    pub(super) fn load(fs: &dyn GuestRead) -> Result<Self, PersonaliseError> {
        let secret = Owner::root(0o600);
        let open = Owner::root(0o644);
        Ok(Accounts {
            passwd: Table::load(fs, "/etc/passwd", open)?,
            shadow: Table::load(fs, "/etc/shadow", secret)?,
            group: Table::load(fs, "/etc/group", open)?,
            gshadow: Table::load(fs, "/etc/gshadow", secret)?,
            subuid: Table::load(fs, "/etc/subuid", open)?,
            subgid: Table::load(fs, "/etc/subgid", open)?,
        })
    }

    /// The files that useradd(8) can't do without.
    pub(super) fn check_present(&self) -> Result<(), PersonaliseError> {
        for (table, file) in [
            (&self.passwd, "passwd"),
            (&self.shadow, "shadow"),
            (&self.group, "group"),
        ] {
            if !table.is_present() {
                return Err(PersonaliseError::NoAccounts { file });
            }
        }
        Ok(())
    }

    pub(super) fn save(&self, edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
        let tables = [
            &self.passwd,
            &self.shadow,
            &self.group,
            &self.gshadow,
            &self.subuid,
            &self.subgid,
        ];
        tables.iter().try_for_each(|table| table.save(edit))
    }

    pub(super) fn account(&self, name: &str) -> Option<Account> {
        let row = self.passwd.find(name)?;
        let number = |at: usize| row.get(at)?.parse().ok();
        Some(Account {
            uid: number(2)?,
            gid: number(3)?,
            home: row.get(5)?.clone(),
        })
    }

    pub(super) fn gid(&self, group: &str) -> Option<u32> {
        self.group.find(group)?.get(2)?.parse().ok()
    }

    /// The ids in the third field of `table`.
    pub(super) fn used_ids(table: &Table) -> BTreeSet<u32> {
        table
            .rows()
            .filter_map(|row| row.get(2)?.parse().ok())
            .collect()
    }

    /// Members are listed in both files; gshadow may be missing.
    pub(super) fn add_member(&mut self, group: &str, member: &str) {
        self.group.add_member(group, 3, member);
        self.gshadow.add_member(group, 3, member);
    }
}

/// What the guest's login.defs(5) says of new users, with useradd's built-in defaults.
pub(super) struct LoginDefs {
    text: String,
}

impl LoginDefs {
    pub(super) fn load(fs: &dyn GuestRead) -> Result<Self, PersonaliseError> {
        Ok(LoginDefs {
            text: read_text(fs, "/etc/login.defs")?.unwrap_or_default(),
        })
    }

    fn value(&self, key: &str) -> Option<&str> {
        let mut words = self.text.lines().map(str::split_whitespace);
        words.find_map(|mut line| (line.next() == Some(key)).then(|| line.next())?)
    }

    pub(super) fn number(&self, key: &str, default: u32) -> u32 {
        self.value(key)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    /// The mode of a new home: HOME_MODE, or what UMASK leaves.
    pub(super) fn home_mode(&self) -> u32 {
        let octal = |key| u32::from_str_radix(self.value(key)?, 8).ok();
        octal("HOME_MODE")
            .or_else(|| octal("UMASK").map(|mask| 0o777 & !mask))
            .filter(|mode| *mode <= 0o777)
            .unwrap_or(0o755)
    }
}
