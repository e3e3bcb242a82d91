//! Time, names, and what reaches a clone through the network.

use super::{list, row};
use crate::check::Severity::{Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};

const CLOCKS: &[&str] = &[
    "chrony.service",
    "chronyd",
    "chronyd.service",
    "ntp.service",
    "ntpd",
    "ntpd.service",
    "ntpsec.service",
    "openntpd.service",
    "systemd-timesyncd.service",
];
const FIREWALLS: &[&str] = &[
    "firewalld.service",
    "iptables",
    "iptables.service",
    "netfilter-persistent.service",
    "nftables",
    "nftables.service",
    "ufw.service",
];

/// The settings that make a router.
const FORWARDING: &[&str] = &[
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.forwarding",
    "net.ipv6.conf.all.forwarding",
];

pub(super) const CHECKS: &[Check] = &[
    row("network.clock", "the clock is kept right", Medium, When::Services, Ask(clock))
        .why("logs, certificates and tickets of clones do not fit together otherwise")
        .mend("guest# apt-get install systemd-timesyncd")
        .maps(&["NIST AU-8", "NIST SC-45"])
        .reads(&["/etc/systemd/system", "/usr/lib/systemd/system"])
        .with(&[list("any-of", CLOCKS)]),
    row("network.firewall", "a firewall starts", Low, When::Services, Ask(firewall))
        .why("a service that nobody meant to offer is then not reached")
        .mend("guest# systemctl enable nftables")
        .maps(&["NIST SC-7"])
        .reads(&["/etc/systemd/system", "/usr/lib/systemd/system"])
        .with(&[list("any-of", FIREWALLS)]),
    row("network.forwarding", "the guest does not forward packets", Medium, When::Always, Ask(forwarding))
        .why("a clone with two networks joins them behind every firewall between them")
        .mend("guest# echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/90-forward.conf")
        .maps(&["NIST AC-4", "NIST CM-7"])
        .reads(&["/etc/sysctl.d", "/etc/sysctl.conf", "/usr/lib/sysctl.d"]),
    row("network.name-servers", "no name server is written down", Medium, When::Always, Ask(name_servers))
        .why("a clone in another network asks a server that it can't reach, or should not ask")
        .maps(&["NIST SC-20"])
        .reads(&["/etc/resolv.conf"])
        .with(&[list("allow", &[])]),
    row("network.hosts", "no other machine is written into hosts", Low, When::Always, Ask(hosts))
        .why("the entry stays when the machine moves, and no name server is asked")
        .mend("guest# sed -i '/NAME/d' /etc/hosts")
        .maps(&["NIST SC-20"])
        .reads(&["/etc/hosts"])
        .with(&[list("allow", &[])]),
    row("network.datasources", "cloud-init asks few places for its data", Low, When::CloudInit, Ask(datasources))
        .why("it waits for services that are not there, and believes whoever answers in their place")
        .mend("guest# echo 'datasource_list: [NoCloud, None]' > /etc/cloud/cloud.cfg.d/90-datasources.cfg")
        .maps(&["NIST CM-7"])
        .reads(&["/etc/cloud"])
        .with(&[list("allow", &["NoCloud", "ConfigDrive", "None"])]),
];

fn any_started(inquiry: &Inquiry<'_>, what: &str) -> Answer {
    let wanted = inquiry.list("any-of");
    if wanted.iter().any(|unit| inquiry.is_started(unit)) {
        return Answer::pass();
    }
    Answer::fail(what, format!("none of {} starts", wanted.join(", ")))
}

fn clock(inquiry: &Inquiry<'_>) -> Answer {
    any_started(inquiry, "clock")
}

fn firewall(inquiry: &Inquiry<'_>) -> Answer {
    any_started(inquiry, "firewall")
}

fn forwarding(inquiry: &Inquiry<'_>) -> Answer {
    let values = inquiry.evidence.files.sysctl.iter();
    let found = values
        .filter(|(key, setting)| FORWARDING.contains(&key.as_str()) && setting.value != "0")
        .map(|(key, setting)| {
            let source = setting.source.as_deref().unwrap_or("sysctl");
            Found::fail(source, format!("{key} is {}", setting.value))
        });
    Answer::Looked(found.collect())
}

fn name_servers(inquiry: &Inquiry<'_>) -> Answer {
    let servers = inquiry
        .evidence
        .files
        .resolver
        .iter()
        .flat_map(|resolver| &resolver.name_servers);
    let is_own = |server: &str| server.starts_with("127.") || server == "::1";
    let foreign = servers.filter(|server| !is_own(server) && !inquiry.is_listed("allow", server));
    let mut found: Vec<Found> = foreign
        .map(|server| Found::fail("/etc/resolv.conf", format!("it names {server}")))
        .collect();
    let elsewhere = inquiry.proven(&["net.name-servers"]);
    found.extend(
        elsewhere
            .into_iter()
            .filter(|found| found.path != "/etc/resolv.conf"),
    );
    Answer::Looked(found)
}

fn hosts(inquiry: &Inquiry<'_>) -> Answer {
    let is_usual = |address: &str| {
        address.starts_with("127.")
            || ["::1", "fe00::0", "ff00::0", "ff02::1", "ff02::2", "ff02::3"].contains(&address)
    };
    let lines = inquiry.evidence.files.hosts.iter();
    let found = lines
        .filter(|line| !is_usual(&line.address) && !inquiry.is_listed("allow", &line.address))
        .map(|line| {
            let names = line.names.join(", ");
            Found::fail("/etc/hosts", format!("{} is {names}", line.address))
        });
    Answer::Looked(found.collect())
}

fn datasources(inquiry: &Inquiry<'_>) -> Answer {
    let named = &inquiry.evidence.inspection.cloud_init.datasources;
    if named.is_empty() {
        return Answer::fail(
            "/etc/cloud/cloud.cfg.d",
            "no datasource_list: all that it knows are asked",
        );
    }
    let others: Vec<&str> = named
        .iter()
        .filter(|name| !inquiry.is_listed("allow", name))
        .map(String::as_str)
        .collect();
    if others.is_empty() {
        return Answer::pass();
    }
    Answer::fail(
        "/etc/cloud",
        format!("{} are asked as well", others.join(", ")),
    )
}
