//! Who may log in over ssh: `~/.ssh/authorized_keys` of users that the guest has.
//!
//! A home directory holds whatever its user has put there, links to other people's files too. So
//! everything in it is done with the user's own rights: nothing can be reached that the user could
//! not reach anyway, and what is made is the user's.

use crate::account::Account;
use crate::outcome::{Doing, Failure, Step, not_needed};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use stampo_agent_protocol::{Login, Outcome};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

const NAME: &str = "authorized_keys";
const BESIDE: &str = ".authorized_keys.stampo";

/// Replaces the keys of these users. One that fails does not stop the others.
pub(crate) fn set(logins: &[Login]) -> Step {
    if logins.is_empty() {
        return not_needed("not asked for");
    }
    let mut failed = None;
    for login in logins {
        let written = Account::find(&login.user).and_then(|account| account.write(login));
        failed = failed.or(written.err().map(|error| (&login.user, error)));
    }
    match failed {
        None => Ok(Outcome::Done),
        Some((user, error)) => Err(Failure(format!("the keys of {user}: {error}"))),
    }
}

impl Account {
    fn write(&self, login: &Login) -> Result<(), Failure> {
        let content: String = login.keys.iter().map(|key| format!("{key}\n")).collect();
        let _as_user = AsUser::become_one(self)?;
        let directory = self.directory()?;
        let what = "write ~/.ssh/authorized_keys";
        let _ = rustix::fs::unlinkat(&directory, BESIDE, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, BESIDE, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.doing(what)?);
        file.write_all(content.as_bytes()).doing(what)?;
        // The fork writes the disk that /etc is on at its end; homes may lie on another.
        let elsewhere = rustix::fs::fstat(&directory).doing(what)?.st_dev != etc_disk()?;
        if elsewhere {
            file.sync_all().doing(what)?;
        }
        rustix::fs::renameat(&directory, BESIDE, &directory, NAME).doing(what)?;
        if elsewhere {
            rustix::fs::fsync(&directory).doing(what)?;
        }
        Ok(())
    }

    /// `~/.ssh`, made where it is missing. sshd refuses keys in one that others may write to.
    fn directory(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let home = rustix::fs::open(&self.home, flags, Mode::empty()).doing("open the home")?;
        match rustix::fs::mkdirat(&home, ".ssh", Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).doing("make ~/.ssh"),
        }
        let no_link = flags | OFlags::NOFOLLOW;
        let directory = rustix::fs::openat(&home, ".ssh", no_link, Mode::empty());
        let directory = directory.doing("open ~/.ssh")?;
        rustix::fs::fchmod(&directory, Mode::RWXU).doing("protect ~/.ssh")?;
        Ok(directory)
    }
}

fn etc_disk() -> Result<u64, Failure> {
    Ok(rustix::fs::stat("/etc").doing("look at /etc")?.st_dev)
}

/// While it lives, this thread has a user's rights; the agent has no other.
struct AsUser;

impl AsUser {
    fn become_one(account: &Account) -> Result<Self, Failure> {
        let what = "take the user's rights";
        set_thread_res_gid(None, account.gid, None).doing(what)?;
        let back = AsUser;
        set_thread_res_uid(None, account.uid, None).doing(what)?;
        Ok(back)
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        let user = set_thread_res_uid(None, Uid::ROOT, None);
        let group = set_thread_res_gid(None, Gid::ROOT, None);
        // Without root's rights there is no agent: it ends, and systemd starts it anew.
        user.and(group).expect("root is the real user");
    }
}
