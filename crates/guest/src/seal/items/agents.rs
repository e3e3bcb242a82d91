//! Ids of agents that report to a server, and registrations with a vendor. Removing the id makes
//! each agent enrol as a new machine. Sources: each agent's own guide to golden images.

use super::Action::{Keep, Notice, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::rewrite::{lines, names};

const ENROLS: &str = "the server takes clones for one machine; it enrols again as a new one";

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "salt",
        "the Salt minion's id and keys",
        &[
            "/etc/salt/minion_id",
            "/etc/salt/pki/minion/*",
            "/etc/venv-salt-minion/minion_id",
            "/etc/venv-salt-minion/pki/minion/*",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "puppet",
        "the Puppet agent's keys and certificates",
        &[
            "/var/lib/puppet/ssl",
            "/etc/puppetlabs/puppet/ssl",
            "/etc/puppet/ssl",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "puppet-certname",
        "the Puppet agent's fixed name",
        &[
            "/etc/puppet/puppet.conf",
            "/etc/puppetlabs/puppet/puppet.conf",
        ],
        Rewrite(|content, _| lines::drop_keys(content, &["certname"])),
        "clones would ask for one certificate; without it the host name is used",
    ),
    row(
        "chef",
        "the Chef client's key",
        &["/etc/chef/client.pem", "/etc/cinc/client.pem"],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "chef-node-name",
        "the Chef client's fixed name",
        &["/etc/chef/client.rb", "/etc/cinc/client.rb"],
        Rewrite(|content, _| lines::drop_words(content, &["node_name"])),
        "clones would be one node; without it the host name is used",
    ),
    row(
        "cfengine",
        "the CFEngine agent's keys",
        &[
            "/var/cfengine/ppkeys/localhost.*",
            "/var/lib/cfengine3/ppkeys/localhost.*",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "zabbix-hostname",
        "the Zabbix agent's fixed name",
        &[
            "/etc/zabbix/zabbix_agentd.conf",
            "/etc/zabbix/zabbix_agent2.conf",
            "/etc/zabbix_agentd.conf",
        ],
        Rewrite(names::zabbix),
        "values of all clones would land on one host; without it the host name is used",
    ),
    row(
        "zabbix-psk",
        "the Zabbix agent's pre-shared key",
        &["/etc/zabbix/*.psk"],
        Notice(None, "give each clone a key of its own when it is made"),
        "the agent does not start without the file that its settings name",
    ),
    row(
        "wazuh",
        "the Wazuh or OSSEC agent's key",
        &["/var/ossec/etc/client.keys", "/var/ossec/queue/rids/*"],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "elastic",
        "ids of the Elastic agent and of beats",
        &[
            "/opt/Elastic/Agent/fleet.enc*",
            "/opt/Elastic/Agent/.elastic-agent.active.commit.id",
            "/etc/elastic-agent/fleet.enc*",
            "/var/lib/elastic-agent/fleet.enc*",
            "/var/lib/*beat/meta.json",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "osquery",
        "osquery's database with the host's id",
        &["/var/osquery/osquery.db", "/var/lib/osquery/osquery.db"],
        Remove,
        ENROLS,
    ),
    row(
        "crowdstrike",
        "the Falcon sensor's agent id",
        &[
            "/opt/CrowdStrike/falconstore",
            "/opt/CrowdStrike/falconstore.bak",
        ],
        Notice(
            None,
            "run `falconctl -d -f --aid` in the template before sealing",
        ),
        "the store also holds the customer's id, without which the sensor does not enrol",
    ),
    row(
        "mdatp",
        "Defender's onboarding",
        &[
            "/etc/opt/microsoft/mdatp/mdatp_onboard.json",
            "/etc/opt/microsoft/mdatp/wdavstate",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "datadog-newrelic",
        "fixed names of monitoring agents",
        &["/etc/datadog-agent/datadog.yaml", "/etc/newrelic-infra.yml"],
        Rewrite(|content, _| lines::drop_top_keys(content, &["hostname", "display_name"])),
        "values of all clones would land on one host; without it the host name is used",
    ),
    row(
        "netdata",
        "netdata's machine id and keys",
        &[
            "/var/lib/netdata/registry/*",
            "/var/lib/netdata/netdata.api.key",
            "/var/lib/netdata/bearer_tokens/*",
            "/var/lib/netdata/cloud.d/*",
        ],
        Remove,
        "parents and registries take clones for one machine; made again",
    )
    .secret(),
    row(
        "tailscale",
        "the Tailscale node's keys",
        &[
            "/var/lib/tailscale/tailscaled.state",
            "/var/lib/tailscale/tailscaled.log.conf",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "zerotier",
        "the ZeroTier node's identity",
        &[
            "/var/lib/zerotier-one/identity.secret",
            "/var/lib/zerotier-one/identity.public",
            "/var/lib/zerotier-one/authtoken.secret",
            "/var/lib/zerotier-one/peers.d/*",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "netbird",
        "the Netbird peer's key",
        &["/etc/netbird/config.json", "/var/lib/netbird/default.json"],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "teleport",
        "the Teleport node's id and certificates",
        &[
            "/var/lib/teleport/host_uuid",
            "/var/lib/teleport/proc/*",
            "/var/lib/teleport/cache/*",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "remote-desktop",
        "ids of remote support programs",
        &[
            "/etc/anydesk/service.conf",
            "/etc/anydesk/system.conf",
            "/etc/teamviewer/global.conf",
            "/root/.config/rustdesk/RustDesk.toml",
        ],
        Remove,
        "a session would open on any of the clones; made again",
    )
    .secret(),
    row(
        "scanners",
        "ids that vulnerability scanners left",
        &[
            "/etc/tenable_tag",
            "/etc/qualys/hostid",
            "/usr/local/qualys/cloud-agent/Default_Config.db",
        ],
        Remove,
        ENROLS,
    ),
    row(
        "rhsm",
        "the registration with Red Hat",
        &[
            "/etc/pki/consumer/*",
            "/etc/pki/entitlement/*",
            "/var/lib/rhsm/facts/*",
            "/var/lib/rhsm/cache/*",
            "/etc/sysconfig/rhn/systemid",
        ],
        Remove,
        "clones would use one subscription; register each clone",
    )
    .secret(),
    row(
        "insights",
        "the Insights client's machine id",
        &[
            "/etc/insights-client/machine-id",
            "/etc/insights-client/.registered",
        ],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "suse-connect",
        "the registration with SUSE",
        &[
            "/etc/zypp/credentials.d/SCCcredentials",
            "/var/lib/zypp/AnonymousUniqueId",
        ],
        Remove,
        "clones would use one subscription; register each clone",
    )
    .secret(),
    row(
        "ubuntu-pro",
        "the registration with Ubuntu Pro",
        &[
            "/var/lib/ubuntu-advantage/private/*",
            "/var/lib/ubuntu-advantage/machine-id",
            "/var/lib/ubuntu-advantage/machine-token.json",
            "/var/lib/ubuntu-advantage/machine-access-*",
        ],
        Remove,
        "clones would use one subscription; attach each clone",
    )
    .secret(),
    row(
        "landscape",
        "the registration with Landscape",
        &["/var/lib/landscape/client/*", "/etc/landscape/client.conf"],
        Remove,
        ENROLS,
    )
    .secret(),
    row(
        "snapd",
        "the device key and serial that the snap store gave",
        &["/var/lib/snapd/device/private-keys-v1/*"],
        Notice(
            None,
            "seal before snapd has registered, or start the template without snapd",
        ),
        "the key is bound to a state file that snapd does not make again",
    ),
    row(
        "popularity-contest",
        "the id of package statistics",
        &["/etc/popularity-contest.conf"],
        Rewrite(|content, _| lines::drop_keys(content, &["MY_HOSTID"])),
        "clones count as one machine; made again at first boot",
    ),
    row(
        "error-reports",
        "the id of crash reports",
        &[
            "/var/lib/whoopsie/whoopsie-id",
            "/var/lib/apport/autoreport",
        ],
        Remove,
        "clones count as one machine; made again",
    ),
    row(
        "dnf-countme",
        "weekly counters of package statistics",
        &["/var/lib/dnf/repos/*/countme"],
        Remove,
        "the age of the template would be reported; made again",
    ),
    row(
        "dnf-history",
        "which packages were asked for and why",
        &["/var/lib/dnf/history.sqlite", "/var/lib/dpkg/status"],
        Keep,
        "the package manager needs it to remove packages that nobody asked for",
    ),
];
