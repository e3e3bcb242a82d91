//! Recording the packages of versions that have no record, so that questions about all versions have an
//! answer for them.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::lifecycle::State;
use stampo_store::VersionRow;
use std::collections::HashSet;

/// What was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Versions whose packages were read now, `name@N`.
    pub read: Vec<String>,
    /// How many were recorded before.
    pub recorded: usize,
    /// Versions that could not be read, and why.
    pub failed: Vec<(String, String)>,
}

impl Engine {
    /// Reads the packages of every version that has bytes and no record.
    pub fn record_packages(&self) -> Result<Scanned, EngineError> {
        let inside = self.inside()?;
        let systems = inside.read(|tx| tx.systems())?;
        let whole = systems.into_iter().filter(|(_, _, complete)| *complete);
        let mut known: HashSet<_> = whole.map(|(image, ..)| image).collect();
        let mut scanned = Scanned::default();
        for version in self.store.read(|tx| tx.version_images())? {
            if version.state == State::Purged || version.state == State::Building {
                continue;
            }
            if !known.insert(version.image.clone()) {
                scanned.recorded += 1;
                continue;
            }
            let label = version.label();
            let row = self.store.read(|tx| tx.version(version.id))?;
            let read = row.map(|row| self.inventory_of(&inside, &row)).transpose();
            match read {
                Ok(_) => scanned.read.push(label),
                Err(error) => scanned.failed.push((label, error.chain())),
            }
        }
        Ok(scanned)
    }

    /// Records the packages of a version that was just made. That it fails is no failure of what made
    /// the version: it is read at the first question.
    pub fn record_packages_of(&self, row: &VersionRow) {
        let recorded = self
            .inside()
            .and_then(|inside| self.inventory_of(&inside, row));
        if let Err(error) = recorded {
            tracing::warn!(%error, version = row.label(), "its packages were not recorded");
        }
    }

    /// Everything that was imported, with the releases that it is about.
    pub fn vulnerability_sources(&self) -> Result<Vec<super::Loaded>, EngineError> {
        self.inside()?.read(|tx| {
            let sources = tx.sources()?.into_iter();
            let loaded = sources.map(|source| {
                Ok(super::Loaded {
                    ecosystems: tx.covered(source.number)?,
                    source,
                })
            });
            loaded.collect()
        })
    }
}
