//! Carries out a plan. It takes no decision: everything is in the plan.
//!
//! Files that are written anew keep their owner and mode through the plan, and their SELinux
//! label through the filesystem's writer, so that no guest has to label itself again.

use super::plan::{SealPlan, Step};
use crate::fs::{FsError, GuestFs, Owner};

/// Does every change of the plan, in its order. Nothing is durable before [`GuestFs::finish`];
/// after an error the disk is to be thrown away.
pub fn apply(fs: &mut dyn GuestFs, plan: &SealPlan) -> Result<(), FsError> {
    for change in &plan.changes {
        let path = change.path.as_str();
        match &change.step {
            Step::Remove => drop(fs.remove(path)?),
            Step::RemoveTree => drop(fs.remove_all(path)?),
            Step::Write(content, owner) => {
                make_parent(fs, path)?;
                fs.write(path, &content.0, *owner)?;
            }
            Step::Symlink(target) => {
                make_parent(fs, path)?;
                fs.symlink(path, target)?;
            }
        }
    }
    Ok(())
}

fn make_parent(fs: &mut dyn GuestFs, path: &str) -> Result<(), FsError> {
    match path.rfind('/') {
        Some(at) if at > 0 => fs.create_dir_all(&path[..at], Owner::root(0o755)),
        _ => Ok(()),
    }
}
