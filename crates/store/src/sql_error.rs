//! SQLite's errors in our words, with the catalog's path in them.
//!
//! Apart because a statement does not know which file it is about: [`crate::Store`] says it when a
//! transaction fails, whatever error the transaction's caller has.

use crate::connection::StoreError;
use std::fmt;
use std::path::{Path, PathBuf};

/// `SQLITE_IOERR_SHMSIZE`: the file with the index of the log could not be made larger.
const NO_INDEX: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// SQLite's error in one sentence; the library says each of them twice.
#[derive(Debug)]
pub struct SqlError(pub(crate) rusqlite::Error);

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            rusqlite::Error::SqliteFailure(error, Some(words)) => {
                let room = match error.extended_code {
                    NO_INDEX => ": no space is left for the index of its log",
                    _ => "",
                };
                write!(f, "{words}{room} (SQLite code {})", error.extended_code)
            }
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for SqlError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Sql {
            path: PathBuf::new(),
            source: SqlError(error),
        }
    }
}

/// What a transaction may fail with: the catalog's own errors among others.
pub trait TransactionError: From<StoreError> {
    /// The same error; one of SQLite's names the catalog that it is about.
    #[must_use]
    fn in_catalog(self, path: &Path) -> Self;
}

impl TransactionError for StoreError {
    fn in_catalog(mut self, catalog: &Path) -> Self {
        if let StoreError::Sql { path, .. } = &mut self {
            catalog.clone_into(path);
        }
        self
    }
}
