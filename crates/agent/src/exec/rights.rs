//! A command with a user's rights instead of root's.
#![expect(
    unsafe_code,
    reason = "the standard library sets no supplementary groups before it gives up root"
)]

use crate::account::Account;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the command run as this user, with its groups: after the fork, as login programs do it.
pub(super) fn give_up(command: &mut Command, account: Account) {
    let groups = account.groups();
    let (uid, gid) = (account.uid, account.gid);
    let become_user = move || {
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work may be done. This makes three
    // system calls on values that were made before, and allocates nothing.
    unsafe { command.pre_exec(become_user) };
}
