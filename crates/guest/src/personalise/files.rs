//! The user's own files and first-boot script.
//!
//! They are written last, so that a file of the user wins over what stampo wrote.

use super::account::Accounts;
use super::edit::{Editor, any_exists};
use super::error::PersonaliseError;
use crate::fs::{GuestRead, Owner};
use stampo_core::personalisation::{File, Personalisation};

/// The script, run by the unit below.
const SCRIPT: &str = "/usr/lib/stampo/first-boot-user";
/// The unit. The marker is made before the script starts: a script that fails half-way, or whose
/// guest loses power, is not run a second time on top of its own traces.
const UNIT: &str = "\
[Unit]
Description=First-boot script of this guest
Wants=network-online.target
After=network-online.target stampo-firstboot.service
ConditionPathExists=!/var/lib/stampo/first-boot-user.started

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=/bin/touch /var/lib/stampo/first-boot-user.started
ExecStart=/usr/lib/stampo/first-boot-user
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
";
const UNIT_NAME: &str = "stampo-user-script.service";

/// Whether the guest runs systemd.
pub(super) fn has_systemd(fs: &dyn GuestRead) -> Result<bool, PersonaliseError> {
    Ok(any_exists(
        fs,
        &["/lib/systemd/systemd", "/usr/lib/systemd/systemd"],
    )?)
}

/// Owners must exist in the guest, or come with the request.
pub(super) fn check_files(
    fs: &dyn GuestRead,
    request: &Personalisation,
) -> Result<(), PersonaliseError> {
    if request.first_boot_script.is_some() && !has_systemd(fs)? {
        return Err(PersonaliseError::NoSystemd {
            what: "run a first-boot script",
        });
    }
    let accounts = Accounts::load(fs)?;
    let comes = |name: &str| request.users.iter().any(|user| user.name == name);
    for file in &request.files {
        if !comes(&file.owner) {
            uid(&accounts, file)?;
        }
        if !comes(&file.group) {
            gid(&accounts, file)?;
        }
    }
    Ok(())
}

fn uid(accounts: &Accounts, file: &File) -> Result<u32, PersonaliseError> {
    let found = accounts.account(&file.owner).map(|account| account.uid);
    found
        .or((file.owner == "root").then_some(0))
        .ok_or_else(|| unknown(file, "user", &file.owner))
}

fn gid(accounts: &Accounts, file: &File) -> Result<u32, PersonaliseError> {
    let found = accounts.gid(&file.group);
    found
        .or((file.group == "root").then_some(0))
        .ok_or_else(|| unknown(file, "group", &file.group))
}

fn unknown(file: &File, kind: &'static str, name: &str) -> PersonaliseError {
    PersonaliseError::UnknownOwner {
        path: file.path.clone(),
        kind,
        name: name.to_owned(),
    }
}

pub(super) fn write_files(
    edit: &mut Editor<'_>,
    request: &Personalisation,
) -> Result<(), PersonaliseError> {
    let accounts = Accounts::load(edit.reader())?;
    for file in &request.files {
        let owner = Owner {
            uid: uid(&accounts, file)?,
            gid: gid(&accounts, file)?,
            mode: file.mode,
        };
        edit.put(&file.path, &file.content, owner)?;
    }
    Ok(())
}

pub(super) fn write_script(edit: &mut Editor<'_>, script: &str) -> Result<(), PersonaliseError> {
    // Without an interpreter line the kernel can't run it.
    let interpreter = if script.starts_with("#!") {
        ""
    } else {
        "#!/bin/sh\n"
    };
    let end = if script.ends_with('\n') { "" } else { "\n" };
    edit.put(
        SCRIPT,
        format!("{interpreter}{script}{end}"),
        Owner::root(0o700),
    )?;
    edit.remove("/var/lib/stampo/first-boot-user.started")?;
    edit.enable_unit(UNIT_NAME, "multi-user.target", UNIT)?;
    Ok(())
}
