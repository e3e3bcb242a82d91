//! Bills of materials: CycloneDX 1.6 and SPDX 2.3, both as JSON.
//!
//! The same image and the same [`Subject`] give the same bytes: nothing is asked of a clock or of a
//! generator, and everything is in a fixed order. Where the package list may not be whole, the
//! document says so.

pub mod cyclonedx;
pub mod spdx;

use crate::inventory::Inventory;
use crate::purl;
use stampo_guest::inspect::packages::Package;

/// What a document is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The template's name.
    pub template: String,
    /// The version's number.
    pub number: u32,
    /// The image's id, which depends on its content.
    pub image: String,
    /// RFC 3339 in UTC, to the second: when the version was made.
    pub created: String,
    /// The version of this program.
    pub tool_version: String,
}

impl Subject {
    /// `name@N`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.template, self.number)
    }

    /// An id of the document that depends on everything it is made of.
    fn document_id(&self, form: &str, inventory: &Inventory) -> uuid::Uuid {
        let mut hasher = blake3::Hasher::new_derive_key("stampo bill of materials v1");
        let list = serde_json::to_vec(inventory).expect("names and numbers only");
        let number = self.number.to_string();
        for part in [form, &self.template, &number, &self.image, &self.created] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(self.tool_version.as_bytes());
        hasher.update(&list);
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Uuid::new_v8(id)
    }
}

/// Name and version of the operating system, as far as it says.
fn system(inventory: &Inventory) -> (String, String) {
    let version = inventory.version_id.clone().or(inventory.codename.clone());
    (
        inventory.id.clone(),
        version.unwrap_or_else(|| "unknown".into()),
    )
}

/// Texts that hold more about a package, by name.
fn remarks(inventory: &Inventory, package: &Package) -> Vec<(&'static str, String)> {
    let (source, version) = crate::inventory::source_of(package);
    let mut remarks = vec![("stampo:architecture", package.architecture.clone())];
    // Alpine's own name for it is "origin", and its binaries have their source's version.
    remarks.push(("stampo:source-package", source.to_owned()));
    remarks.push(("stampo:source-version", version.to_owned()));
    if let Some(problem) = &package.problem {
        remarks.push(("stampo:not-fully-installed", problem.clone()));
    }
    if purl::of(inventory, package).is_none() {
        remarks.push(("stampo:package-manager", "unknown".into()));
    }
    remarks.retain(|(_, value)| !value.is_empty());
    remarks
}
