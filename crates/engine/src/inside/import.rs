//! `vulndb import`: files about vulnerabilities, and security indexes, into `inside.db`.
//!
//! What a file is, is known by its content. Each file is one source, or each directory of single OSV or
//! CSAF documents; importing it again replaces what it said before, in one transaction. Nothing is
//! downloaded, and no signature is checked: the administrator says which files to believe.

use super::source::{Loaded, Loading};
use crate::engine::Engine;
use crate::error::EngineError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Largest file, in bytes, unpacked.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Largest single document, in bytes.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;
/// Most documents of an archive or a directory.
const MAX_DOCUMENTS: usize = 1_000_000;
/// Largest sum of an archive's documents, in bytes.
const MAX_ARCHIVE_BYTES: u64 = 8 << 30;
/// How much of a file is looked at to know what it is.
const HEAD_BYTES: usize = 64 << 10;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Zip,
    Osv,
    Csaf,
    DebianTracker,
    Kev,
    Index,
}

impl Engine {
    /// Imports a file, or everything in a directory.
    ///
    /// `suite` names the suite of a package index where no release file beside it does.
    pub fn import_vulnerabilities(
        &self,
        path: &Path,
        suite: Option<&str>,
    ) -> Result<Vec<Loaded>, EngineError> {
        let metadata = std::fs::metadata(path).map_err(EngineError::io("read", path))?;
        let now_ms = self.now_ms();
        let inside = self.inside()?;
        let loaded = match metadata.is_dir() {
            true => inside.write(|tx| directory(path, &mut Loading::new(tx, now_ms), suite)),
            false => inside.write(|tx| {
                let mut loading = Loading::new(tx, now_ms);
                file(path, &mut loading, suite).map(|one| vec![one])
            }),
        }?;
        let names: Vec<String> = loaded.iter().map(|one| one.label()).collect();
        self.store.write(|tx| {
            let resource = path.display().to_string();
            self.audit(tx, "vulndb-import", &resource, &names.join(", "))
        })?;
        Ok(loaded)
    }
}

fn usage(path: &Path, why: impl Into<String>) -> EngineError {
    EngineError::Usage {
        act: format!("import {}", path.display()),
        why: why.into(),
    }
}

/// The text of a file, unpacked if it is packed with gzip, and no more of it than is allowed.
fn open(path: &Path) -> Result<Box<dyn BufRead>, EngineError> {
    let failed = |source| EngineError::io("read", path)(source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(usage(path, "it is neither a file nor a directory"));
    }
    let mut plain = BufReader::with_capacity(HEAD_BYTES, File::open(path).map_err(failed)?);
    let head = plain.fill_buf().map_err(failed)?;
    if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z']) {
        return Err(usage(path, "it is packed with xz; unpack it first: unxz"));
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let unpacked = flate2::bufread::MultiGzDecoder::new(plain).take(MAX_FILE_BYTES);
        return Ok(Box::new(BufReader::with_capacity(HEAD_BYTES, unpacked)));
    }
    Ok(Box::new(BufReader::with_capacity(
        HEAD_BYTES,
        plain.take(MAX_FILE_BYTES),
    )))
}

/// What a file is, by its beginning.
fn format(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PK\x03\x04") {
        return Some(Format::Zip);
    }
    let text = String::from_utf8_lossy(head);
    let has = |key: &str| text.contains(key);
    if !text.trim_start().starts_with('{') {
        let is_index = has("Package:") && has("Version:");
        return is_index.then_some(Format::Index);
    }
    if has("\"csaf_version\"") {
        Some(Format::Csaf)
    } else if has("\"cveID\"") || has("\"catalogVersion\"") {
        Some(Format::Kev)
    } else if has("\"releases\"") && has("\"repositories\"") {
        Some(Format::DebianTracker)
    } else if has("\"id\"") && (has("\"affected\"") || has("\"modified\"")) {
        Some(Format::Osv)
    } else {
        None
    }
}

fn file(
    path: &Path,
    loading: &mut Loading<'_, '_>,
    suite: Option<&str>,
) -> Result<Loaded, EngineError> {
    let failed = |source| EngineError::io("read", path)(source);
    let mut text = open(path)?;
    let format = format(text.fill_buf().map_err(failed)?);
    let name = name_of(path);
    let result = match format {
        Some(Format::Index) => return super::suite::load(path, text.as_mut(), suite, loading),
        Some(Format::Zip) => {
            loading.begin("osv", &name)?;
            archive(path, loading)
        }
        Some(Format::DebianTracker) => {
            loading.begin("debian-tracker", &name)?;
            loading.tracker(text)
        }
        Some(one @ (Format::Osv | Format::Csaf | Format::Kev)) => {
            loading.begin(kind(one), &name)?;
            let bytes = document(text, path)?;
            match one {
                Format::Osv => loading.osv(&bytes),
                Format::Csaf => loading.csaf(&bytes),
                _ => loading.kev(&bytes),
            }
        }
        None => {
            return Err(usage(
                path,
                "it is none of OSV, CSAF, KEV, the Debian tracker's JSON and a package index",
            ));
        }
    };
    result.map_err(EngineError::room(format!("import {}", path.display())))?;
    loading.end()
}

fn kind(format: Format) -> &'static str {
    match format {
        Format::Csaf => "csaf",
        Format::Kev => "kev",
        _ => "osv",
    }
}

fn name_of(path: &Path) -> String {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = name
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default().chars().take(200).collect()
}

/// One whole document.
fn document(text: impl Read, path: &Path) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    let mut limited = text.take(MAX_DOCUMENT_BYTES + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(EngineError::io("read", path))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(usage(path, "one document of it is too large"));
    }
    Ok(bytes)
}

/// OSV documents in a zip archive, as their publisher has them for each ecosystem.
fn archive(path: &Path, loading: &mut Loading<'_, '_>) -> Result<(), EngineError> {
    let packed = File::open(path).map_err(EngineError::io("read", path))?;
    let act = || format!("read the archive {}", path.display());
    let mut archive =
        zip::ZipArchive::new(BufReader::new(packed)).map_err(EngineError::room(act()))?;
    if archive.len() > MAX_DOCUMENTS {
        return Err(usage(path, "it has too many documents"));
    }
    let mut left = MAX_ARCHIVE_BYTES;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(EngineError::room(act()))?;
        let name = entry.name().map_err(EngineError::room(act()))?;
        if !name.ends_with(".json") {
            continue;
        }
        let bytes = document(entry, path)?;
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| usage(path, "it is too large when it is unpacked"))?;
        loading.osv(&bytes)?;
    }
    Ok(())
}

/// The files of a directory: OSV and CSAF documents are one source together, by its name; every other
/// file is one of its own. What is nothing of all that is left out.
fn directory(
    path: &Path,
    loading: &mut Loading<'_, '_>,
    suite: Option<&str>,
) -> Result<Vec<Loaded>, EngineError> {
    let (mut documents, mut single) = (Vec::new(), Vec::new());
    for file in files(path)? {
        let mut text = open(&file)?;
        let head = text.fill_buf().map_err(EngineError::io("read", &file))?;
        match format(head) {
            Some(format @ (Format::Osv | Format::Csaf)) => documents.push((file, format)),
            Some(_) => single.push(file),
            None => {}
        }
    }
    let mut loaded = Vec::new();
    for wanted in [Format::Osv, Format::Csaf] {
        let mut of_format = documents
            .iter()
            .filter(|(_, format)| *format == wanted)
            .peekable();
        if of_format.peek().is_none() {
            continue;
        }
        loading.begin(kind(wanted), &name_of(path))?;
        for (file, _) in of_format {
            let bytes = document(open(file)?, file)?;
            let read = match wanted {
                Format::Osv => loading.osv(&bytes),
                _ => loading.csaf(&bytes),
            };
            read.map_err(EngineError::room(format!("import {}", file.display())))?;
        }
        loaded.push(loading.end()?);
    }
    for one in single {
        loaded.push(file(&one, loading, suite)?);
    }
    if loaded.is_empty() {
        return Err(usage(path, "nothing in it can be imported"));
    }
    Ok(loaded)
}

/// Every plain file in a directory and below, in order; links are not followed.
fn files(path: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        let entries = std::fs::read_dir(&dir).map_err(EngineError::io("list", &dir))?;
        for entry in entries {
            let entry = entry.map_err(EngineError::io("list", &dir))?;
            let kind = entry.file_type().map_err(EngineError::io("list", &dir))?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
            if found.len() + waiting.len() > MAX_DOCUMENTS {
                return Err(usage(path, "it has too many files"));
            }
        }
    }
    found.sort();
    Ok(found)
}
