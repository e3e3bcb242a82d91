//! What a scrub found. Kept as JSON in the scrub's operation, so that it can be read later.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a scrub read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Images whose disk was read.
    pub images_read: usize,
    /// Images that were read recently enough.
    pub images_skipped: usize,
    /// Bytes of their disks that were read; holes are not.
    pub bytes_read: u64,
    /// Sidecars that were read.
    pub sidecars_read: usize,
    /// Versions and guests that something worked on, so that their sidecars were left alone.
    pub busy: Vec<String>,
    /// Sidecars from before there were checksums. They fit the catalog, and have one now.
    pub protected: Vec<PathBuf>,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
}

/// One damaged thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What it is.
    pub what: DamagedThing,
    /// The file.
    pub path: PathBuf,
    /// Where in it: ranges of bytes, or a row of a table. Empty for the whole file.
    pub place: String,
    /// What is wrong.
    pub why: String,
    /// What it belongs to: versions as `name@N`, or a guest.
    pub subjects: Vec<String>,
    /// The guests that read it: linked clones, and clones that are being made.
    pub clones: Vec<String>,
    /// What became of it.
    pub outcome: DamageOutcome,
    /// What to do next; empty when there is nothing to do.
    pub remedy: String,
}

/// What was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedThing {
    /// The disk of an image.
    Disk,
    /// The leaf index of an image.
    LeafIndex,
    /// A memory image of a version.
    MemoryImage,
    /// The sidecar of a version.
    VersionSidecar,
    /// The sidecar of a guest.
    GuestSidecar,
    /// A row of the catalog.
    Row,
}

impl DamagedThing {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            DamagedThing::Disk => "disk",
            DamagedThing::LeafIndex => "leaf-index",
            DamagedThing::MemoryImage => "memory-image",
            DamagedThing::VersionSidecar => "version-sidecar",
            DamagedThing::GuestSidecar => "guest-sidecar",
            DamagedThing::Row => "row",
        }
    }
}

/// What became of a damaged thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageOutcome {
    /// It is as it was before, made again from what is right.
    Mended,
    /// Its versions are in quarantine.
    Quarantined,
    /// What it held is lost, and the audit says so; it stays as it is, or goes where that is safer.
    Kept,
    /// Nothing was done.
    Open,
}

impl DamageOutcome {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            DamageOutcome::Mended => "mended",
            DamageOutcome::Quarantined => "quarantined",
            DamageOutcome::Kept => "kept",
            DamageOutcome::Open => "open",
        }
    }
}

impl ScrubReport {
    /// The names of all guests that read damaged bytes, sorted.
    pub fn clones(&self) -> Vec<String> {
        let mut names: Vec<String> = self.damage.iter().flat_map(|d| d.clones.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The versions that are in quarantine for what was found, sorted.
    pub fn quarantined(&self) -> Vec<String> {
        let is_quarantined = |d: &&Damage| d.outcome == DamageOutcome::Quarantined;
        let damage = self.damage.iter().filter(is_quarantined);
        let mut labels: Vec<String> = damage.flat_map(|d| d.subjects.clone()).collect();
        labels.sort();
        labels.dedup();
        labels
    }

    /// What was found, as the end of "failed to find the store whole: …".
    pub(super) fn summary(&self) -> String {
        let count = |outcome| self.damage.iter().filter(|d| d.outcome == outcome).count();
        let things = match self.damage.len() {
            1 => "1 thing is".to_owned(),
            all => format!("{all} things are"),
        };
        let mut text = format!(
            "{things} damaged, {} of them mended",
            count(DamageOutcome::Mended)
        );
        for (what, names) in [
            ("quarantined", self.quarantined()),
            ("read by", self.clones()),
        ] {
            if !names.is_empty() {
                text.push_str(&format!("; {what}: {}", names.join(", ")));
            }
        }
        text
    }
}
