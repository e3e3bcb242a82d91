//! The file for strangers: made here from the catalog, and checked without one.

use super::image_of;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_attest::bundle::{Bundle, LONGEST_BUNDLE, Proof, SCHEMA, Signed};
use stampo_attest::signature::Key;
use stampo_core::names::VersionRef;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

impl Engine {
    /// Everything that was signed about a version, as one text.
    pub fn approval_bundle(&self, reference: &VersionRef) -> Result<String, EngineError> {
        let row = self.version_row(reference)?;
        let rows = self.store.read(|tx| tx.approvals(row.id))?;
        if rows.is_empty() {
            return Err(EngineError::Conflict {
                act: format!("bundle {}", row.label()),
                why: format!(
                    "nobody has said anything about it: stampo template submit {}",
                    row.label()
                ),
            });
        }
        let texts = |of: fn(&stampo_store::ApprovalRow) -> &String| -> Vec<String> {
            let mut found: Vec<String> = Vec::new();
            for text in rows.iter().map(of).filter(|text| !text.is_empty()) {
                if !found.contains(text) {
                    found.push(text.clone());
                }
            }
            found
        };
        let bundle = Bundle {
            schema: SCHEMA.to_owned(),
            version: row.label(),
            image: image_of(&row),
            reports: texts(|row| &row.report),
            provenances: texts(|row| &row.provenance),
            statements: rows
                .iter()
                .map(|row| Signed {
                    statement: row.statement.clone(),
                    signature: row.signature.clone(),
                    key: row.key.clone(),
                })
                .collect(),
        };
        Ok(bundle.text())
    }
}

/// What a bundle proves to somebody who trusts these keys, and whether the raw disk that was given
/// is the one that it is about. Needs no home.
pub fn verify_bundle(
    file: &Path,
    disk: Option<&Path>,
    keys: &[String],
) -> Result<Proof, EngineError> {
    let opened = std::fs::File::open(file).map_err(EngineError::io("read", file))?;
    let mut text = String::new();
    opened
        .take(LONGEST_BUNDLE as u64 + 1)
        .read_to_string(&mut text)
        .map_err(EngineError::io("read", file))?;
    let wrong = |error: &(dyn std::error::Error + 'static)| EngineError::Approval {
        act: "trust",
        label: file.display().to_string(),
        why: format!("failed to {}", crate::error::chain(error)),
    };
    let keys: Vec<Key> = keys
        .iter()
        .map(|line| Key::parse(line))
        .collect::<Result<_, _>>()
        .map_err(|error| EngineError::Usage {
            act: "use a signer's key".to_owned(),
            why: crate::error::chain(&error),
        })?;
    let bundle = Bundle::parse(&text).map_err(|error| wrong(&error))?;
    let proof = bundle.verify(&keys).map_err(|error| wrong(&error))?;
    if let Some(disk) = disk {
        let go_on = |_: u64, _: u64| ControlFlow::Continue(());
        let found = stampo_image::identity::image_id(disk, &go_on)
            .map_err(EngineError::room(format!("read {}", disk.display())))?;
        if found.as_str() != proof.image {
            return Err(EngineError::Approval {
                act: "trust",
                label: disk.display().to_string(),
                why: format!(
                    "it is another disk: its image id is {found}, and {} was approved",
                    proof.image
                ),
            });
        }
    }
    Ok(proof)
}
