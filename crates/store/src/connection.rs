//! Opening the catalog and running transactions.

use crate::audit;
use crate::check;
use crate::reserve;
use crate::schema;
use crate::settings;
use crate::sql_error::{SqlError, TransactionError};
use crate::sums;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, access};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a transaction waits for others before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the catalog could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened or made.
    #[error("open the catalog {}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// What stood in the way.
        source: SqlError,
    },
    /// It is there, and can't be written: every command records what it does, and so needs to.
    #[error("write the catalog {}", path.display())]
    NotWritable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A newer stampo wrote it.
    #[error("read the catalog {}: it has schema {found}, this stampo knows up to {known}", path.display())]
    TooNew {
        /// Its path.
        path: PathBuf,
        /// Its schema version.
        found: usize,
        /// The newest that this program knows.
        known: usize,
    },
    /// A statement failed.
    #[error("use the catalog {}", path.display())]
    Sql {
        /// The catalog's path; [`Store`] fills it in.
        path: PathBuf,
        /// What SQLite said.
        source: SqlError,
    },
    /// A row holds a text that is not what its column should hold.
    #[error("read the catalog: {column} of {table} holds {text:?}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        text: String,
    },
    /// The file's parts do not fit together.
    #[error("trust the catalog {}: {}", path.display(), faults.join("; "))]
    Corrupt {
        /// Its path.
        path: PathBuf,
        /// What was found, at least one fault.
        faults: Vec<String>,
    },
    /// Another row already has this unique value.
    #[error("record {what}: it exists already")]
    Exists {
        /// What was to be unique.
        what: String,
    },
    /// The file's rights can't be set.
    #[error("protect the catalog {}", path.display())]
    Protect {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the file does not hold what was written into it.
    pub fn is_damage(&self) -> bool {
        use rusqlite::Error as Sql;
        match self {
            StoreError::Damaged { .. } | StoreError::Corrupt { .. } => true,
            StoreError::Open { source, .. } | StoreError::Sql { source, .. } => match &source.0 {
                Sql::SqliteFailure(failure, _) => matches!(
                    failure.code,
                    ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
                ),
                Sql::FromSqlConversionFailure(..)
                | Sql::InvalidColumnType(..)
                | Sql::IntegralValueOutOfRange(..)
                | Sql::Utf8Error(..) => true,
                _ => false,
            },
            _ => false,
        }
    }
}

impl StoreError {
    /// Whether there may be no room on the disk.
    fn is_of_room(&self) -> bool {
        match self {
            StoreError::Open { source, .. } | StoreError::Sql { source, .. } => matches!(
                source.0.sqlite_error_code(),
                Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
            ),
            _ => false,
        }
    }

    /// Whether SQLite itself found that the file is damaged, which is more than one row.
    pub fn is_damage_of_file(&self) -> bool {
        let (StoreError::Open { source, .. } | StoreError::Sql { source, .. }) = self else {
            return false;
        };
        matches!(
            source.0.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// The catalog. Cheap to share between threads: they take turns.
pub struct Store {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Which file it is, as stat(2) has it.
    file: (u64, u64),
    is_short: bool,
}

/// A running transaction. Dropping it without [`Store`] committing it undoes everything.
pub struct Tx<'a> {
    pub(crate) sql: rusqlite::Transaction<'a>,
}

/// Device and number of the file at this path.
fn file_at(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

impl Store {
    /// Opens the catalog, making it if it is missing, and brings its schema up to date. On a full disk
    /// it gives up the room that it keeps for that; see [`Store::is_short`].
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let is_short = reserve::release_if_short(path);
        match Store::try_open(path, is_short) {
            // A quota, or somebody else was faster.
            Err(error) if error.is_of_room() && reserve::release(path) => {
                Store::try_open(path, true)
            }
            Ok(store) if !is_short => {
                reserve::ensure(path);
                Ok(store)
            }
            other => other,
        }
    }

    /// Whether the disk was full when the catalog was opened.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    fn try_open(path: &Path, is_short: bool) -> Result<Store, StoreError> {
        let opened = |source| StoreError::Open {
            path: path.to_owned(),
            source: SqlError(source),
        };
        let protected = |source| StoreError::Protect {
            path: path.to_owned(),
            source,
        };
        if !path.exists() {
            // Made by us first, so that it is never readable by others, not even for a moment.
            use std::os::unix::fs::OpenOptionsExt;
            let file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path);
            drop(file.map_err(protected)?);
        }
        // Asked, not tried: closing the file would give up the locks that another connection of this
        // process holds on it (fcntl_locking(2)). SQLite says no more than that it could not open it.
        if let Err(error) = access(path, Access::WRITE_OK) {
            return Err(StoreError::NotWritable {
                path: path.to_owned(),
                source: error.into(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(opened)?;
        let file = file_at(path).map_err(protected)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(opened)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(opened)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(opened)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(opened)?;
        // Plans hold secrets until their guest is made; what is overwritten must be gone.
        connection
            .pragma_update(None, "secure_delete", true)
            .map_err(opened)?;
        sums::register(&connection).map_err(opened)?;
        let store = Store {
            connection: Mutex::new(connection),
            path: path.to_owned(),
            file,
            is_short,
        };
        store.migrate()?;
        Ok(store)
    }

    /// Where the catalog is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number that is another one whenever another connection has changed something.
    pub fn changes(&self) -> Result<i64, StoreError> {
        let connection = self.lock();
        let version = connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|error| StoreError::from(error).in_catalog(&self.path))
    }

    /// Whether the catalog at the path is the one that was opened, with the schema that this program
    /// knows: not removed, replaced by another, or taken over by a newer stampo.
    pub fn is_current(&self) -> Result<bool, StoreError> {
        if file_at(&self.path).ok() != Some(self.file) {
            return Ok(false);
        }
        let connection = self.lock();
        let schema: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|error| StoreError::from(error).in_catalog(&self.path))?;
        Ok(schema as usize == schema::STEPS.len())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread left at most an uncommitted transaction, which was rolled back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn migrate(&self) -> Result<(), StoreError> {
        let version = |c: &Connection| -> Result<usize, rusqlite::Error> {
            let number: u32 = c.pragma_query_value(None, "user_version", |r| r.get(0))?;
            Ok(number as usize)
        };
        let found = version(&self.lock())
            .map_err(|error| StoreError::from(error).in_catalog(&self.path))?;
        if found > schema::STEPS.len() {
            let known = schema::STEPS.len();
            return Err(StoreError::TooNew {
                path: self.path.clone(),
                found,
                known,
            });
        }
        if found == schema::STEPS.len() {
            return Ok(());
        }
        self.write_durably(|tx| {
            // Read again: another process may have migrated while this one waited for the lock.
            let found = version(&tx.sql)?;
            self.migrate_from(tx, found)
        })
    }

    fn migrate_from(&self, tx: &Tx<'_>, found: usize) -> Result<(), StoreError> {
        for (number, step) in (1_u32..).zip(schema::STEPS).skip(found) {
            // A step is SQL of ours: it fails only where its tables are not those of its number.
            tx.sql.execute_batch(step).map_err(|error| match error {
                rusqlite::Error::SqliteFailure(ref failure, _)
                    if failure.code == ErrorCode::Unknown =>
                {
                    let fault = format!("it says schema {found}, its tables differ: {error}");
                    self.corrupt(vec![fault])
                }
                error => error.into(),
            })?;
            tx.sql.pragma_update(None, "user_version", number)?;
        }
        sums::ensure(tx)?;
        audit::ensure_links(tx)?;
        settings::ensure_salt(tx)
    }

    fn corrupt(&self, faults: Vec<String>) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            faults,
        }
    }

    /// Runs `act` in a transaction that only reads. It sees one consistent moment.
    pub fn read<T, E: TransactionError>(
        &self,
        act: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let begun = connection.transaction_with_behavior(TransactionBehavior::Deferred);
        let result = begun
            .map_err(|error| StoreError::from(error).into())
            .and_then(|sql| act(&Tx { sql }));
        result.map_err(|error: E| error.in_catalog(&self.path))
    }

    /// Runs `act` in a writing transaction and commits it when `act` succeeds.
    ///
    /// A power loss may undo the last such transactions, never part of one. Use it for rows whose
    /// step can be repeated.
    pub fn write<T, E: TransactionError>(
        &self,
        act: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = run(&mut self.lock(), act);
        result.map_err(|error| error.in_catalog(&self.path))
    }

    /// As [`Store::write`], and the commit survives a power loss. Use it for what was promised to
    /// a user: a published version, a deletion, an audit record of either.
    pub fn write_durably<T, E: TransactionError>(
        &self,
        act: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let synchronous = |c: &Connection, level: &str| {
            c.pragma_update(None, "synchronous", level)
                .map_err(|error| E::from(StoreError::from(error)))
        };
        let result = synchronous(&connection, "FULL").and_then(|()| {
            let result = run(&mut connection, act);
            synchronous(&connection, "NORMAL")?;
            result
        });
        result.map_err(|error| error.in_catalog(&self.path))
    }

    /// Moves everything from the write-ahead log into the catalog and empties the log, so that no
    /// older form of a row stays in it. Readers in other processes may keep it from being emptied.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let connection = self.lock();
        let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        done.map_err(|error| StoreError::from(error).in_catalog(&self.path))
    }

    /// Checks the whole file: the faults that were found, none when it is sound. Rows are checked
    /// by [`Tx::damaged_rows`].
    pub fn check_integrity(&self) -> Result<Vec<String>, StoreError> {
        check::faults(&self.lock()).map_err(|error| error.in_catalog(&self.path))
    }

    /// An error that names what [`Store::check_integrity`] found, if it found anything.
    pub fn trust(&self) -> Result<(), StoreError> {
        match self.check_integrity() {
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => Err(self.corrupt(faults)),
            Err(error) if error.is_damage() => Err(self.corrupt(vec![match error {
                StoreError::Sql { source, .. } => source.to_string(),
                other => other.to_string(),
            }])),
            Err(error) => Err(error),
        }
    }
}

fn run<T, E: TransactionError>(
    connection: &mut Connection,
    act: impl FnOnce(&Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    // IMMEDIATE: the lock is waited for here, at the start, and never later.
    let sql = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let tx = Tx { sql };
    let value = act(&tx)?;
    tx.sql.commit().map_err(StoreError::from)?;
    Ok(value)
}
