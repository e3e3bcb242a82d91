//! What a check is: a row of the table with what it is for, and the function that answers it.
//!
//! The rows are in [`crate::checks`]. A row says everything that a person needs to judge its
//! finding: why it matters, the one command that mends it, and what it maps to elsewhere. It says
//! nothing about whether a site wants it: that is the pack's.

use crate::inquiry::{Answer, Inquiry};
use serde::{Deserialize, Serialize};

/// Grows with each change of what a check asks, so that a replay can tell why it differs.
pub const EDITION: u32 = 2;

/// How bad it is when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A matter of taste or of order.
    Low,
    /// It makes an attack or an accident easier.
    Medium,
    /// It lets somebody in, or two clones are one machine somewhere.
    High,
    /// Anybody gets in.
    Critical,
}

impl Severity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as it should be, and everything was looked at.
    Pass,
    /// It works, with a drawback.
    Warn,
    /// It is not as it should be.
    Fail,
    /// It could not be found out. This never counts as a pass.
    Unknown,
    /// The guest has nothing that the check is about.
    NotApplicable,
}

impl Verdict {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
            Verdict::Unknown => "unknown",
            Verdict::NotApplicable => "not-applicable",
        }
    }
}

/// Which guests a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those whose accounts are in `/etc/passwd`.
    Accounts,
    /// Those with a package database.
    Packages,
    /// Those with dpkg.
    Dpkg,
    /// Those with an ssh server.
    SshServer,
    /// Those with cloud-init.
    CloudInit,
    /// Those with systemd or another known init, whose services are known.
    Services,
    /// Those with a kernel of their own.
    Kernel,
    /// Those with GRUB.
    Grub,
    /// Those with an EFI system partition.
    Efi,
    /// Disks; a bare tree of files has none.
    Disk,
}

impl When {
    /// In words, for the table of checks.
    pub const fn as_str(self) -> &'static str {
        match self {
            When::Always => "every guest",
            When::Accounts => "guests with accounts",
            When::Packages => "guests with packages",
            When::Dpkg => "guests with dpkg",
            When::SshServer => "guests with an ssh server",
            When::CloudInit => "guests with cloud-init",
            When::Services => "guests with services",
            When::Kernel => "guests with a kernel",
            When::Grub => "guests with GRUB",
            When::Efi => "guests with an EFI partition",
            When::Disk => "disks",
        }
    }
}

/// The default of a parameter, and so its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// A whole number, not negative.
    Number(u64),
    /// A list of texts.
    List(&'static [&'static str]),
}

/// Something about a check that a pack may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it is when the pack says nothing.
    pub default: Default,
}

/// How a check finds its answer.
#[derive(Clone, Copy)]
pub enum Test {
    /// The findings of the seal proof's checks whose ids begin with one of these.
    Proof(&'static [&'static str]),
    /// A function.
    Ask(fn(&Inquiry<'_>) -> Answer),
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Check {
    /// A stable name, `area.thing`.
    pub id: &'static str,
    /// What should be so.
    pub title: &'static str,
    /// How bad it is when it is not.
    pub severity: Severity,
    /// Why it matters.
    pub rationale: &'static str,
    /// The one command that mends it. `{version}` stands for the version; `guest#` begins a command
    /// that is run in the guest before it is imported or built again.
    pub remedy: &'static str,
    /// What it maps to elsewhere.
    pub refs: &'static [&'static str],
    /// Which guests it is about.
    pub when: When,
    /// What it reads: paths, or topics of the inspection such as `packages`. When one of these
    /// could not be read, the answer is unknown. `*` stands for the whole tree.
    pub reads: &'static [&'static str],
    /// What a pack may set.
    pub params: &'static [Param],
    /// How it finds its answer.
    pub test: Test,
}

impl Check {
    /// The command that mends it, with the version's name, and in words where it is run.
    pub fn remedy_for(&self, version: &str) -> String {
        let command = self.remedy.replace("{version}", version);
        match command.strip_prefix("guest# ") {
            Some(command) => format!("in the guest: {command}"),
            None => command,
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("id", &self.id).finish()
    }
}

/// Every built-in check, in the order of the guide.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    crate::checks::ALL.iter().copied().flatten()
}

/// The check of this id.
pub fn check(id: &str) -> Option<&'static Check> {
    checks().find(|check| check.id == id)
}
