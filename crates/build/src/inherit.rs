//! A recipe that starts `from` a published version and only adds to it.
//!
//! The version's own recipe and package lock are in its record; the child is both together, built
//! anew: the parent's packages at the parent's versions, the additions on top. Nothing of the
//! parent's *disk* is used, so no code from a disk ever runs on the host, and a parent that was
//! imported rather than built has no recipe to add to.
//!
//! A package that the addition draws in may need a newer version of a locked one; apt then says
//! which. Leaving the parent's lock out (a plain copy of its recipe) is the answer.

use crate::lock::PackageLock;
use crate::recipe::{Recipe, RecipeFile};
use crate::validate::RecipeError;

/// Why a recipe can't be added to a version.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The child says something that only the parent may say.
    #[error("change {0} of a version that is only added to: leave it out, or leave out 'from'")]
    NotAnAddition(&'static str),
    /// The sum of both can't be built.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// The recipe of `parent` with the additions of the child: `written` is the child's file and
/// `child` the same with its files read. `parent_lock` is the lock that the parent was built with.
pub fn inherit(
    parent: &Recipe,
    parent_lock: Option<&PackageLock>,
    written: &RecipeFile,
    child: &Recipe,
) -> Result<Recipe, InheritError> {
    only_adds(written)?;
    let mut sum = parent.clone();
    sum.from.clone_from(&child.from);
    sum.lock = child.lock.clone().or_else(|| parent_lock.cloned());
    sum.source_date_epoch = child.source_date_epoch.or(parent.source_date_epoch);
    if !child.description.is_empty() {
        sum.description.clone_from(&child.description);
    }
    sum.labels.extend(child.labels.clone());
    sum.packages.extend(child.packages.iter().cloned());
    sum.services
        .enable
        .extend(child.services.enable.iter().cloned());
    sum.services
        .disable
        .extend(child.services.disable.iter().cloned());
    sum.services
        .mask
        .extend(child.services.mask.iter().cloned());
    sum.sysctl.extend(child.sysctl.clone());
    sum.files
        .retain(|file| !child.files.iter().any(|new| new.path == file.path));
    sum.files.extend(child.files.iter().cloned());
    sum.users
        .retain(|user| !child.users.iter().any(|new| new.name == user.name));
    sum.users.extend(child.users.iter().cloned());
    if let Some(hardware) = &written.hardware {
        sum.hardware = hardware.clone();
    }
    if let Some(disk) = &written.disk {
        sum.disk.size = sum.disk.size.max(disk.size);
    }
    sum.guest_agent |= written.guest_agent == Some(true);
    sum.ssh_server |= written.ssh_server == Some(true);
    sum.cloud_init |= written.cloud_init == Some(true);
    sum.check()?;
    Ok(sum)
}

/// Refuses keys that would make another system of the parent.
fn only_adds(written: &RecipeFile) -> Result<(), InheritError> {
    let disk = written.disk.as_ref();
    let default = crate::recipe::Disk::default();
    let changes = [
        ("release", written.release.is_some()),
        ("components", written.components.is_some()),
        ("mirror", written.mirror.is_some()),
        ("sources", !written.sources.is_empty()),
        ("snapshot", written.snapshot.is_some()),
        ("recommends", written.recommends.is_some()),
        ("slim", written.slim.is_some()),
        ("kernel", written.kernel.is_some()),
        ("kernel_command_line", written.kernel_command_line.is_some()),
        ("locale", written.locale.is_some()),
        ("time_zone", written.time_zone.is_some()),
        (
            "disk.boot",
            disk.is_some_and(|disk| disk.boot != default.boot),
        ),
        ("guest_agent", written.guest_agent == Some(false)),
        ("ssh_server", written.ssh_server == Some(false)),
        ("cloud_init", written.cloud_init == Some(false)),
    ];
    match changes.into_iter().find(|(_, changed)| *changed) {
        Some((key, _)) => Err(InheritError::NotAnAddition(key)),
        None => Ok(()),
    }
}
