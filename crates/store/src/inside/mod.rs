//! `inside.db`: what packages images have, and what others say about packages.
//!
//! A file of its own beside the catalog, because everything in it can be had again: package lists by
//! reading the images, the rest by importing it again. So it has no steps from one schema to the next:
//! a file of an older schema is emptied. Nothing secret is in it, and the catalog never depends on it.
//!
//! What this does *not* do: compare versions or judge; rows go in and out as they are.

mod advisories;
mod available;
mod sources;
mod systems;

pub use advisories::{AdvisoryRow, ExploitedRow};
pub use available::AvailableRow;
pub use sources::SourceRow;
pub use systems::{Holding, PackageRow, SystemRow};

use crate::sql_error::SqlError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The schema that this program knows.
const SCHEMA: u32 = 1;
/// How long a transaction waits for others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

const TABLES: &str = "
CREATE TABLE systems (
    number INTEGER PRIMARY KEY,
    image_id TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    ecosystem TEXT NOT NULL,
    complete INTEGER NOT NULL,
    system TEXT NOT NULL
);
CREATE TABLE packages (
    number INTEGER PRIMARY KEY,
    ecosystem TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    source TEXT NOT NULL,
    source_version TEXT NOT NULL,
    problem TEXT NOT NULL,
    UNIQUE (ecosystem, name, version, architecture, source, source_version, problem)
);
CREATE INDEX packages_source ON packages (ecosystem, source);
CREATE TABLE contains (
    package INTEGER NOT NULL,
    system INTEGER NOT NULL,
    PRIMARY KEY (package, system)
) WITHOUT ROWID;
CREATE INDEX contains_system ON contains (system);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    as_of_ms INTEGER,
    imported_ms INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    UNIQUE (kind, name)
);
CREATE TABLE covered (
    source INTEGER NOT NULL,
    ecosystem TEXT NOT NULL,
    PRIMARY KEY (source, ecosystem)
) WITHOUT ROWID;
CREATE TABLE advisories (
    source INTEGER NOT NULL,
    cve TEXT NOT NULL,
    id TEXT NOT NULL,
    ecosystem TEXT NOT NULL,
    package TEXT NOT NULL,
    subject TEXT NOT NULL,
    status TEXT NOT NULL,
    introduced TEXT,
    fixed TEXT,
    last_affected TEXT
);
CREATE INDEX advisories_cve ON advisories (cve);
CREATE INDEX advisories_source ON advisories (source);
CREATE TABLE exploited (
    cve TEXT NOT NULL,
    source INTEGER NOT NULL,
    added TEXT NOT NULL,
    due TEXT NOT NULL,
    PRIMARY KEY (cve, source)
) WITHOUT ROWID;
CREATE TABLE available (
    source INTEGER NOT NULL,
    name TEXT NOT NULL,
    architecture TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (source, name, architecture)
) WITHOUT ROWID;
";

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// A newer stampo wrote it.
    #[error("read {}: it has schema {found}, this stampo knows {SCHEMA}", path.display())]
    TooNew {
        /// Its path.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// It can't be opened, or a statement failed.
    #[error("use {}; if it is damaged, remove it and import again", path.display())]
    Sql {
        /// Its path.
        path: PathBuf,
        /// What SQLite said.
        source: SqlError,
    },
    /// A row holds what it should not.
    #[error(
        "read {table} of inside.db: {text:?} is not what it should hold; remove the file and import again"
    )]
    Damaged {
        /// The table.
        table: &'static str,
        /// What it holds.
        text: String,
    },
    /// The file's rights can't be set.
    #[error("protect {}", path.display())]
    Protect {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<rusqlite::Error> for InsideError {
    fn from(source: rusqlite::Error) -> Self {
        InsideError::Sql {
            path: PathBuf::from("inside.db"),
            source: SqlError(source),
        }
    }
}

/// The open file.
pub struct Inside {
    connection: Mutex<Connection>,
}

/// A running transaction of it.
pub struct InsideTx<'a> {
    sql: rusqlite::Transaction<'a>,
}

impl Inside {
    /// Opens the file, making it if it is missing, readable by its owner only.
    ///
    /// # Errors
    /// When it can't be opened or made, or a newer stampo wrote it.
    pub fn open(path: &Path) -> Result<Inside, InsideError> {
        let failed = |source| InsideError::Sql {
            path: path.to_owned(),
            source: SqlError(source),
        };
        make_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        let found: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > SCHEMA {
            return Err(InsideError::TooNew {
                path: path.to_owned(),
                found,
            });
        }
        if found < SCHEMA {
            make_tables(&mut connection).map_err(failed)?;
        }
        Ok(Inside {
            connection: Mutex::new(connection),
        })
    }

    /// Runs `act` in one transaction that only reads.
    ///
    /// # Errors
    /// Those of `act`, and of beginning.
    pub fn read<T, E: From<InsideError>>(
        &self,
        act: impl FnOnce(&InsideTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let sql = connection.transaction().map_err(InsideError::from)?;
        act(&InsideTx { sql })
    }

    /// Runs `act` in one writing transaction, and commits when it succeeds.
    ///
    /// # Errors
    /// Those of `act`, of beginning and of committing.
    pub fn write<T, E: From<InsideError>>(
        &self,
        act: impl FnOnce(&InsideTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let sql = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(InsideError::from)?;
        let tx = InsideTx { sql };
        let value = act(&tx)?;
        tx.sql.commit().map_err(InsideError::from)?;
        Ok(value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        // A panic elsewhere left at most an uncommitted transaction, which was rolled back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an empty file that others can't read, if there is none.
fn make_private(path: &Path) -> Result<(), InsideError> {
    use std::os::unix::fs::OpenOptionsExt;
    if path.exists() {
        return Ok(());
    }
    let made = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|source| InsideError::Protect {
        path: path.to_owned(),
        source,
    })
}

/// Throws away what another schema has, and makes the tables.
fn make_tables(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found: u32 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < SCHEMA {
        let tables: Vec<String> = tx
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for table in tables.iter().filter(|name| !name.starts_with("sqlite_")) {
            tx.execute_batch(&format!("DROP TABLE \"{}\"", table.replace('"', "\"\"")))?;
        }
        tx.execute_batch(TABLES)?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
    }
    tx.commit()
}
