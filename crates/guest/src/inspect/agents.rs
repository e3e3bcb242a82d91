//! Guest agents: programs that let the hypervisor talk with the guest.

use super::look::Look;
use super::services::Services;
use serde::{Deserialize, Serialize};

/// A guest agent that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestAgent {
    /// Its name, for example `qemu-guest-agent`.
    pub name: String,
    /// Its program.
    pub path: String,
    /// Whether something starts it. `false` as well when it is masked.
    pub enabled: bool,
}

struct Known {
    name: &'static str,
    programs: &'static [&'static str],
    units: &'static [&'static str],
    /// A udev rule that starts it when its device appears.
    rules: &'static [&'static str],
}

const AGENTS: &[Known] = &[
    Known {
        name: "qemu-guest-agent",
        programs: &["/usr/sbin/qemu-ga", "/usr/bin/qemu-ga"],
        units: &[
            "qemu-guest-agent.service",
            "qemu-guest-agent",
            "qemu-ga.service",
        ],
        rules: &[
            "/usr/lib/udev/rules.d/60-qemu-guest-agent.rules",
            "/lib/udev/rules.d/60-qemu-guest-agent.rules",
            "/usr/lib/udev/rules.d/99-qemu-guest-agent.rules",
        ],
    },
    Known {
        name: "open-vm-tools",
        programs: &["/usr/bin/vmtoolsd"],
        units: &["open-vm-tools.service", "vmtoolsd.service", "open-vm-tools"],
        rules: &[],
    },
    Known {
        name: "hyperv-daemons",
        programs: &["/usr/sbin/hv_kvp_daemon"],
        units: &["hv-kvp-daemon.service", "hypervkvpd.service"],
        rules: &[],
    },
    Known {
        name: "spice-vdagent",
        programs: &["/usr/sbin/spice-vdagentd", "/usr/bin/spice-vdagentd"],
        units: &[
            "spice-vdagentd.service",
            "spice-vdagentd.socket",
            "spice-vdagent",
        ],
        rules: &["/usr/lib/udev/rules.d/70-spice-vdagentd.rules"],
    },
    Known {
        name: "walinuxagent",
        programs: &["/usr/sbin/waagent", "/usr/bin/waagent"],
        units: &["walinuxagent.service", "waagent.service"],
        rules: &[],
    },
];

/// The agents that are installed.
pub fn read(look: &mut Look<'_>, services: &Services) -> Vec<GuestAgent> {
    let installed = |known: &Known| {
        let path = look.first_of(known.programs)?;
        let has_rule = look.first_of(known.rules).is_some();
        let mine = services
            .units
            .iter()
            .filter(|unit| known.units.contains(&unit.unit.as_str()));
        let (mut started, mut masked) = (has_rule, false);
        for unit in mine {
            masked |= unit.masked;
            started |= !unit.wanted_by.is_empty();
        }
        let enabled = started && !masked;
        Some(GuestAgent {
            name: known.name.into(),
            path: path.into(),
            enabled,
        })
    };
    AGENTS.iter().filter_map(installed).collect()
}
