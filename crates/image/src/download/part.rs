//! The part of a file that is there already, and what proves that it belongs to the rest.
//!
//! Beside the partial file lies a record: which URL, which version of the file the server named
//! (ETag or Last-Modified), how many bytes are durable and their SHA-256. A resumed download
//! first hashes those bytes again, so a part that was damaged or half written is not built upon.

use crate::checksum::{Sha256Sum, hash_reader};
use crate::durable::{create_partial, ensure_removed, write_file_durably};
use crate::progress::Unwatched;
use crate::regular;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A record is a few hundred bytes.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// What is remembered of an unfinished download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// BLAKE3 of the URL: it may hold secrets.
    url: String,
    /// The strong ETag or the Last-Modified date that the server gave.
    validator: Option<String>,
    /// How many bytes are durable.
    bytes: u64,
    /// Their SHA-256.
    sha256: String,
}

/// An unfinished download.
pub(super) struct Part {
    path: PathBuf,
    record_path: PathBuf,
    url: String,
    file: File,
    hasher: Sha256,
    bytes: u64,
    validator: Option<String>,
}

impl Part {
    /// The part at `path` of the file at `url`: what is there and sound, or an empty one.
    ///
    /// Without a validator of the server a part is only used when `checked` says that the whole
    /// file will be compared with a known checksum.
    pub fn open(path: &Path, url: &str, checked: bool) -> io::Result<Self> {
        let record_path = record_path(path);
        let url = blake3::hash(url.as_bytes()).to_hex().to_string();
        let record = read_record(&record_path)
            .filter(|record| record.url == url && (checked || record.validator.is_some()));
        if let Some(record) = record
            && let Some((file, hasher)) = reopen(path, &record)?
        {
            let (bytes, validator) = (record.bytes, record.validator);
            return Ok(Part {
                path: path.to_owned(),
                record_path,
                url,
                file,
                hasher,
                bytes,
                validator,
            });
        }
        let file = create_partial(path).map_err(|error| error.source)?;
        let (path, hasher) = (path.to_owned(), Sha256::new());
        Ok(Part {
            path,
            record_path,
            url,
            file,
            hasher,
            bytes: 0,
            validator: None,
        })
    }

    /// How many bytes are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the server must confirm before the rest is appended.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// Remembers which version of the file the server is sending.
    pub fn set_validator(&mut self, validator: Option<String>) {
        self.validator = validator;
    }

    /// Begins again with nothing.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.bytes = 0;
        self.validator = None;
        ensure_removed(&self.record_path).map_err(|error| error.source)
    }

    /// Appends what came.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything so far durable and records it.
    pub fn checkpoint(&self) -> io::Result<()> {
        self.file.sync_all()?;
        let record = Record {
            url: self.url.clone(),
            validator: self.validator.clone(),
            bytes: self.bytes,
            sha256: self.sum().to_string(),
        };
        let json = serde_json::to_vec(&record)?;
        write_file_durably(&self.record_path, &json, 0o600).map_err(|error| error.source)
    }

    /// The SHA-256 of everything so far.
    pub fn sum(&self) -> Sha256Sum {
        Sha256Sum(self.hasher.clone().finalize().into())
    }

    /// Makes the bytes durable, when the file is complete.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Forgets the record, when the file has its name.
    pub fn forget(&self) -> io::Result<()> {
        ensure_removed(&self.record_path).map_err(|error| error.source)
    }

    /// Removes the part and its record.
    pub fn discard(self) -> io::Result<()> {
        ensure_removed(&self.record_path).map_err(|error| error.source)?;
        ensure_removed(&self.path).map_err(|error| error.source)
    }
}

/// Where the record of the part at `path` lies.
fn record_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// The record at `path`; `None` when there is none or it can't be understood.
fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&regular::read(path, MAX_RECORD_BYTES).ok()?).ok()
}

/// Opens the part for appending, if its bytes are still those of the record; what is behind them
/// is cut off.
fn reopen(path: &Path, record: &Record) -> io::Result<Option<(File, Sha256)>> {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Ok(None);
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut limited = (&mut file).take(record.bytes);
    let Some(hasher) = hash_reader(&mut limited, record.bytes, &Unwatched)? else {
        return Ok(None);
    };
    if Sha256Sum(hasher.clone().finalize().into()).to_string() != record.sha256 {
        return Ok(None);
    }
    file.set_len(record.bytes)?;
    file.seek(SeekFrom::Start(record.bytes))?;
    Ok(Some((file, hasher)))
}
