//! The table of identity items inside a guest: name, path, how the value is taken out, who makes
//! it when it is missing, and why sharing it does no harm (mostly: it does).
//!
//! Adding an item is adding a row. Rows are ordered by area: system, network, storage, keys,
//! registration, agents, platforms. Items that the host gives are in `shell.rs`.

use super::source::{Content, FactSource};
use super::{Hasher, fact};
use stampo_core::identity::{FactValue, IdentityFact};

/// How an item's value is taken out of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extract {
    /// The whole file without white space at its ends; an empty file has no value.
    Whole,
    /// The first `n` words, so that a comment at the end does not count.
    Words(usize),
    /// What follows this text in the first line that begins with it.
    After(&'static str),
    /// A machine-id(5): not empty and not `uninitialized`.
    MachineId,
}

/// One identity item.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Its stable name. `{}` stands for what `*` in the path matches.
    pub id: &'static str,
    /// The file. One `*`, in the last component, matches any text.
    pub path: &'static str,
    /// How the value is taken out.
    pub extract: Extract,
    /// The item is expected where one of these exists; otherwise a missing file says nothing.
    pub applies: &'static [&'static str],
    /// What makes the value at the first boot, or the first start of its program.
    pub made_by: &'static [&'static str],
    /// Why clones may share the template's value.
    pub shared_because: Option<&'static str>,
}

impl Item {
    /// Whether `item`, the name of a fact, is of this row.
    pub fn names(&self, item: &str) -> bool {
        match self.id.split_once("{}") {
            None => self.id == item,
            Some((begin, end)) => {
                item.len() > begin.len() + end.len()
                    && item.starts_with(begin)
                    && item.ends_with(end)
            }
        }
    }
}

/// An item that has no value until its program or its user makes one.
const fn plain(id: &'static str, path: &'static str, extract: Extract) -> Item {
    Item {
        id,
        path,
        extract,
        applies: &[],
        made_by: &[],
        shared_because: None,
    }
}

/// An item that every guest with `applies` has, made by one of `made_by` when it is missing.
const fn made(
    id: &'static str,
    path: &'static str,
    extract: Extract,
    applies: &'static [&'static str],
    made_by: &'static [&'static str],
) -> Item {
    Item {
        id,
        path,
        extract,
        applies,
        made_by,
        shared_because: None,
    }
}

const SYSTEMD: &[&str] = &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
const SSHD: &[&str] = &["/usr/sbin/sshd"];
const DOCKER: &[&str] = &["/usr/bin/dockerd", "/usr/sbin/dockerd"];
/// The first-boot program that sealing puts into a guest, and distributions' own.
const FIRST_BOOT: &[&str] = &["/usr/lib/stampo/firstboot"];
const SSH_KEYGEN: &[&str] = &[
    "/usr/lib/stampo/firstboot",
    "/usr/lib/systemd/system/sshd-keygen.target",
    "/usr/bin/cloud-init",
    "/etc/init.d/sshd",
];

use Extract::{After, MachineId, Whole, Words};

/// All items.
pub const ITEMS: &[Item] = &[
    // System.
    made("machine-id", "/etc/machine-id", MachineId, SYSTEMD, SYSTEMD),
    plain("dbus.machine-id", "/var/lib/dbus/machine-id", MachineId),
    plain("hostname", "/etc/hostname", Whole),
    plain("hosts.own-name", "/etc/hosts", After("127.0.1.1")),
    plain("mailname", "/etc/mailname", Whole),
    plain(
        "postfix.myhostname",
        "/etc/postfix/main.cf",
        After("myhostname"),
    ),
    made(
        "random-seed",
        "/var/lib/systemd/random-seed",
        Whole,
        SYSTEMD,
        SYSTEMD,
    ),
    plain("random-seed.legacy", "/var/lib/random-seed", Whole),
    plain(
        "systemd.credential-secret",
        "/var/lib/systemd/credential.secret",
        Whole,
    ),
    plain("hostid", "/etc/hostid", Whole),
    plain("uuid.clock", "/var/lib/libuuid/clock.txt", Whole),
    plain(
        "popularity-contest",
        "/etc/popularity-contest.conf",
        After("MY_HOSTID="),
    ),
    // Network.
    plain(
        "dhclient.duid.{}",
        "/var/lib/dhcp/*.leases",
        After("default-duid"),
    ),
    plain("dhcpcd.duid", "/var/lib/dhcpcd/duid", Whole),
    plain("dhcpcd.duid.etc", "/etc/dhcpcd.duid", Whole),
    plain("dhcpcd.secret", "/var/lib/dhcpcd/secret", Whole),
    plain(
        "networkmanager.secret-key",
        "/var/lib/NetworkManager/secret_key",
        Whole,
    ),
    plain(
        "networkmanager.connection.{}",
        "/etc/NetworkManager/system-connections/*.nmconnection",
        After("uuid="),
    ),
    plain("wicked.duid", "/var/lib/wicked/duid.xml", Whole),
    plain("wicked.iaid", "/var/lib/wicked/iaid.xml", Whole),
    plain(
        "udev.persistent-net",
        "/etc/udev/rules.d/70-persistent-net.rules",
        Whole,
    ),
    plain(
        "openvswitch.system-id",
        "/etc/openvswitch/system-id.conf",
        Whole,
    ),
    plain(
        "wireguard.key.{}",
        "/etc/wireguard/*.conf",
        After("PrivateKey"),
    ),
    plain(
        "tailscale.state",
        "/var/lib/tailscale/tailscaled.state",
        Whole,
    ),
    plain(
        "zerotier.identity",
        "/var/lib/zerotier-one/identity.secret",
        Whole,
    ),
    plain("netbird.config", "/etc/netbird/config.json", Whole),
    // Storage.
    made(
        "iscsi.initiator-name",
        "/etc/iscsi/initiatorname.iscsi",
        After("InitiatorName="),
        &["/sbin/iscsid", "/usr/sbin/iscsid"],
        &[
            "/usr/lib/stampo/firstboot",
            "/usr/lib/systemd/system/iscsi-init.service",
        ],
    ),
    made(
        "nvme.hostnqn",
        "/etc/nvme/hostnqn",
        Whole,
        &["/usr/sbin/nvme"],
        FIRST_BOOT,
    ),
    made(
        "nvme.hostid",
        "/etc/nvme/hostid",
        Whole,
        &["/usr/sbin/nvme"],
        FIRST_BOOT,
    ),
    plain(
        "lvm.devices",
        "/etc/lvm/devices/system.devices",
        After("HOSTID="),
    ),
    plain(
        "glusterd.uuid",
        "/var/lib/glusterd/glusterd.info",
        After("UUID="),
    ),
    plain(
        "cloud-init.instance-id",
        "/var/lib/cloud/data/instance-id",
        Whole,
    ),
    // Keys.
    made(
        "ssh.host-key.{}",
        "/etc/ssh/ssh_host_*_key.pub",
        Words(2),
        SSHD,
        SSH_KEYGEN,
    ),
    made(
        "ssl.snakeoil-key",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        Whole,
        &["/usr/sbin/make-ssl-cert"],
        FIRST_BOOT,
    ),
    plain("pki.tls-key.{}", "/etc/pki/tls/private/*.key", Whole),
    plain("kerberos.keytab", "/etc/krb5.keytab", Whole),
    plain("samba.secrets", "/var/lib/samba/private/secrets.tdb", Whole),
    plain(
        "sssd.secrets-key",
        "/var/lib/sss/secrets/.secrets.mkey",
        Whole,
    ),
    plain("dkms.mok-key", "/var/lib/dkms/mok.key", Whole),
    plain("shim.mok-key", "/var/lib/shim-signed/mok/MOK.priv", Whole),
    // Registration.
    plain("rhsm.consumer-key", "/etc/pki/consumer/key.pem", Whole),
    plain("rhn.system-id", "/etc/sysconfig/rhn/systemid", Whole),
    plain(
        "insights.machine-id",
        "/etc/insights-client/machine-id",
        Whole,
    ),
    plain(
        "suse.credentials",
        "/etc/zypp/credentials.d/SCCcredentials",
        Whole,
    ),
    plain(
        "zypp.anonymous-id",
        "/var/lib/zypp/AnonymousUniqueId",
        Whole,
    ),
    plain(
        "ubuntu-pro.token",
        "/var/lib/ubuntu-advantage/private/machine-token.json",
        Whole,
    ),
    plain(
        "landscape.client",
        "/var/lib/landscape/client/broker.bpickle",
        Whole,
    ),
    plain(
        "snapd.device-key.{}",
        "/var/lib/snapd/device/private-keys-v1/*",
        Whole,
    ),
    plain("whoopsie.id", "/var/lib/whoopsie/whoopsie-id", Whole),
    // Agents.
    plain(
        "puppet.key.{}",
        "/etc/puppetlabs/puppet/ssl/private_keys/*.pem",
        Whole,
    ),
    plain(
        "puppet.key.legacy.{}",
        "/var/lib/puppet/ssl/private_keys/*.pem",
        Whole,
    ),
    plain("salt.minion-id", "/etc/salt/minion_id", Whole),
    plain("salt.minion-key", "/etc/salt/pki/minion/minion.pem", Whole),
    plain(
        "salt.venv-minion-key",
        "/etc/venv-salt-minion/pki/minion/minion.pem",
        Whole,
    ),
    plain("chef.client-key", "/etc/chef/client.pem", Whole),
    plain("cfengine.key", "/var/cfengine/ppkeys/localhost.priv", Whole),
    plain(
        "zabbix.hostname",
        "/etc/zabbix/zabbix_agentd.conf",
        After("Hostname="),
    ),
    plain("wazuh.client-keys", "/var/ossec/etc/client.keys", Whole),
    plain("elastic.fleet", "/opt/Elastic/Agent/fleet.enc", Whole),
    plain("filebeat.id", "/var/lib/filebeat/meta.json", Whole),
    plain("metricbeat.id", "/var/lib/metricbeat/meta.json", Whole),
    plain("teleport.host-uuid", "/var/lib/teleport/host_uuid", Whole),
    plain("nessus.tag", "/etc/tenable_tag", Whole),
    plain("qualys.hostid", "/etc/qualys/hostid", Whole),
    plain(
        "mdatp.onboard",
        "/etc/opt/microsoft/mdatp/mdatp_onboard.json",
        Whole,
    ),
    plain(
        "netdata.registry-id",
        "/var/lib/netdata/registry/netdata.public.unique.id",
        Whole,
    ),
    plain("netdata.api-key", "/var/lib/netdata/netdata.api.key", Whole),
    plain("google.instance-id", "/etc/google_instance_id", Whole),
    plain(
        "amazon-ssm.registration",
        "/var/lib/amazon/ssm/registration",
        Whole,
    ),
    plain(
        "qemu-guest-agent.state",
        "/var/lib/qemu-ga/qga.state",
        Whole,
    ),
    // Platforms.
    made("docker.key", "/etc/docker/key.json", Whole, DOCKER, DOCKER),
    plain("docker.engine-id", "/var/lib/docker/engine-id", Whole),
    plain(
        "docker.swarm",
        "/var/lib/docker/swarm/docker-state.json",
        Whole,
    ),
    plain(
        "kubelet.client-key",
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
        Whole,
    ),
    plain(
        "kubelet.serving-key",
        "/var/lib/kubelet/pki/kubelet.key",
        Whole,
    ),
    plain("k3s.node-password", "/etc/rancher/node/password", Whole),
    plain("consul.node-id", "/var/lib/consul/node-id", Whole),
    plain("nomad.client-id", "/var/lib/nomad/client/client-id", Whole),
    plain(
        "mysql.server-uuid",
        "/var/lib/mysql/auto.cnf",
        After("server-uuid="),
    ),
    plain("rabbitmq.cookie", "/var/lib/rabbitmq/.erlang.cookie", Whole),
    plain(
        "jenkins.identity",
        "/var/lib/jenkins/identity.key.enc",
        Whole,
    ),
    plain(
        "gitlab-runner.token",
        "/etc/gitlab-runner/config.toml",
        After("token"),
    ),
    plain(
        "grafana.secret-key",
        "/etc/grafana/grafana.ini",
        After("secret_key"),
    ),
    plain("redis.cluster", "/var/lib/redis/nodes.conf", Whole),
    plain(
        "libvirt.host-uuid",
        "/etc/libvirt/libvirtd.conf",
        After("host_uuid"),
    ),
    plain("boot.entry-token", "/etc/kernel/entry-token", Whole),
];

/// Adds the facts of one row: one, none, or one for each file that its pattern matches.
pub(super) fn read_item(
    item: &Item,
    source: &dyn FactSource,
    hasher: &Hasher<'_>,
    all: &mut Vec<IdentityFact>,
) {
    let matches = match matching(item, source) {
        Ok(matches) => matches,
        Err(why) => return all.push(fact(&class(item), item.path, FactValue::Unknown(why))),
    };
    let mut found = false;
    for (id, path) in matches {
        let value = match source.content(&path) {
            Content::Absent => continue,
            Content::Unreadable(why) => FactValue::Unknown(why),
            Content::Bytes(bytes) => match value(item.extract, &bytes) {
                Some(value) => hasher.present(&id, &value),
                None => continue,
            },
        };
        found = true;
        all.push(fact(&id, &path, value));
    }
    let expected = || item.applies.iter().any(|path| source.exists(path));
    if !found && !item.applies.is_empty() && expected() {
        let value = if item.made_by.iter().any(|path| source.exists(path)) {
            FactValue::Regenerated
        } else {
            FactValue::Unknown("it is missing, and nothing was found that would make it".to_owned())
        };
        all.push(fact(&class(item), item.path, value));
    }
}

/// The name of a row with a pattern, for when nothing matches: `ssh.host-key`.
fn class(item: &Item) -> String {
    item.id.replace(".{}", "").replace("{}", "")
}

/// The names and paths that a row stands for.
fn matching(item: &Item, source: &dyn FactSource) -> Result<Vec<(String, String)>, String> {
    let Some((begin, end)) = item.path.split_once('*') else {
        return Ok(vec![(item.id.to_owned(), item.path.to_owned())]);
    };
    let (directory, begin) = begin.rsplit_once('/').unwrap_or(("", begin));
    let mut matches = Vec::new();
    for name in source.list(directory)? {
        let middle = name
            .strip_prefix(begin)
            .and_then(|rest| rest.strip_suffix(end));
        if let Some(middle) = middle.filter(|middle| !middle.is_empty()) {
            matches.push((item.id.replace("{}", middle), format!("{directory}/{name}")));
        }
    }
    Ok(matches)
}

/// The value, or `None` where the file holds a placeholder.
fn value(extract: Extract, bytes: &[u8]) -> Option<Vec<u8>> {
    let trimmed = bytes.trim_ascii();
    let value = match extract {
        Whole => trimmed.to_vec(),
        MachineId if trimmed == b"uninitialized" => Vec::new(),
        MachineId => trimmed.to_ascii_lowercase(),
        Words(count) => {
            let words = trimmed
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty());
            words.take(count).collect::<Vec<_>>().join(&b' ')
        }
        After(begin) => {
            let mut lines = bytes
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii_start);
            let rest = lines.find_map(|line| line.strip_prefix(begin.as_bytes()))?;
            let clean = |byte: &u8| *byte != b'"' && *byte != b';';
            rest.trim_ascii().iter().copied().filter(clean).collect()
        }
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_well_formed() {
        let mut ids = BTreeSet::new();
        for item in ITEMS {
            assert!(ids.insert(item.id), "{} stands twice", item.id);
            assert!(item.path.starts_with('/'), "{}", item.id);
            let (directory, name) = item.path.rsplit_once('/').expect("absolute");
            assert!(
                !directory.contains('*'),
                "{}: '*' only in the last component",
                item.id
            );
            assert!(name.matches('*').count() <= 1, "{}", item.id);
            assert_eq!(item.id.contains("{}"), name.contains('*'), "{}", item.id);
            assert_eq!(
                item.applies.is_empty(),
                item.made_by.is_empty(),
                "{}",
                item.id
            );
        }
    }

    #[test]
    fn values_without_placeholders_and_comments() {
        assert_eq!(value(Whole, b" a b\n"), Some(b"a b".to_vec()));
        assert_eq!(value(Whole, b"\n"), None);
        assert_eq!(value(MachineId, b"uninitialized\n"), None);
        assert_eq!(value(MachineId, b"AB\n"), Some(b"ab".to_vec()));
        assert_eq!(
            value(Words(2), b"ssh-ed25519 AAAA root@vm\n"),
            Some(b"ssh-ed25519 AAAA".to_vec())
        );
        assert_eq!(
            value(After("InitiatorName="), b"## x\nInitiatorName=iqn.a:b\n"),
            Some(b"iqn.a:b".to_vec())
        );
        assert_eq!(value(After("InitiatorName="), b"GenerateName=yes\n"), None);
        assert_eq!(
            value(After("default-duid"), b"default-duid \"\\000\";\n"),
            Some(b"\\000".to_vec())
        );
    }
}
