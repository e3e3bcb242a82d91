//! Moving a damaged catalog out of the way, so that a rescan can make a new one.
//!
//! Nothing is deleted: the three files get other names beside it. A catalog that is sound is never
//! moved, nor one that a newer stampo wrote, nor one that another process has open: its writes
//! would go to the file that was moved.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_image::durable::rename_durably;
use stampo_store::{Store, StoreError};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What SQLite keeps beside the file, before the file itself. A log that stayed behind would be
/// read into the new catalog, so it goes first.
const PARTS: [&str; 3] = ["-wal", "-shm", ""];

impl Engine {
    /// Renames the damaged catalog in `home`; its new name.
    pub fn move_damaged_catalog(home: &Path) -> Result<PathBuf, EngineError> {
        let path = home.join("catalog.db");
        let refused = |why: &str| EngineError::Conflict {
            act: format!("replace the catalog {}", path.display()),
            why: why.to_owned(),
        };
        if !path.exists() {
            return Err(refused("there is none; use: stampo store rescan"));
        }
        if is_sound(&path)? {
            return Err(refused("it is sound; use: stampo store rescan"));
        }
        let open = OpenOptions::new().read(true).write(true).open(&path);
        let file = open.map_err(EngineError::io("open", &path))?;
        let is_open = stampo_image::lock::is_locked(&file);
        if is_open.map_err(EngineError::room("ask who uses the catalog"))? {
            return Err(refused(
                "another process has it open; wait for it, or end it",
            ));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let stem = format!(
            "catalog-damaged-{}.db",
            since.unwrap_or_default().as_millis()
        );
        for part in PARTS {
            let from = home.join(format!("catalog.db{part}"));
            if from.exists() {
                rename_durably(&from, &home.join(format!("{stem}{part}")))
                    .map_err(EngineError::room("move the damaged catalog away"))?;
            }
        }
        Ok(home.join(stem))
    }
}

/// Whether a catalog can be read, as a whole and row by row.
fn is_sound(path: &Path) -> Result<bool, EngineError> {
    let checked = Store::open(path).and_then(|store| {
        store.trust()?;
        store.read(|tx| {
            tx.versions()?;
            tx.guests()?;
            Ok::<_, StoreError>(tx.damaged_rows()?.is_empty())
        })
    });
    match checked {
        Err(error) if error.is_damage() => Ok(false),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("catalog.db");
        (dir, path)
    }

    #[test]
    fn a_sound_catalog_stays() {
        let (dir, path) = home();
        drop(Store::open(&path).expect("made"));
        let error = Engine::move_damaged_catalog(dir.path()).expect_err("refused");
        assert!(error.to_string().contains("it is sound"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_damaged_one_moves_with_what_lies_beside_it() {
        let (dir, path) = home();
        drop(Store::open(&path).expect("made"));
        std::fs::write(&path, [0xA5; 8192]).expect("written");
        std::fs::write(dir.path().join("catalog.db-shm"), "beside it").expect("written");
        let moved = Engine::move_damaged_catalog(dir.path()).expect("moved");
        assert!(!path.exists() && !dir.path().join("catalog.db-shm").exists());
        assert_eq!(std::fs::read(&moved).expect("kept"), [0xA5; 8192]);
    }
}
