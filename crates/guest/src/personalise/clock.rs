//! The guest's time zone: a link into its own zoneinfo, and Debian's /etc/timezone.

use super::edit::Editor;
use super::error::PersonaliseError;
use crate::fs::{FsError, GuestRead, Owner};

/// The largest zone file of tzdata is under 4 KiB.
const ZONE_LIMIT_BYTES: u64 = 64 << 10;
/// RFC 9636, section 3.1.
const ZONE_MAGIC: &[u8] = b"TZif";

fn zone_path(zone: &str) -> String {
    format!("/usr/share/zoneinfo/{zone}")
}

/// Whether the guest has the zone.
pub(super) fn check_zone(fs: &dyn GuestRead, zone: &str) -> Result<(), PersonaliseError> {
    let path = zone_path(zone);
    match fs.read(&path, ZONE_LIMIT_BYTES) {
        Ok(content) if content.starts_with(ZONE_MAGIC) => Ok(()),
        Ok(_) | Err(FsError::NotFound { .. } | FsError::Unsuitable { .. }) => {
            Err(PersonaliseError::UnknownZone {
                zone: zone.to_owned(),
                path,
            })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn set_zone(edit: &mut Editor<'_>, zone: &str) -> Result<(), PersonaliseError> {
    edit.link("/etc/localtime", &zone_path(zone))?;
    if edit.exists("/etc/timezone")? {
        edit.put("/etc/timezone", format!("{zone}\n"), Owner::root(0o644))?;
    }
    Ok(())
}
