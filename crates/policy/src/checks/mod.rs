//! The built-in checks, one file for each area, and small makers for their rows.
//!
//! References say what a check maps to: controls of NIST SP 800-53 ("NIST CM-6") and, by topic,
//! sections of public hardening guides. They claim no compliance with any of them.

mod accounts;
mod boot;
mod disk;
mod files;
mod identity;
mod network;
mod residue;
mod secrets;
mod software;
mod ssh;

use crate::check::{Check, Default, Param, Severity, Test, When};

/// Every area.
pub(crate) const ALL: &[&[Check]] = &[
    identity::CHECKS,
    residue::CHECKS,
    secrets::CHECKS,
    accounts::CHECKS,
    ssh::CHECKS,
    software::CHECKS,
    boot::CHECKS,
    disk::CHECKS,
    files::CHECKS,
    network::CHECKS,
];

/// What a finding of the seal proof is mended with.
const SEAL: &str = "stampo template seal {version}";

/// A row; what it reads and what may be set come after it.
const fn row(
    id: &'static str,
    title: &'static str,
    severity: Severity,
    when: When,
    test: Test,
) -> Check {
    Check {
        id,
        title,
        severity,
        rationale: "",
        remedy: SEAL,
        refs: &[],
        when,
        reads: &[],
        params: &[],
        test,
    }
}

impl Check {
    /// Why it matters.
    const fn why(mut self, rationale: &'static str) -> Self {
        self.rationale = rationale;
        self
    }

    /// The one command that mends it.
    const fn mend(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    /// What it maps to.
    const fn maps(mut self, refs: &'static [&'static str]) -> Self {
        self.refs = refs;
        self
    }

    /// What it reads.
    const fn reads(mut self, reads: &'static [&'static str]) -> Self {
        self.reads = reads;
        self
    }

    /// What a pack may set.
    const fn with(mut self, params: &'static [Param]) -> Self {
        self.params = params;
        self
    }
}

/// A number that a pack may set.
const fn number(name: &'static str, default: u64) -> Param {
    Param {
        name,
        default: Default::Number(default),
    }
}

/// A list that a pack may set.
const fn list(name: &'static str, default: &'static [&'static str]) -> Param {
    Param {
        name,
        default: Default::List(default),
    }
}
