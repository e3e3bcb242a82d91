//! Users of the guest, as passwd(5) and group(5) have them. Other directories (NSS) are not asked:
//! the agent is static.

use crate::files::text;
use crate::outcome::Failure;
use rustix::fs::{Gid, Uid};

/// A line of passwd(5).
pub(crate) struct Account {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
    pub home: String,
    pub shell: String,
}

impl Account {
    pub fn find(user: &str) -> Result<Self, Failure> {
        let users = text("/etc/passwd").unwrap_or_default();
        let fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == user);
        let account = fields.and_then(|fields| {
            let number = |at: usize| fields.get(at)?.parse().ok();
            Some(Account {
                name: user.to_owned(),
                uid: Uid::from_raw(number(2)?),
                gid: Gid::from_raw(number(3)?),
                home: (*fields.get(5)?).to_owned(),
                shell: fields.get(6).copied().unwrap_or_default().to_owned(),
            })
        });
        account.ok_or_else(|| Failure("the guest has no such user".into()))
    }

    /// Its own group, and those that name it.
    pub fn groups(&self) -> Vec<Gid> {
        let groups = text("/etc/group").unwrap_or_default();
        let named = groups.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let (number, members) = (fields.next()?.parse().ok()?, fields.next()?);
            let is_member = members.split(',').any(|member| member == self.name);
            is_member.then(|| Gid::from_raw(number))
        });
        let mut all = vec![self.gid];
        all.extend(named.filter(|group| *group != self.gid));
        all
    }
}
