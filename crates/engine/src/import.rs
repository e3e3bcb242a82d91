//! Importing a disk image as a draft version: fetch, checksum, safe intake.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{PhaseProgress, Watch, Work};
use serde::{Deserialize, Serialize};
use stampo_core::hardware::Hardware;
use stampo_core::ids::OperationId;
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::TemplateName;
use stampo_core::plan::PlanRefusal;
use stampo_core::size::ByteSize;
use stampo_image::checksum::{Sha256Sum, sha256_file};
use stampo_image::download::{DownloadLimits, download, shown_url};
use stampo_image::intake::{DeclaredFormat, IntakeRequest, Limits, take_in};
use stampo_store::VersionRow;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The key in an operation's request that holds the name of its download.
pub(crate) const DOWNLOAD: &str = "download";

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportSource {
    /// A file, or an `http://` or `https://` URL.
    pub source: String,
    /// `qcow2` or `raw`.
    pub format: String,
    /// The SHA-256 that the source must have, in hex.
    pub sha256: Option<String>,
    /// Hardware defaults for clones.
    pub hardware: Hardware,
}

/// Where an imported version comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ImportOrigin {
    kind: String,
    source: String,
    format: String,
    sha256: Option<String>,
}

/// An import that was accepted.
pub struct Import {
    /// The operation.
    pub operation: OperationId,
    /// The version, in state *building*.
    pub version: VersionRow,
    source: ImportSource,
    sha256: Option<Sha256Sum>,
    format: DeclaredFormat,
}

impl Engine {
    /// Checks a request and reserves the next version of the template for it.
    pub fn submit_import(
        &self,
        template: &TemplateName,
        source: ImportSource,
    ) -> Result<Import, EngineError> {
        let usage = |why: &str| EngineError::Usage {
            act: format!("import {}", shown(&source.source)),
            why: why.to_owned(),
        };
        let format = match source.format.as_str() {
            "qcow2" => DeclaredFormat::Qcow2,
            "raw" => DeclaredFormat::Raw,
            _ => {
                return Err(usage(
                    "its format must be qcow2 or raw; convert others first with qemu-img convert",
                ));
            }
        };
        let sum = source
            .sha256
            .as_deref()
            .map(str::parse::<Sha256Sum>)
            .transpose();
        let sha256 = sum.map_err(|error| usage(&error.to_string()))?;
        source.hardware.check().map_err(PlanRefusal::from)?;
        if !is_url(&source.source) {
            let meta = std::fs::metadata(&source.source)
                .map_err(EngineError::io("read", &source.source))?;
            if !meta.is_file() {
                return Err(usage("it is not a regular file"));
            }
        }
        let origin = ImportOrigin {
            kind: "import".to_owned(),
            source: shown(&source.source),
            format: source.format.clone(),
            sha256: sha256.map(|sum| sum.to_string()),
        };
        let origin =
            serde_json::to_value(origin).map_err(EngineError::room("record the import"))?;
        let (operation, version) = self.begin_version("import", template, origin)?;
        self.faults.reach("import.begun");
        Ok(Import {
            operation,
            version,
            source,
            sha256,
            format,
        })
    }

    /// Carries out an accepted import.
    pub fn run_import(&self, import: Import, watch: &dyn Watch) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, import.operation, watch);
        self.carry_out(&work, || self.import_version(&work, import))
    }

    fn import_version(&self, work: &Work<'_>, import: Import) -> Result<VersionRow, EngineError> {
        let mut row = import.version;
        let label = row.label();
        let staging = self
            .pool
            .stage()
            .map_err(EngineError::room("make a place for the import"))?;
        self.faults.reach("import.staged");
        // Held until the download is forgotten, at the end of this function.
        let _lock = match is_url(&import.source.source) {
            true => Some(self.lock_download(work, &download_name(&import.source.source))?),
            false => None,
        };
        let fetched = self.fetch(work, &label, &import.source.source, import.sha256)?;
        self.faults.reach("import.fetched");
        let disk = staging.path().join("disk.raw");
        work.phase(&label, "intake", || {
            let taken = self.take_in(work, &import.source.source, fetched, import.format, &disk)?;
            let detail = format!(
                "{} of data in a disk of {}",
                ByteSize(taken.data_bytes),
                ByteSize(taken.virtual_size_bytes)
            );
            Ok(((), detail))
        })?;
        self.faults.reach("import.taken");
        row.hardware = import.source.hardware;
        self.adopt_disk(work, &mut row, &disk)?;
        row.state = transition(row.state, Verb::Finish, Evidence::default())
            .map_err(|source| EngineError::Refused { label, source })?;
        self.commit_version(work, &mut row, "import")?;
        Ok(row)
    }

    fn take_in(
        &self,
        work: &Work<'_>,
        name: &str,
        source: File,
        declared: DeclaredFormat,
        to: &Path,
    ) -> Result<stampo_image::intake::Taken, EngineError> {
        let destination = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(to)
            .map_err(EngineError::io("make", to))?;
        let progress = |done: u64, total: u64| {
            work.progress("intake", done, total);
            !work.is_cancelled()
        };
        let limits = Limits::default();
        let request = IntakeRequest {
            source,
            declared,
            destination,
            limits,
            program: None,
            progress: &progress,
        };
        take_in(&request).map_err(|error| {
            let act = if error.blames_image() {
                match is_url(name) {
                    // It may have a password in it.
                    true => "use what was downloaded".to_owned(),
                    false => format!("use {name}"),
                }
            } else {
                format!("take the image in as {}", to.display())
            };
            EngineError::room(act)(error)
        })
    }

    /// The file to take in: the user's own, checked, or one that is downloaded (or was, in part,
    /// by an earlier try).
    fn fetch(
        &self,
        work: &Work<'_>,
        label: &str,
        source: &str,
        sha256: Option<Sha256Sum>,
    ) -> Result<File, EngineError> {
        if is_url(source) {
            let path = self.download(work, label, source, sha256)?;
            return File::open(&path).map_err(EngineError::io("read", path));
        }
        let path = Path::new(source);
        let file = File::open(path).map_err(EngineError::io("read", path))?;
        if let Some(wanted) = sha256 {
            // Through the descriptor: another file put under the name later is not what is taken in.
            let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            work.phase(label, "checksum", || {
                let progress = PhaseProgress {
                    work,
                    phase: "checksum",
                };
                check_sum(path, &opened, wanted, &progress)?;
                Ok(((), "SHA-256 as given".to_owned()))
            })?;
        }
        Ok(file)
    }

    fn download(
        &self,
        work: &Work<'_>,
        label: &str,
        url: &str,
        sha256: Option<Sha256Sum>,
    ) -> Result<PathBuf, EngineError> {
        let path = self.download_path(url)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        self.note(work.id, DOWNLOAD, serde_json::json!(name))?;
        work.phase(label, "download", || {
            let progress = PhaseProgress {
                work,
                phase: "download",
            };
            let got = download(
                url,
                &path,
                sha256.as_ref(),
                &DownloadLimits::default(),
                &progress,
            )
            .map_err(EngineError::room("download the image"))?;
            Ok((
                (),
                format!("{}, SHA-256 {}", ByteSize(got.size_bytes), got.sha256),
            ))
        })?;
        Ok(path)
    }

    /// Where the download of a URL lies: the same place at every try, so that it can go on.
    fn download_path(&self, url: &str) -> Result<PathBuf, EngineError> {
        let dir = self.home.join("downloads");
        stampo_image::durable::ensure_dir(&dir, 0o700)
            .map_err(EngineError::room("make a place for downloads"))?;
        Ok(dir.join(download_name(url)))
    }

    /// Removes the download of this name, which was taken in, with what its resumption needed.
    ///
    /// A download that another process is working on is left to it.
    pub(crate) fn forget_download(&self, name: &str) -> Result<(), EngineError> {
        let lock = self.try_lock_download(name)?;
        if lock.is_none() && !Engine::holds_download(name) {
            return Ok(());
        }
        for path in crate::rescan::list(&self.home.join("downloads"))? {
            let found = path.file_name().map(|found| found.to_string_lossy());
            if found.is_some_and(|found| found.trim_start_matches('.').starts_with(name)) {
                stampo_image::durable::ensure_removed(&path)
                    .map_err(EngineError::room("remove a finished download"))?;
            }
        }
        Ok(())
    }
}

/// The name of a URL's download: no part of the URL, which may hold secrets.
fn download_name(url: &str) -> String {
    blake3::hash(url.as_bytes()).to_hex().to_string()
}

/// Whether the open file that was found at `path` has the checksum that was given.
fn check_sum(
    path: &Path,
    opened: &Path,
    wanted: Sha256Sum,
    progress: &PhaseProgress<'_, '_>,
) -> Result<(), EngineError> {
    let found = sha256_file(opened, progress)
        .map_err(EngineError::room(format!("read {}", path.display())))?;
    if found == wanted {
        return Ok(());
    }
    let why = format!("its SHA-256 is {found}, not {wanted}");
    Err(EngineError::Conflict {
        act: format!("import {}", path.display()),
        why,
    })
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// The source as it goes into the catalog and the audit: a URL without login and query.
fn shown(source: &str) -> String {
    if is_url(source) {
        shown_url(source)
    } else {
        source.to_owned()
    }
}
