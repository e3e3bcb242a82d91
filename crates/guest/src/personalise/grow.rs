//! Growing the root filesystem to its partition, at the first boot.
//!
//! The partition is grown offline by whoever made the disk larger; the filesystem is grown by the
//! guest's own kernel, online. The unit is ours: `x-systemd.growfs` of systemd.mount(5) works only
//! with a line for `/` in fstab, which many images lack, and `systemd-growfs-root.service` exists
//! from systemd 253 on, while the program that both run exists since 236.

use super::edit::{Editor, any_exists};
use super::error::PersonaliseError;
use crate::fs::GuestRead;

const PROGRAMS: [&str; 2] = [
    "/usr/lib/systemd/systemd-growfs",
    "/lib/systemd/systemd-growfs",
];
const UNIT_NAME: &str = "stampo-growfs.service";

fn unit(program: &str) -> String {
    format!(
        "\
[Unit]
Description=Grow the root filesystem to its partition
DefaultDependencies=no
Conflicts=shutdown.target
After=systemd-remount-fs.service
Before=local-fs.target shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} /
TimeoutSec=infinity

[Install]
WantedBy=local-fs.target
"
    )
}

/// Whether the guest can grow its filesystem.
pub(super) fn check_grow(fs: &dyn GuestRead) -> Result<(), PersonaliseError> {
    if any_exists(fs, &PROGRAMS)? {
        Ok(())
    } else {
        Err(PersonaliseError::NoSystemd {
            what: "grow the root filesystem",
        })
    }
}

pub(super) fn grow_root(edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
    for program in PROGRAMS {
        if edit.exists(program)? {
            edit.enable_unit(UNIT_NAME, "local-fs.target", &unit(program))?;
            break;
        }
    }
    Ok(())
}
