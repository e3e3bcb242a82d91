//! How a guest stands to where it comes from: one pure function, and nothing else.
//!
//! It joins what the version's state means for its clones ([`Standing`]) with how many newer versions
//! of the same template are offered. What speaks against the version itself always wins: a guest of a
//! revoked version is *revoked*, however old it is. It says nothing of the guest's disk.

use crate::lifecycle::Standing;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known of the version that a guest was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// What its state means for its clones now.
    pub standing: Standing,
    /// How many published versions of its template have a higher number.
    pub newer: u32,
}

/// How a guest stands to where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Lineage {
    /// Nothing speaks against its version, and none is newer.
    Current,
    /// Nothing speaks against its version; newer ones are offered.
    Outdated {
        /// How many.
        behind: u32,
    },
    /// Another version should be used.
    Deprecated {
        /// How many newer ones are offered.
        behind: u32,
    },
    /// No new clones are made of its version.
    Obsolete {
        /// How many newer ones are offered.
        behind: u32,
    },
    /// Its version is retired, or was refused.
    Withdrawn,
    /// Its version is gone.
    Orphan,
    /// Its version's bytes are not what was recorded.
    Quarantined,
    /// Its version is revoked.
    Revoked,
    /// Nothing says what it was made from.
    UnknownOrigin,
}

/// The lineage of a guest; `None` for one of which no version is known.
pub const fn lineage(ancestor: Option<Ancestor>) -> Lineage {
    let Some(Ancestor { standing, newer }) = ancestor else {
        return Lineage::UnknownOrigin;
    };
    match standing {
        Standing::Current if newer == 0 => Lineage::Current,
        Standing::Current => Lineage::Outdated { behind: newer },
        Standing::Deprecated => Lineage::Deprecated { behind: newer },
        Standing::Obsolete => Lineage::Obsolete { behind: newer },
        Standing::Withdrawn => Lineage::Withdrawn,
        Standing::Orphan => Lineage::Orphan,
        Standing::Quarantined => Lineage::Quarantined,
        Standing::Revoked => Lineage::Revoked,
    }
}

impl Lineage {
    /// The stable word in the API and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lineage::Current => "current",
            Lineage::Outdated { .. } => "outdated",
            Lineage::Deprecated { .. } => "deprecated",
            Lineage::Obsolete { .. } => "obsolete",
            Lineage::Withdrawn => "withdrawn",
            Lineage::Orphan => "orphan",
            Lineage::Quarantined => "quarantined",
            Lineage::Revoked => "revoked",
            Lineage::UnknownOrigin => "unknown-origin",
        }
    }

    /// How many newer versions are offered, where that matters.
    pub const fn behind(self) -> u32 {
        match self {
            Lineage::Outdated { behind }
            | Lineage::Deprecated { behind }
            | Lineage::Obsolete { behind } => behind,
            _ => 0,
        }
    }

    /// Whether somebody has to do something about the guest now.
    pub const fn is_alarming(self) -> bool {
        matches!(
            self,
            Lineage::Revoked | Lineage::Quarantined | Lineage::UnknownOrigin
        )
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.behind() {
            0 => f.write_str(self.as_str()),
            behind => write!(f, "{}, {behind} behind", self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Governance, State};

    /// Every cell: what the version is, and what its guests are without and with newer versions.
    const CELLS: [(Standing, &str, &str); 7] = [
        (Standing::Current, "current", "outdated, 3 behind"),
        (Standing::Deprecated, "deprecated", "deprecated, 3 behind"),
        (Standing::Obsolete, "obsolete", "obsolete, 3 behind"),
        (Standing::Withdrawn, "withdrawn", "withdrawn"),
        (Standing::Orphan, "orphan", "orphan"),
        (Standing::Quarantined, "quarantined", "quarantined"),
        (Standing::Revoked, "revoked", "revoked"),
    ];

    fn said(standing: Standing, newer: u32) -> String {
        lineage(Some(Ancestor { standing, newer })).to_string()
    }

    #[test]
    fn every_cell_of_the_table_is_so() {
        for (standing, alone, behind) in CELLS {
            assert_eq!(said(standing, 0), alone, "{standing:?}, nothing newer");
            assert_eq!(said(standing, 3), behind, "{standing:?}, three newer");
        }
        assert_eq!(lineage(None).to_string(), "unknown-origin");
    }

    #[test]
    fn every_state_of_a_version_has_a_lineage_and_newer_ones_never_hide_an_alarm() {
        for state in State::ALL {
            let standing = Governance::default().standing(state, 0);
            let [alone, behind] = [0, 7].map(|newer| lineage(Some(Ancestor { standing, newer })));
            assert_eq!(alone.is_alarming(), behind.is_alarming(), "{state}");
            assert_eq!(
                alone.is_alarming(),
                matches!(state, State::Revoked | State::Quarantined),
                "{state}"
            );
            let is_current = matches!(alone, Lineage::Current);
            assert_eq!(
                is_current,
                matches!(behind, Lineage::Outdated { behind: 7 })
            );
        }
        assert!(lineage(None).is_alarming());
    }
}
