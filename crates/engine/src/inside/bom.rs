//! A version's bill of materials.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::names::VersionRef;
use stampo_inventory::bom::{Subject, cyclonedx, spdx};
use stampo_policy::Point;

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BomForm {
    /// CycloneDX 1.6.
    CycloneDx,
    /// SPDX 2.3.
    Spdx,
}

impl Engine {
    /// A version's bill of materials as JSON. The same version gives the same bytes, whenever it is
    /// asked for.
    pub fn bill_of_materials(
        &self,
        reference: &VersionRef,
        form: BomForm,
    ) -> Result<serde_json::Value, EngineError> {
        let (row, inventory) = self.inventory(reference)?;
        self.gate(Point::Export, &row)?;
        let seconds = row.created_ms.div_euclid(1000);
        let created = stampo_core::date::text(seconds * 1000);
        let subject = Subject {
            template: row.template.to_string(),
            number: row.number,
            image: row
                .image
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            // Midnight is written as a day alone.
            created: match created.len() {
                10 => format!("{created}T00:00:00Z"),
                _ => created,
            },
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(match form {
            BomForm::CycloneDx => cyclonedx::document(&subject, &inventory),
            BomForm::Spdx => spdx::document(&subject, &inventory),
        })
    }
}
