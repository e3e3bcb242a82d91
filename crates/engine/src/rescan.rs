//! Rebuilding the catalog from the sidecars that lie beside the bytes.
//!
//! Only what the catalog does not know is added. A version is added in the state that its sidecar
//! names; its bytes are believed only after `verify`, which rescan asks for in its report. A guest
//! is added when its disk is there; whether it runs is observed by the driver as always.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::{FORMAT, GuestSidecar, LIMIT_BYTES, VersionSidecar};
use serde::de::DeserializeOwned;
use stampo_core::guest::GuestState;
use stampo_core::ids::ImageId;
use stampo_store::{ExceptionRow, GuestRow, VersionRow};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a rescan brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rescanned {
    /// Versions, `name@N`.
    pub versions: Vec<String>,
    /// Guests.
    pub guests: Vec<String>,
    /// Sidecars that could not be taken in, and why.
    pub refused: Vec<(String, String)>,
}

impl Engine {
    /// Adds to the catalog every version and guest that is on disk and not in it.
    pub fn rescan(&self) -> Result<Rescanned, EngineError> {
        let mut found = Rescanned::default();
        for image in self.image_ids()? {
            for path in self.version_sidecars(&image)? {
                match self.rescan_version(&image, &path) {
                    Ok(Some(label)) => found.versions.push(label),
                    Ok(None) => {}
                    Err(error) => found
                        .refused
                        .push((path.display().to_string(), error.chain())),
                }
            }
        }
        for path in list(self.driver.guests_dir())? {
            let sidecar = path.join("guest.json");
            if sidecar.exists() {
                match self.rescan_guest(&sidecar) {
                    Ok(Some(name)) => found.guests.push(name),
                    Ok(None) => {}
                    Err(error) => found
                        .refused
                        .push((sidecar.display().to_string(), error.chain())),
                }
            }
        }
        let detail = format!(
            "{} versions, {} guests",
            found.versions.len(),
            found.guests.len()
        );
        self.store
            .write_durably(|tx| self.audit(tx, "rescan", "store", &detail))?;
        Ok(found)
    }

    /// The version sidecars of an image.
    fn version_sidecars(&self, image: &ImageId) -> Result<Vec<PathBuf>, EngineError> {
        let is_sidecar = |path: &PathBuf| {
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            name.starts_with("version-") && name.ends_with(".json")
        };
        Ok(list(&self.pool.image_dir(image))?
            .into_iter()
            .filter(is_sidecar)
            .collect())
    }

    /// Whether any version's sidecar lies beside this image.
    pub(crate) fn has_sidecars(&self, image: &ImageId) -> Result<bool, EngineError> {
        Ok(!self.version_sidecars(image)?.is_empty())
    }

    fn rescan_version(&self, image: &ImageId, path: &Path) -> Result<Option<String>, EngineError> {
        let sidecar: VersionSidecar = read_json(path)?;
        check_format(path, sidecar.format)?;
        if sidecar.image != *image {
            return Err(unusable(path, "it names another image"));
        }
        self.store.write_durably(|tx| {
            if tx.version(sidecar.id)?.is_some() {
                return Ok(None);
            }
            let template = tx.ensure_template(&sidecar.template, sidecar.created_ms)?;
            let row = VersionRow {
                id: sidecar.id,
                template_id: template.id,
                template: template.name,
                number: sidecar.number,
                state: sidecar.state,
                image: Some(sidecar.image),
                virtual_size: sidecar.virtual_size,
                data: sidecar.data,
                hardware: sidecar.hardware,
                origin: sidecar.origin,
                proof: sidecar.proof,
                operation: None,
                created_ms: sidecar.created_ms,
                changed_ms: sidecar.changed_ms,
                verified_ms: sidecar.verified_ms,
            };
            tx.insert_version(&row)?;
            for exception in sidecar.exceptions {
                tx.put_exception(row.id, &ExceptionRow::from(exception))?;
            }
            Ok(Some(row.label()))
        })
    }

    fn rescan_guest(&self, path: &Path) -> Result<Option<String>, EngineError> {
        let sidecar: GuestSidecar = read_json(path)?;
        check_format(path, sidecar.format)?;
        if self.guest_dir(sidecar.id).join("guest.json") != path {
            return Err(unusable(path, "it lies in the directory of another guest"));
        }
        let disk = self
            .guest_dir(sidecar.id)
            .join(crate::clone::disk_name(sidecar.kind));
        if !disk.exists() {
            return Err(unusable(path, "its disk is missing"));
        }
        self.store.write_durably(|tx| {
            if tx.guest(sidecar.id)?.is_some() {
                return Ok(None);
            }
            if tx.version(sidecar.version)?.is_none() {
                return Err(unusable(path, "its version is not in the catalog"));
            }
            let row = GuestRow {
                id: sidecar.id,
                name: sidecar.name.clone(),
                version: sidecar.version,
                image: sidecar.image,
                kind: sidecar.kind,
                state: GuestState::Ready,
                operation: None,
                plan: sidecar.plan,
                host_keys: sidecar.host_keys,
                error: None,
                created_ms: sidecar.created_ms,
                changed_ms: self.now_ms(),
                keep_until_ms: None,
            };
            tx.insert_guest(&row)?;
            // The salt was lost with the catalog, so these can only be compared with each other.
            tx.put_facts(row.id, &sidecar.facts)?;
            Ok(Some(row.name.to_string()))
        })
    }
}

fn unusable(path: &Path, why: &str) -> EngineError {
    EngineError::Conflict {
        act: format!("take in {}", path.display()),
        why: why.to_owned(),
    }
}

fn check_format(path: &Path, format: u32) -> Result<(), EngineError> {
    if format == FORMAT {
        Ok(())
    } else {
        Err(unusable(path, "it is of another form"))
    }
}

/// The entries of a directory, sorted; none when it does not exist.
fn list(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(EngineError::io("list", dir))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(EngineError::io("list", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let file = std::fs::File::open(path).map_err(EngineError::io("read", path))?;
    let mut text = Vec::new();
    file.take(LIMIT_BYTES)
        .read_to_end(&mut text)
        .map_err(EngineError::io("read", path))?;
    serde_json::from_slice(&text).map_err(EngineError::room(format!("read {}", path.display())))
}
