//! RPM's package database in its SQLite form (`rpmdb.sqlite`, RPM 4.16 and newer).
//!
//! SQLite reads a copy in memory that is shielded: nothing of the file's own schema is run, only
//! the one table that RPM makes is read, and steps, values and rows are bounded. What is in the
//! write-ahead log beside the file is *not* read, and said to be unknown. The older forms, Berkeley
//! DB (`Packages`) and ndb (`Packages.db`), are not read at all.

pub mod header;

use super::look::clip;
use super::packages::{MAX_PACKAGES, Package};
use header::{Header, HeaderError, Tag};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, MAIN_DB};

/// Largest database that is read, in bytes.
pub const MAX_RPM_DATABASE_BYTES: u64 = 256 << 20;
/// Largest header, in bytes: what RPM allows for one is more than any package has.
const MAX_HEADER_BYTES: i32 = 32 << 20;
/// How many steps of its machine SQLite may take, in thousands.
const MAX_THOUSAND_STEPS: u32 = 50_000;
/// The table as RPM makes it, without spaces and quotes.
const TABLE: &str = "createtablepackages(hnumintegerprimarykeyautoincrement,blobblobnotnull)";
/// Keys that `rpm --import` records as if they were packages.
const KEYS: &str = "gpg-pubkey";

/// Why a database can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RpmError {
    /// SQLite finds it damaged, or it takes too long.
    #[error("read the RPM database")]
    Sql(#[from] rusqlite::Error),
    /// It is not what RPM makes.
    #[error("read the RPM database: {0}")]
    Form(&'static str),
    /// A package's header makes no sense.
    #[error("read package {row} of the RPM database")]
    Header {
        /// Its number.
        row: i64,
        /// What is wrong.
        source: HeaderError,
    },
}

/// The packages in the database's order. `file` is the whole file.
///
/// # Errors
/// When it is no such database, damaged, or larger inside than outside. Packages are all read or
/// none: a part would be taken for the whole.
pub fn parse(mut file: Vec<u8>) -> Result<Vec<Package>, RpmError> {
    if !file.starts_with(b"SQLite format 3\0") || file.len() < 100 {
        return Err(RpmError::Form("it is not SQLite"));
    }
    // A copy in memory has no write-ahead log; its header must not ask for one.
    file[18] = 1;
    file[19] = 1;
    let connection = shielded(&file)?;
    check_table(&connection)?;
    let mut left = file.len().saturating_mul(2);
    let mut statement =
        connection.prepare("SELECT hnum, blob FROM Packages NOT INDEXED ORDER BY hnum")?;
    let mut rows = statement.query([])?;
    let mut packages = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let blob = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        left = left
            .checked_sub(blob.len().max(1))
            .ok_or(RpmError::Form("its packages are larger than the file"))?;
        let package = package(blob).map_err(|source| RpmError::Header {
            row: number,
            source,
        })?;
        if package.name != KEYS {
            packages.push(package);
        }
        if packages.len() >= MAX_PACKAGES {
            break;
        }
    }
    Ok(packages)
}

/// A connection that obeys nothing in the file.
fn shielded(file: &[u8]) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open_in_memory()?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_HEADER_BYTES)?;
    let mut thousands = 0;
    connection.progress_handler(
        1000,
        Some(move || {
            thousands += 1;
            thousands > MAX_THOUSAND_STEPS
        }),
    )?;
    connection.deserialize_read_exact(MAIN_DB, file, file.len(), true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Refuses a table that computes something, or that is none.
fn check_table(connection: &Connection) -> Result<(), RpmError> {
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'Packages' AND type = 'table'";
    let found: Option<String> = match connection.query_row(sql, [], |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => None,
        other => other?,
    };
    let kept = |c: &char| !c.is_whitespace() && !matches!(c, '\'' | '"' | '`' | '[' | ']');
    let plain: String = found.unwrap_or_default().chars().filter(kept).collect();
    let plain = plain.to_ascii_lowercase().replacen("ifnotexists", "", 1);
    if plain == TABLE {
        Ok(())
    } else {
        Err(RpmError::Form("its table of packages is not RPM's"))
    }
}

/// The package that a header describes.
///
/// # Errors
/// When the header makes no sense, or has no name or version.
pub fn package(blob: &[u8]) -> Result<Package, HeaderError> {
    let header = Header::new(blob)?;
    let needed = |tag| header.text(tag)?.ok_or(HeaderError::Missing(tag));
    let name = clip(&needed(Tag::Name)?);
    let release = needed(Tag::Release)?;
    let mut version = format!("{}-{release}", needed(Tag::Version)?);
    if let Some(epoch) = header.number(Tag::Epoch)? {
        version = format!("{epoch}:{version}");
    }
    let source = header.text(Tag::SourceRpm)?.unwrap_or_default();
    let (source, source_version) = source_of(&source);
    Ok(Package {
        architecture: clip(&header.text(Tag::Arch)?.unwrap_or_default()),
        source: source.filter(|source| *source != name),
        // A source package has its binaries' version, nearly always, but never an epoch in its name.
        source_version: source_version.filter(|of| version.rsplit(':').next() != Some(of)),
        version: clip(&version),
        name,
        problem: None,
    })
}

/// Name and version of `name-version-release.src.rpm`.
fn source_of(file: &str) -> (Option<String>, Option<String>) {
    let stem = file
        .strip_suffix(".src.rpm")
        .or_else(|| file.strip_suffix(".nosrc.rpm"));
    let parts = stem.and_then(|stem| {
        let (rest, release) = stem.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some((clip(name), clip(&format!("{version}-{release}"))))
    });
    parts.unzip()
}
