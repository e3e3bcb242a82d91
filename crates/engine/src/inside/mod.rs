//! What is inside versions: their packages, kept in `inside.db` so that questions about many versions
//! need no disk, and what is made of them.
//!
//! Packages are those of an *image*, which never changes: they are read once. What could not be read
//! as a whole is read again at the next question, because a newer stampo may read more. Recording
//! is no operation: when it fails or is killed, nothing but time is lost.

mod bom;
mod cve;
mod diff;
mod import;
mod scan;
mod source;
mod suite;
mod updates;

pub use bom::BomForm;
pub use cve::{CveReport, PackageVerdict, VersionVerdict};
pub use diff::Difference;
pub use scan::Scanned;
pub use source::Loaded;
pub use updates::Updates;

use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use stampo_core::ids::ImageId;
use stampo_core::names::VersionRef;
use stampo_guest::inspect::packages::{Package, PackageManager};
use stampo_inventory::Inventory;
use stampo_inventory::inventory::source_of;
use stampo_store::{Inside, InsideError, PackageRow, SystemRow, VersionRow};

/// The file beside the catalog.
const FILE: &str = "inside.db";

impl Engine {
    /// What is known of the inside of images.
    pub(crate) fn inside(&self) -> Result<Inside, EngineError> {
        Ok(Inside::open(&self.home.join(FILE))?)
    }

    /// Whether anything was ever recorded or imported.
    pub(crate) fn has_inside(&self) -> bool {
        self.home.join(FILE).exists()
    }

    /// A version's packages: as recorded, or read now and recorded.
    pub fn inventory(
        &self,
        reference: &VersionRef,
    ) -> Result<(VersionRow, Inventory), EngineError> {
        let row = self.version_row(reference)?;
        let inventory = self.inventory_of(&self.inside()?, &row)?;
        Ok((row, inventory))
    }

    /// As [`Engine::inventory`], of a row.
    pub(crate) fn inventory_of(
        &self,
        inside: &Inside,
        row: &VersionRow,
    ) -> Result<Inventory, EngineError> {
        let image = row.image.as_ref().ok_or_else(|| EngineError::NotFound {
            what: "the image of",
            name: row.label(),
        })?;
        let recorded = recorded(inside, image)?;
        if let Some(whole) = recorded.as_ref().filter(|one| one.is_complete()) {
            return Ok(whole.clone());
        }
        match (self.read_packages(row), recorded) {
            (Ok(inventory), _) => {
                self.record(inside, image, &inventory)?;
                Ok(inventory)
            }
            // Its bytes are gone, or can't be read now; what was read once still is so.
            (Err(_), Some(part)) => Ok(part),
            (Err(error), None) => Err(error),
        }
    }

    fn read_packages(&self, row: &VersionRow) -> Result<Inventory, EngineError> {
        let act = || format!("read the packages of {}", row.label());
        let read = stampo_guest::inspect::inspect_packages(self.open_image(row)?);
        Ok(Inventory::of(&read.map_err(EngineError::room(act()))?))
    }

    fn record(
        &self,
        inside: &Inside,
        image: &ImageId,
        inventory: &Inventory,
    ) -> Result<(), EngineError> {
        let system = json!({
            "id": inventory.id,
            "version_id": inventory.version_id,
            "codename": inventory.codename,
            "pretty_name": inventory.pretty_name,
            "manager": inventory.manager,
            "unknowns": inventory.unknowns,
        });
        let row = SystemRow {
            image: image.clone(),
            at_ms: self.now_ms(),
            ecosystem: inventory.ecosystem().map_or_else(String::new, |of| of.0),
            is_complete: inventory.is_complete(),
            system,
        };
        let packages: Vec<PackageRow> = inventory.packages.iter().map(package_row).collect();
        inside.write(|tx| tx.put_system(&row, &packages))?;
        Ok(())
    }
}

/// What was recorded of an image.
fn recorded(inside: &Inside, image: &ImageId) -> Result<Option<Inventory>, EngineError> {
    let Some((row, packages)) = inside.read(|tx| tx.system(image))? else {
        return Ok(None);
    };
    // An inventory is its system and its packages; the latter are rows of their own.
    let mut whole = row.system.clone();
    whole["packages"] = json!([]);
    let inventory: Inventory = serde_json::from_value(whole).map_err(|_| InsideError::Damaged {
        table: "systems",
        text: row.system.to_string(),
    })?;
    Ok(Some(Inventory {
        packages: packages.into_iter().map(package).collect(),
        ..inventory
    }))
}

fn package_row(package: &Package) -> PackageRow {
    let (source, source_version) = source_of(package);
    PackageRow {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        source: source.to_owned(),
        source_version: source_version.to_owned(),
        problem: package.problem.clone().unwrap_or_default(),
    }
}

/// Back from its row.
pub(crate) fn package(row: PackageRow) -> Package {
    Package {
        source: (row.source != row.name).then_some(row.source),
        source_version: (row.source_version != row.version).then_some(row.source_version),
        problem: (!row.problem.is_empty()).then_some(row.problem),
        name: row.name,
        version: row.version,
        architecture: row.architecture,
    }
}

/// Who installs packages where an ecosystem's versions are compared.
pub(crate) fn manager_of(ecosystem: &str) -> Option<PackageManager> {
    match ecosystem.split(':').next()? {
        "debian" | "ubuntu" => Some(PackageManager::Dpkg),
        "alpine" => Some(PackageManager::Apk),
        "rhel" | "rocky" | "almalinux" | "centos" | "fedora" | "ol" | "sles" | "opensuse-leap" => {
            Some(PackageManager::Rpm)
        }
        _ => None,
    }
}
