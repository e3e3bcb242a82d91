//! Missing security updates of a version, and when its release stops being maintained.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::names::VersionRef;
use stampo_guest::inspect::Inspection;
use stampo_guest::inspect::packages::PackageManager;
use stampo_inventory::Inventory;
use stampo_inventory::end_of_life::{self, EndOfLife};
use stampo_inventory::index::{Newest, Offered, Outdated, keep_newest, outdated};
use stampo_policy::evidence::{MissingUpdate, SecurityUpdates};
use stampo_store::{InsideTx, SourceRow, VersionRow};
use std::collections::BTreeSet;

/// What is missing in a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Updates {
    /// The version.
    pub version: VersionRow,
    /// Its release, where it says which one it is.
    pub ecosystem: Option<String>,
    /// The indexes that it was compared with.
    pub indexes: Vec<SourceRow>,
    /// The packages for which there is an update.
    pub missing: Vec<Outdated>,
    /// Why there may be more; empty when everything was compared.
    pub unknown: Vec<String>,
    /// When its release stops being maintained.
    pub end_of_life: EndOfLife,
    /// The day on which it was asked, as in 2026-11-23.
    pub today: String,
}

impl Engine {
    /// Compares a version with the imported indexes of its release's security updates.
    pub fn updates(&self, reference: &VersionRef) -> Result<Updates, EngineError> {
        let (version, inventory) = self.inventory(reference)?;
        let ecosystem = inventory.ecosystem();
        let end_of_life = end_of_life::of(ecosystem.as_ref());
        let ecosystem = ecosystem.map(|of| of.0);
        let (indexes, newest) = match &ecosystem {
            Some(ecosystem) => self.inside()?.read(|tx| indexes_of(tx, ecosystem))?,
            None => Default::default(),
        };
        let missing = outdated(&inventory, &newest).unwrap_or_default();
        Ok(Updates {
            version,
            unknown: unknown(&inventory, &indexes, &newest),
            ecosystem,
            indexes,
            missing,
            end_of_life,
            today: stampo_core::date::day(self.now_ms() / 1000),
        })
    }
}

impl Engine {
    /// The same of what was read of a disk, for checks; `None` where no index was ever imported.
    pub(crate) fn security_updates(
        &self,
        inspection: &Inspection,
    ) -> Result<Option<SecurityUpdates>, EngineError> {
        // Most homes have none, and no file for it then.
        if !self.has_inside() {
            return Ok(None);
        }
        let inventory = Inventory::of(inspection);
        let inside = self.inside()?;
        let found = inside.read(|tx| {
            let has_index = tx.sources()?.iter().any(|source| source.kind == INDEX);
            let ecosystem = inventory.ecosystem().map(|of| of.0);
            let of_release = ecosystem.map(|of| indexes_of(tx, &of)).transpose()?;
            Ok::<_, EngineError>(has_index.then(|| of_release.unwrap_or_default()))
        })?;
        let Some((indexes, newest)) = found else {
            return Ok(None);
        };
        let missing = outdated(&inventory, &newest).unwrap_or_default();
        let missing = missing.into_iter().map(|one| MissingUpdate {
            package: one.package,
            installed: one.installed,
            available: one.available,
        });
        Ok(Some(SecurityUpdates {
            missing: missing.collect(),
            unknown: unknown(&inventory, &indexes, &newest),
        }))
    }
}

/// The kind of source that is a list of the packages that there are.
const INDEX: &str = "index";

fn indexes_of(tx: &InsideTx<'_>, ecosystem: &str) -> Result<(Vec<SourceRow>, Newest), EngineError> {
    let mut newest = Newest::new();
    let mut indexes = Vec::new();
    for source in tx.sources()?.into_iter().filter(|one| one.kind == INDEX) {
        if !tx.covered(source.number)?.iter().any(|of| of == ecosystem) {
            continue;
        }
        for row in tx.available(source.number)? {
            let offered = Offered {
                name: row.name,
                architecture: row.architecture,
                version: row.version,
            };
            keep_newest(&mut newest, offered);
        }
        indexes.push(source);
    }
    Ok((indexes, newest))
}

/// Why the list of missing updates may not be whole.
fn unknown(inventory: &Inventory, indexes: &[SourceRow], newest: &Newest) -> Vec<String> {
    let mut unknown = inventory.unknowns.clone();
    match inventory.ecosystem() {
        None => unknown.push("the system does not say which release it is".to_owned()),
        Some(of) if inventory.manager != Some(PackageManager::Dpkg) => {
            unknown.push(format!(
                "only dpkg's packages are compared with an index, not those of {of}"
            ));
        }
        Some(of) if indexes.is_empty() => {
            unknown.push(format!(
                "no index of security updates for {of} was imported"
            ));
        }
        Some(_) => {
            let has: BTreeSet<&str> = newest.keys().map(|(_, of)| of.as_str()).collect();
            let installed = inventory
                .packages
                .iter()
                .map(|one| one.architecture.as_str());
            let without: BTreeSet<&str> = installed
                .filter(|of| *of != "all" && !has.contains(of))
                .collect();
            for architecture in without {
                unknown.push(format!("no imported index has packages for {architecture}"));
            }
        }
    }
    unknown
}
