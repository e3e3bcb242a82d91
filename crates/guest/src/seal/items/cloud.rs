//! What cloud-init, cloud agents and installers left. Sources: cloud-init "Directory layout" and
//! `cloud-init clean`; the paths of each agent.

use super::Action::{Keep, Remove};
use super::{SealItem, row};

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "cloud-init-user-data",
        "what cloud-init was told",
        &[
            "/var/lib/cloud/instances/*/user-data.txt*",
            "/var/lib/cloud/instances/*/vendor-data*.txt*",
            "/var/lib/cloud/seed/*/user-data",
            "/var/lib/cloud/seed/*/vendor-data",
        ],
        Remove,
        "it is kept in clear text, passwords included",
    )
    .secret(),
    row(
        "cloud-init-state",
        "what cloud-init did",
        &[
            "/var/lib/cloud/instance",
            "/var/lib/cloud/instances/*",
            "/var/lib/cloud/data/*",
            "/var/lib/cloud/sem/*",
            "/var/lib/cloud/seed/*",
            "/var/lib/cloud/handlers/*",
            "/var/lib/cloud/scripts/per-instance/*",
        ],
        Remove,
        "with it cloud-init takes a clone for an instance that it has set up already",
    ),
    row(
        "cloud-init-logs",
        "cloud-init's logs",
        &[
            "/var/log/cloud-init.log*",
            "/var/log/cloud-init-output.log*",
        ],
        Remove,
        "they show host keys and may show passwords",
    ),
    row(
        "cloud-init-network",
        "network configuration that cloud-init wrote",
        &[
            "/etc/network/interfaces.d/50-cloud-init",
            "/etc/network/interfaces.d/50-cloud-init.cfg",
            "/etc/netplan/50-cloud-init.yaml",
            "/etc/systemd/network/10-cloud-init-*.network",
            "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
            "/etc/NetworkManager/conf.d/99-cloud-init.conf",
            "/etc/NetworkManager/conf.d/30-cloud-init-ip6-addr-gen-mode.conf",
        ],
        Remove,
        "it is bound to the template's hardware addresses; made again for each clone",
    ),
    row(
        "cloud-init-sudo",
        "the build user's right to become root",
        &["/etc/sudoers.d/90-cloud-init-users"],
        Remove,
        "written for the user of the build; written again for the users of each clone",
    ),
    row(
        "cloud-init-config",
        "cloud-init's settings",
        &["/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*"],
        Keep,
        "settings of the template, but for those that an installer wrote",
    ),
    row(
        "installer-cloud-config",
        "cloud-init settings that an installer left, with a password hash",
        &[
            "/etc/cloud/cloud.cfg.d/99-installer.cfg",
            "/etc/cloud/cloud.cfg.d/90-installer-network.cfg",
            "/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
        ],
        Remove,
        "they carry the installer's user and stop cloud-init from setting up clones",
    )
    .secret(),
    row(
        "installer-answers",
        "answers given to the installer",
        &[
            "/root/anaconda-ks.cfg",
            "/root/original-ks.cfg",
            "/root/initial-setup-ks.cfg",
        ],
        Remove,
        "they hold password hashes",
    )
    .secret(),
    row(
        "installer-traces",
        "logs of the installer",
        &[
            "/var/log/installer",
            "/var/log/anaconda",
            "/var/log/YaST2",
            "/var/log/curtin",
            "/root/install.log*",
            "/root/inst-sys/*",
            "/root/curtin-install*",
        ],
        Remove,
        "they hold answers and the hardware of the template",
    ),
    row(
        "azure-agent",
        "the Azure agent's state",
        &["/var/lib/waagent/*", "/var/log/waagent.log*"],
        Remove,
        "certificates and the id of the template's instance",
    ),
    row(
        "google-agent",
        "the Google agent's instance id",
        &[
            "/etc/instance_id",
            "/etc/boto.cfg",
            "/var/lib/google/instance_id",
        ],
        Remove,
        "the agent takes a clone for a known instance and skips its work",
    ),
    row(
        "amazon-ssm",
        "the registration of the Amazon agent",
        &[
            "/var/lib/amazon/ssm/registration",
            "/var/lib/amazon/ssm/Vault/*",
            "/var/lib/amazon/ssm/i-*",
        ],
        Remove,
        "clones share one managed instance",
    )
    .secret(),
    row(
        "vmware-traces",
        "logs of VMware's customisation",
        &[
            "/var/log/vmware-imc",
            "/var/log/vmware-*.log*",
            "/var/log/vmware-vmsvc*",
        ],
        Remove,
        "names and addresses of the template",
    ),
    row(
        "qemu-guest-agent",
        "the guest agent's state",
        &["/var/lib/qemu-ga/qga.state"],
        Remove,
        "file handles that a running agent counted; made again",
    ),
];
