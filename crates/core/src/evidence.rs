//! Evidence: what is known of every version and machine at one moment, what it shows of the controls
//! that auditors ask about, and what it does not.
//!
//! The ids and names of controls are those of NIST SP 800-53 revision 5 and of ISO/IEC 27001:2022,
//! annex A. What is not known is said, and is never counted as good. Pure: the caller gathers.

use serde::{Deserialize, Serialize};

/// What the document says it is.
pub const SCHEMA: &str = "stampo.evidence/1";

/// Everything that is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: String,
    /// The moment, in milliseconds since 1970.
    pub at_ms: i64,
    /// The host's name.
    pub host: String,
    /// The version of stampo that gathered it.
    pub stampo: String,
    /// The rules that counted.
    pub rules: Rules,
    /// The state of the audit.
    pub audit: Audit,
    /// How many machines are what.
    pub summary: Summary,
    /// What it shows of each control.
    pub controls: Vec<Control>,
    /// What is not known, a sentence each.
    pub unknowns: Vec<String>,
    /// Every version that is offered or has machines.
    pub versions: Vec<VersionEvidence>,
    /// Every machine that stampo made.
    pub machines: Vec<MachineEvidence>,
    /// Machines on this host that it did not make.
    pub strangers: Vec<Stranger>,
}

/// The rules of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Who has to approve, in a few words.
    pub approval: String,
    /// Whether an approval by somebody else than the maker is asked for.
    pub approval_asked: bool,
    /// The digest of the approval settings.
    pub approval_digest: String,
    /// The check pack, name and version.
    pub pack: String,
    /// Whether the site has set one.
    pub pack_set: bool,
    /// The digest of the pack.
    pub pack_digest: String,
    /// Whether retention is set.
    pub retention: bool,
}

/// The audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// How many records there are.
    pub records: u64,
    /// The newest that a signed checkpoint covers.
    pub covered: u64,
    /// The fingerprint of the site's key; empty when there is none.
    pub key: String,
    /// What is not as it was written; empty when all is.
    pub faults: Vec<String>,
    /// How many acts were refused, ever.
    pub refused: u64,
}

/// How many machines are what. Each counts once, for the worst that is so of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// All that stampo made, and strangers.
    pub machines: usize,
    /// From a version that is offered, is approved as the site asks, and is the newest.
    pub current: usize,
    /// As that, but a newer one is offered, or it is deprecated.
    pub outdated: usize,
    /// From a version that is not offered any more, or was never offered.
    pub withdrawn: usize,
    /// From one that the site's approval settings do not allow.
    pub unapproved: usize,
    /// From one that is revoked, or whose bytes have changed.
    pub revoked: usize,
    /// From one of which nothing is known any more, or not made by stampo.
    pub unknown_origin: usize,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionEvidence {
    /// `name@N`.
    pub version: String,
    /// Its state.
    pub state: String,
    /// The id of its image: the root of a hash tree over all of its bytes.
    pub image: String,
    /// When its bytes were last read and found right, in milliseconds since 1970.
    pub read_ms: Option<i64>,
    /// How many published versions of its template are newer.
    pub behind: u32,
    /// What speaks against it.
    pub advice: String,
    /// Who approved it, or is missing.
    pub approval: String,
    /// Whether the site's settings are met.
    pub approved: bool,
    /// Whether people signed for it with keys.
    pub signed: bool,
    /// How the last conformity report ended; empty when there is none of these bytes.
    pub conformity: String,
    /// The digest of that report.
    pub report: String,
    /// The digest of the pack that it was judged by.
    pub pack: String,
    /// When that was, in seconds since 1970.
    pub judged_s: Option<i64>,
    /// Open findings of the seal proof; `None`: there is no proof.
    pub open_findings: Option<usize>,
    /// The vulnerabilities that it was revoked for.
    pub cves: Vec<String>,
    /// How many machines are made of it.
    pub machines: usize,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineEvidence {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// `current`, `outdated`, `withdrawn`, `unapproved`, `revoked` or `unknown-origin`.
    pub standing: Class,
}

/// What is so of a machine; the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// See [`Summary::current`].
    Current,
    /// See [`Summary::outdated`].
    Outdated,
    /// See [`Summary::withdrawn`].
    Withdrawn,
    /// See [`Summary::unapproved`].
    Unapproved,
    /// See [`Summary::revoked`].
    Revoked,
    /// See [`Summary::unknown_origin`].
    UnknownOrigin,
}

impl Class {
    /// Every class, the best first.
    pub const ALL: [Class; 6] = [
        Class::Current,
        Class::Outdated,
        Class::Withdrawn,
        Class::Unapproved,
        Class::Revoked,
        Class::UnknownOrigin,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Current => "current",
            Class::Outdated => "outdated",
            Class::Withdrawn => "withdrawn",
            Class::Unapproved => "unapproved",
            Class::Revoked => "revoked",
            Class::UnknownOrigin => "unknown-origin",
        }
    }

    /// The class of the machines of a version.
    pub fn of(version: &VersionEvidence) -> Class {
        match version.state.as_str() {
            "revoked" | "quarantined" => Class::Revoked,
            "purged" | "failed" => Class::UnknownOrigin,
            _ if !version.approved => Class::Unapproved,
            "published" if version.behind == 0 => Class::Current,
            "published" | "deprecated" => Class::Outdated,
            _ => Class::Withdrawn,
        }
    }
}

/// A machine that stampo did not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// What it calls itself; empty when it does not.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The files that it has open as disks.
    pub disks: Vec<String>,
    /// The version whose image it has open, `name@N`.
    pub reads: Option<String>,
}

/// How much is shown of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// What stampo can show is there, and nothing speaks against it.
    Yes,
    /// Something is missing, or speaks against it.
    Partly,
    /// Nothing is there that would show it.
    No,
}

impl Shown {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Shown::Yes => "yes",
            Shown::Partly => "partly",
            Shown::No => "no",
        }
    }
}

/// A control and what there is of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id, for example `CM-2`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How much is shown.
    pub shown: Shown,
    /// What is, with figures.
    pub what: String,
}

impl Evidence {
    /// Fills in what follows from the rest: the summary and the controls.
    #[must_use]
    pub fn concluded(mut self) -> Evidence {
        self.summary = summary(&self.machines, &self.strangers);
        self.controls = controls(&self);
        self
    }
}

fn summary(machines: &[MachineEvidence], strangers: &[Stranger]) -> Summary {
    let count = |class| machines.iter().filter(|one| one.standing == class).count();
    Summary {
        machines: machines.len() + strangers.len(),
        current: count(Class::Current),
        outdated: count(Class::Outdated),
        withdrawn: count(Class::Withdrawn),
        unapproved: count(Class::Unapproved),
        revoked: count(Class::Revoked),
        unknown_origin: count(Class::UnknownOrigin) + strangers.len(),
    }
}

/// What is counted for the controls.
struct Counts {
    used: usize,
    judged: usize,
    passed: usize,
    read: usize,
    signed: usize,
    approved: usize,
    proven: usize,
}

impl Counts {
    fn new(of: &Evidence) -> Self {
        let count = |is: &dyn Fn(&VersionEvidence) -> bool| {
            of.versions.iter().filter(|version| is(version)).count()
        };
        Counts {
            used: of.versions.len(),
            judged: count(&|v| !v.conformity.is_empty()),
            passed: count(&|v| matches!(v.conformity.as_str(), "pass" | "warn")),
            read: count(&|v| v.read_ms.is_some()),
            signed: count(&|v| v.signed),
            approved: count(&|v| v.approved),
            proven: count(&|v| v.open_findings == Some(0)),
        }
    }
}

/// Yes when all are good and there is something, no when none is.
fn shown(good: usize, of: usize) -> Shown {
    match good {
        0 => Shown::No,
        _ if good == of => Shown::Yes,
        _ => Shown::Partly,
    }
}

fn controls(of: &Evidence) -> Vec<Control> {
    let c = Counts::new(of);
    let s = &of.summary;
    let known = s.machines - s.unknown_origin;
    let baseline = (
        shown(known, s.machines),
        format!(
            "{known} of {} machines are made of a recorded version, which is kept with its image id; \
             {} are of unknown origin",
            s.machines, s.unknown_origin
        ),
    );
    let change = match of.rules.approval_asked {
        true => (
            shown(c.approved, c.used),
            format!(
                "{} of {} versions in use are approved by others than who made them ({})",
                c.approved, c.used, of.rules.approval
            ),
        ),
        false => (
            Shown::Partly,
            "every change of a version is recorded; nobody else has to approve it: stampo approval \
             set --preset team"
                .to_owned(),
        ),
    };
    let access = (
        if of.rules.approval_asked {
            Shown::Yes
        } else {
            Shown::Partly
        },
        format!(
            "the store is its owner's alone; {} acts were refused and are recorded; {}",
            of.audit.refused, of.rules.approval
        ),
    );
    let settings = (
        if of.rules.pack_set {
            shown(c.passed, c.used)
        } else {
            shown(c.passed, c.used).min_partly()
        },
        format!(
            "{} of {} versions in use were judged by the checks, {} without a failure (pack {})",
            c.judged, c.used, c.passed, of.rules.pack
        ),
    );
    let inventory = (
        shown(s.machines - of.strangers.len(), s.machines),
        format!(
            "{} machines are listed; {} that run on this host were not made by stampo",
            s.machines,
            of.strangers.len()
        ),
    );
    let signed = (
        shown(c.signed, c.used),
        format!(
            "{} of {} versions in use are signed for with keys, with the digest of image, report and pack",
            c.signed, c.used
        ),
    );
    let flaws = (
        // Never more: what is inside of running machines is not looked at.
        if s.machines == 0 {
            Shown::No
        } else {
            Shown::Partly
        },
        format!(
            "{} machines are outdated, {} from withdrawn and {} from revoked versions; updates inside \
             running machines are not looked at",
            s.outdated, s.withdrawn, s.revoked
        ),
    );
    let integrity = (
        shown(c.read.min(c.proven), c.used),
        format!(
            "all bytes of {} of {} versions in use were read again and were right; {} have a seal proof \
             without open findings",
            c.read, c.used, c.proven
        ),
    );
    let is_whole = of.audit.faults.is_empty();
    let audit = (
        match (is_whole, of.audit.covered) {
            (false, _) => Shown::No,
            (true, 0) => Shown::Partly,
            (true, _) => Shown::Yes,
        },
        format!(
            "{} records, {}; a signed checkpoint covers the first {}",
            of.audit.records,
            if is_whole {
                "each as it was written"
            } else {
                "NOT all as they were written"
            },
            of.audit.covered
        ),
    );
    let table = [
        ("NIST 800-53 CM-2", "Baseline configuration", &baseline),
        ("NIST 800-53 CM-3", "Configuration change control", &change),
        (
            "NIST 800-53 CM-5",
            "Access restrictions for change",
            &access,
        ),
        ("NIST 800-53 CM-6", "Configuration settings", &settings),
        ("NIST 800-53 CM-8", "System component inventory", &inventory),
        ("NIST 800-53 CM-14", "Signed components", &signed),
        ("NIST 800-53 SI-2", "Flaw remediation", &flaws),
        (
            "NIST 800-53 SI-7",
            "Software, firmware and information integrity",
            &integrity,
        ),
        ("NIST 800-53 AU-2", "Event logging", &audit),
        (
            "NIST 800-53 AU-9",
            "Protection of audit information",
            &audit,
        ),
        ("NIST 800-53 AU-10", "Non-repudiation", &audit),
        (
            "ISO 27001 A.8.8",
            "Management of technical vulnerabilities",
            &flaws,
        ),
        ("ISO 27001 A.8.9", "Configuration management", &settings),
        ("ISO 27001 A.8.32", "Change management", &change),
    ];
    let control = |(id, name, (shown, what)): (&str, &str, &(Shown, String))| Control {
        id: id.to_owned(),
        name: name.to_owned(),
        shown: *shown,
        what: what.clone(),
    };
    table.into_iter().map(control).collect()
}

impl Shown {
    /// At most partly: the site has not said what it wants.
    fn min_partly(self) -> Shown {
        match self {
            Shown::Yes => Shown::Partly,
            other => other,
        }
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
