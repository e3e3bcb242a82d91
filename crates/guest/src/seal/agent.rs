//! The guest agent, put into the guest: the program, its unit and the link that enables it.
//!
//! Forks of a frozen machine need it, and it must be in the template before that ever boots. It is
//! wanted by the device of its port: where a hypervisor gives no such port, nothing waits for one.
//! What the agent does is in `crates/agent`. Only guests that can run it get it.

use super::guest::Guest;
use crate::fs::{FsError, GuestRead};
use crate::inspect::os::machine;

/// The id under which a plan lists the agent; may be used in selections.
pub const ITEM: &str = "guest-agent";
/// Where the program is.
pub const PROGRAM_PATH: &str = "/usr/lib/stampo/agent";
/// Where the unit is.
pub const UNIT_PATH: &str = "/etc/systemd/system/stampo-agent.service";
/// The link that enables the unit, in the name of the port's device as systemd escapes it
/// (systemd.unit(5), "String Escaping for Inclusion in Unit Names").
pub const WANTS_PATH: &str =
    "/etc/systemd/system/dev-virtio\\x2dports-dev.stampo.agent.0.device.wants/stampo-agent.service";
/// The unit's content.
pub const UNIT_CONTENT: &str = include_str!("agent/unit.service");
/// The program.
pub const PROGRAM: &[u8] = stampo_agent_image::AGENT;

/// The largest program that is looked at to find out what the guest runs on.
const PROGRAM_LIMIT_BYTES: u64 = 16 << 20;
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// Why the guest can't have the agent; nothing when it can.
pub(super) fn obstacle(
    reader: &dyn GuestRead,
    guest: &Guest,
) -> Result<Option<&'static str>, FsError> {
    if PROGRAM.is_empty() {
        return Ok(Some("this stampo was built without an agent"));
    }
    if !guest.systemd {
        return Ok(Some("the guest has no systemd to run it"));
    }
    let mut found = None;
    for path in SYSTEMD {
        match reader.read(path, PROGRAM_LIMIT_BYTES) {
            Ok(program) => found = found.or_else(|| machine(&program)),
            Err(FsError::NotFound { .. } | FsError::Unsuitable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(match found {
        Some(stampo_agent_image::ARCHITECTURE) => None,
        Some(_) => Some("the guest is for another processor than the agent"),
        None => Some("the guest's processor is not known"),
    })
}
