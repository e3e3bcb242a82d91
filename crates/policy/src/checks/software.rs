//! What is installed, where it comes from, how old it is, and what starts by itself.

use super::{list, number, row};
use crate::check::Severity::{Critical, High, Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use stampo_core::date::{DAY_S, day, start_of};
use stampo_guest::inspect::packages::PackageManager;
use stampo_inventory::Ecosystem;
use stampo_inventory::end_of_life::{self, Dates, EndOfLife, SupportEnd};

const PACKAGES: &[&str] = &["packages"];
const LEAST: &[&str] = &["NIST CM-7"];
const FLAWS: &[&str] = &["NIST SI-2"];
const OLD_SERVICES: &[&str] = &[
    "avahi-daemon.service",
    "avahi-daemon.socket",
    "cups.service",
    "cups-browsed.service",
    "inetd.service",
    "nfs-server.service",
    "openbsd-inetd.service",
    "rexec.socket",
    "rlogin.socket",
    "rpcbind.service",
    "rpcbind.socket",
    "rsh.socket",
    "snmpd.service",
    "telnet.socket",
    "tftp.socket",
    "tftpd-hpa.service",
    "vsftpd.service",
    "xinetd.service",
    "ypserv.service",
];
const OLD_PACKAGES: &[&str] = &[
    "ftpd",
    "inetutils-telnetd",
    "nis",
    "openbsd-inetd",
    "prelink",
    "rsh-redone-server",
    "rsh-server",
    "talkd",
    "telnet-server",
    "telnetd",
    "telnetd-ssl",
    "tftp-server",
    "tftpd",
    "tftpd-hpa",
    "vsftpd",
    "xinetd",
    "ypserv",
];

pub(super) const CHECKS: &[Check] = &[
    row(
        "software.services",
        "no unwanted service starts",
        Medium,
        When::Services,
        Ask(services),
    )
    .why("each service that listens is one more way in")
    .mend("guest# systemctl disable --now UNIT")
    .maps(LEAST)
    .reads(&["/etc/systemd/system", "/usr/lib/systemd/system"])
    .with(&[list("forbid", OLD_SERVICES)]),
    row(
        "software.packages",
        "no unwanted package is installed",
        Medium,
        When::Packages,
        Ask(packages),
    )
    .why("programs that send passwords in the clear have better successors")
    .mend("guest# apt-get purge PACKAGE")
    .maps(LEAST)
    .reads(PACKAGES)
    .with(&[list("forbid", OLD_PACKAGES)]),
    row(
        "software.guest-agent",
        "a guest agent is installed and starts",
        Low,
        When::Always,
        Ask(guest_agent),
    )
    .why("without it a guest can't be asked, frozen for a backup, or stopped in order")
    .mend("guest# apt-get install qemu-guest-agent")
    .maps(&["NIST CP-9"])
    .reads(&["/usr", "/etc/systemd"])
    .with(&[list("any-of", &["qemu-guest-agent"])]),
    row(
        "software.cloud-init",
        "cloud-init is installed and not switched off",
        Low,
        When::Always,
        Ask(cloud_init),
    )
    .why("tools that make guests elsewhere give their settings through it")
    .mend("guest# apt-get install cloud-init")
    .maps(&["NIST CM-2"])
    .reads(&["packages", "/etc/cloud"]),
    row(
        "software.half-installed",
        "every package is whole",
        Medium,
        When::Packages,
        Ask(half_installed),
    )
    .why("a package that was not set up breaks at the first start, or at the next upgrade")
    .mend("guest# dpkg --configure -a")
    .maps(FLAWS)
    .reads(PACKAGES),
    row(
        "software.updates",
        "security updates are installed by themselves",
        Medium,
        When::Packages,
        Ask(updates),
    )
    .why("a guest that nobody logs in to is not updated by anybody")
    .mend("guest# apt-get install unattended-upgrades")
    .maps(FLAWS)
    .reads(&["packages", "/etc/apt", "/etc/systemd/system"]),
    row(
        "software.unsigned",
        "no package is taken without a signature",
        High,
        When::Packages,
        Ask(unsigned),
    )
    .why("whoever is on the way can put a program of theirs in its place")
    .mend("guest# sed -i 's/trusted=yes//' FILE")
    .maps(&["NIST CM-14", "NIST SI-7"])
    .reads(&["/etc/apt", "/etc/yum.repos.d", "/etc/dnf"]),
    row(
        "software.security-source",
        "security updates have a source",
        High,
        When::Dpkg,
        Ask(security_source),
    )
    .why("what the distribution mends never reaches the guest")
    .mend(
        "guest# echo 'deb ADDRESS CODENAME-security main' > /etc/apt/sources.list.d/security.list",
    )
    .maps(FLAWS)
    .reads(&["/etc/apt"]),
    row(
        "software.end-of-life",
        "the distribution is maintained for everybody",
        Medium,
        When::Always,
        Ask(end_of_life),
    )
    .why("after that day flaws are published and not mended in the usual way")
    .mend("stampo template build RECIPE")
    .maps(&["NIST SA-22", "NIST SI-2"])
    .reads(&["os"])
    .with(&[number("warn-days", 90)]),
    row(
        "software.end-of-maintenance",
        "the distribution is maintained by somebody",
        High,
        When::Always,
        Ask(end_of_maintenance),
    )
    .why("after that day nobody mends it, not even for money")
    .mend("stampo template build RECIPE")
    .maps(&["NIST SA-22", "NIST SI-2"])
    .reads(&["os"])
    .with(&[number("warn-days", 90)]),
    row(
        "software.age",
        "packages were brought up to date not long ago",
        Medium,
        When::Packages,
        Ask(age),
    )
    .why("every clone begins with all flaws that were found since")
    .mend("stampo template build RECIPE")
    .maps(FLAWS)
    .reads(&["/var/lib/dpkg/info", "/lib/apk/db"])
    .with(&[number("days", 60)]),
    row(
        "software.security-updates",
        "no security update is missing",
        High,
        When::Packages,
        Ask(security_updates),
    )
    .why("the flaw is published, and so is how to use it")
    .mend("guest# apt-get upgrade")
    .maps(FLAWS)
    .reads(PACKAGES),
    row(
        "software.vulnerabilities",
        "no critical flaw is known",
        Critical,
        When::Packages,
        Ask(vulnerabilities),
    )
    .why("flaws that are used already are tried on every machine that can be reached")
    .mend("guest# apt-get upgrade")
    .maps(&["NIST RA-5", "NIST SI-2"])
    .reads(PACKAGES),
];

fn services(inquiry: &Inquiry<'_>) -> Answer {
    let units = &inquiry.evidence.inspection.services.units;
    let mut names: Vec<&str> = units.iter().map(|service| service.unit.as_str()).collect();
    names.dedup();
    let unwanted = names
        .into_iter()
        .filter(|unit| inquiry.is_listed("forbid", unit) && inquiry.is_started(unit));
    let found = |unit: &str| Found::fail(unit, "it starts by itself");
    Answer::Looked(unwanted.map(found).collect())
}

fn packages(inquiry: &Inquiry<'_>) -> Answer {
    let installed = &inquiry.evidence.inspection.packages.installed;
    let unwanted = installed
        .iter()
        .filter(|package| inquiry.is_listed("forbid", &package.name));
    let found = unwanted.map(|p| Found::fail(&p.name, format!("{} is installed", p.version)));
    Answer::Looked(found.collect())
}

fn guest_agent(inquiry: &Inquiry<'_>) -> Answer {
    let agents = &inquiry.evidence.inspection.guest_agents;
    let wanted = inquiry.list("any-of");
    let mine = agents.iter().filter(|agent| wanted.contains(&agent.name));
    let mut off = Vec::new();
    for agent in mine {
        if agent.enabled {
            return Answer::pass();
        }
        off.push(Found::fail(
            &agent.path,
            format!("{} does not start", agent.name),
        ));
    }
    if off.is_empty() {
        return Answer::fail(
            "guest agent",
            format!("none of {} is there", wanted.join(", ")),
        );
    }
    Answer::Looked(off)
}

fn cloud_init(inquiry: &Inquiry<'_>) -> Answer {
    let cloud_init = &inquiry.evidence.inspection.cloud_init;
    if !cloud_init.present {
        // stampo itself needs none: it writes to the disk.
        let what = "it is not installed; stampo does without, other tools may not";
        return Answer::Looked(vec![Found::warn("cloud-init", what)]);
    }
    if cloud_init.disabled {
        return Answer::fail("/etc/cloud/cloud-init.disabled", "it is switched off");
    }
    Answer::pass()
}

fn half_installed(inquiry: &Inquiry<'_>) -> Answer {
    let installed = &inquiry.evidence.inspection.packages.installed;
    let found = installed.iter().filter_map(|package| {
        let problem = package.problem.as_ref()?;
        Some(Found::fail(&package.name, format!("it is {problem}")))
    });
    Answer::Looked(found.collect())
}

fn updates(inquiry: &Inquiry<'_>) -> Answer {
    const TIMERS: &[&str] = &[
        "dnf-automatic.timer",
        "dnf-automatic-install.timer",
        "dnf5-automatic.timer",
    ];
    if TIMERS.iter().any(|timer| inquiry.is_started(timer)) {
        return Answer::pass();
    }
    let periodic = &inquiry.evidence.files.apt_periodic;
    match inquiry.evidence.inspection.packages.manager {
        Some(PackageManager::Dpkg) if !inquiry.has_package("unattended-upgrades") => {
            Answer::fail("unattended-upgrades", "it is not installed")
        }
        Some(PackageManager::Dpkg) => {
            match periodic.get("Unattended-Upgrade").map(String::as_str) {
                None | Some("0") => Answer::fail(
                    "/etc/apt/apt.conf.d",
                    "APT::Periodic::Unattended-Upgrade is off",
                ),
                Some(_) => Answer::pass(),
            }
        }
        Some(PackageManager::Apk) => Answer::NotApplicable("apk has no such service".into()),
        _ => Answer::fail("dnf-automatic", "none of its timers starts"),
    }
}

fn unsigned(inquiry: &Inquiry<'_>) -> Answer {
    let files = &inquiry.evidence.files;
    let sources = files.sources.iter().filter(|source| source.unsigned);
    let mut found: Vec<Found> = sources
        .map(|source| {
            Found::fail(
                &source.path,
                format!("{} needs no signature", source.address),
            )
        })
        .collect();
    let settings = files.unsigned.iter();
    found.extend(settings.map(|(path, what)| Found::fail(path, what)));
    Answer::Looked(found)
}

fn security_source(inquiry: &Inquiry<'_>) -> Answer {
    let os = inquiry.evidence.inspection.os.as_ref();
    if !os.is_some_and(|os| matches!(os.id.as_str(), "debian" | "ubuntu")) {
        return Answer::NotApplicable("only Debian and Ubuntu have one of its own".into());
    }
    let sources = &inquiry.evidence.files.sources;
    let is_security = |suite: &str| suite.contains("-security") || suite.ends_with("/updates");
    if sources.iter().any(|source| is_security(&source.suite)) {
        return Answer::pass();
    }
    Answer::fail(
        "/etc/apt",
        format!("none of {} sources is for security updates", sources.len()),
    )
}

fn end_of_life(inquiry: &Inquiry<'_>) -> Answer {
    let standard = |dates: &Dates| {
        dates
            .ends
            .iter()
            .find(|end| end.support == "standard")
            .cloned()
    };
    ends(inquiry, standard, "maintenance for everybody")
}

fn end_of_maintenance(inquiry: &Inquiry<'_>) -> Answer {
    ends(
        inquiry,
        |dates| dates.ends.last().cloned(),
        "the last maintenance",
    )
}

/// Compares a date of the release with the day of the question.
fn ends(inquiry: &Inquiry<'_>, which: fn(&Dates) -> Option<SupportEnd>, what: &str) -> Answer {
    let Some(os) = &inquiry.evidence.inspection.os else {
        return Answer::Unknown("which system it is is not known".into());
    };
    let release = Ecosystem::of(&os.id, os.version_id.as_deref(), os.codename.as_deref());
    let dates = match end_of_life::of(release.as_ref()) {
        EndOfLife::Known(dates) => dates,
        EndOfLife::Unknown(why) => return Answer::Unknown(why),
    };
    let name = release.map(|of| of.0).unwrap_or_default();
    let found = which(&dates).and_then(|end| Some((start_of(&end.day)? + DAY_S, end)));
    let Some((end_s, SupportEnd { support, day: last })) = found else {
        return Answer::Unknown(format!("{name} has no such date"));
    };
    let what = format!("{what} ({support})");
    let warn_s = i64::try_from(inquiry.number("warn-days")).unwrap_or(i64::MAX / DAY_S) * DAY_S;
    if inquiry.at_s >= end_s {
        Answer::fail(name, format!("{what} ended on {last}"))
    } else if inquiry.at_s >= end_s.saturating_sub(warn_s) {
        Answer::Looked(vec![Found::warn(name, format!("{what} ends on {last}"))])
    } else {
        Answer::pass()
    }
}

fn age(inquiry: &Inquiry<'_>) -> Answer {
    let Some(newest_s) = inquiry.evidence.entries.newest_package_s else {
        return Answer::Unknown("when packages were installed is not known".into());
    };
    // Whole days of the calendar, so that a verdict holds for all of its day.
    let days = inquiry
        .at_s
        .div_euclid(DAY_S)
        .saturating_sub(newest_s.div_euclid(DAY_S));
    if u64::try_from(days).unwrap_or(0) <= inquiry.number("days") {
        return Answer::pass();
    }
    Answer::fail(
        "packages",
        format!(
            "the newest was installed {days} days ago, on {}",
            day(newest_s)
        ),
    )
}

/// As the imported indexes had it when the evidence was gathered.
fn security_updates(inquiry: &Inquiry<'_>) -> Answer {
    let Some(updates) = &inquiry.evidence.updates else {
        return Answer::Unknown("no index of security updates was imported".into());
    };
    if updates.missing.is_empty() && !updates.unknown.is_empty() {
        return Answer::Unknown(updates.unknown.join("; "));
    }
    let found = updates.missing.iter().map(|one| {
        let what = format!(
            "{} is installed, and there is {}",
            one.installed, one.available
        );
        Found::fail(&one.package, what)
    });
    Answer::Looked(found.collect())
}

/// Flaws are not judged by a check yet; `stampo cve` tells of a single one.
fn vulnerabilities(_: &Inquiry<'_>) -> Answer {
    Answer::Unknown("no check judges known flaws yet; ask for one: stampo cve CVE-…".into())
}
