//! Fetching a file by http or https: resumable, limited, checked.
//!
//! What comes is written beside the target under a partial name and renamed when it is whole, so
//! an interrupted download leaves no file that looks complete. A repeated call goes on where the
//! last one stopped, if the server still has the same version of the file (RFC 9110, sections
//! 13.1.5 `If-Range` and 14 range requests). This file judges no content: an image goes through
//! the intake next.

mod answer;
mod error;
mod part;

pub use error::{DownloadError, shown_url};

use crate::checksum::{ChecksumError, Sha256Sum, sha256_file};
use crate::durable::{partial_path, rename_durably};
use crate::progress::Progress;
use answer::{Answer, Refused, is_chunked, validator};
use part::Part;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Response, header};

/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// After so much, what came is made durable, so that a crash loses little.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// What a download may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadLimits {
    /// Largest file.
    pub max_bytes: u64,
    /// Most redirects that are followed.
    pub max_redirects: u32,
    /// Longest time to find the host and to connect to it.
    pub connect_timeout: Duration,
    /// Longest time in which nothing comes.
    pub read_timeout: Duration,
    /// How often in a row an attempt may bring nothing before the download fails.
    pub retries: u32,
    /// Time between two attempts.
    pub retry_pause: Duration,
}

impl Default for DownloadLimits {
    fn default() -> Self {
        DownloadLimits {
            max_bytes: 1 << 40,
            max_redirects: 8,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            retries: 4,
            retry_pause: Duration::from_secs(2),
        }
    }
}

/// A downloaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downloaded {
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// Its size.
    pub size_bytes: u64,
    /// How much came in this call; less than the size when it was resumed.
    pub fetched_bytes: u64,
}

/// Downloads `url` to the file `to`, mode 0600, and compares it with `expected`.
///
/// A file that is there already is kept when it has the expected checksum, or when none is
/// expected. Dropped connections are taken up again within `limits`.
pub fn download(
    url: &str,
    to: &Path,
    expected: Option<&Sha256Sum>,
    limits: &DownloadLimits,
    progress: &dyn Progress,
) -> Result<Downloaded, DownloadError> {
    let shown = shown_url(url);
    if !is_downloadable(url) {
        return Err(DownloadError::Url(shown));
    }
    let agent = agent(url, expected.is_some(), limits);
    let job = Job {
        url,
        shown,
        to,
        expected,
        limits,
        progress,
        agent,
    };
    if to.symlink_metadata().is_ok() {
        job.keep_existing()
    } else {
        job.run()
    }
}

/// Whether `url` is one of http or https with a host.
fn is_downloadable(url: &str) -> bool {
    url.parse::<ureq::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// The client for one download.
fn agent(url: &str, checked: bool, limits: &DownloadLimits) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // A checksum notices a forgery; without one only https does.
        .https_only(url.starts_with("https://") && !checked)
        .max_redirects(limits.max_redirects)
        .timeout_resolve(Some(limits.connect_timeout))
        .timeout_connect(Some(limits.connect_timeout))
        .timeout_per_read(Some(limits.read_timeout))
        .timeout_per_write(Some(limits.read_timeout))
        .user_agent(concat!("stampo/", env!("CARGO_PKG_VERSION")));
    let uri = url.parse::<ureq::http::Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    if matches!(host, "localhost" | "[::1]") || host.starts_with("127.") {
        // A proxy's own loopback is not ours.
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// One call of [`download`].
struct Job<'a> {
    url: &'a str,
    shown: String,
    to: &'a Path,
    expected: Option<&'a Sha256Sum>,
    limits: &'a DownloadLimits,
    progress: &'a dyn Progress,
    agent: ureq::Agent,
}

/// How far a download came, over all its attempts.
#[derive(Default)]
struct Tally {
    /// Bytes that came.
    fetched_bytes: u64,
    /// The most that was there at once: an attempt that begins anew is no progress.
    reached_bytes: u64,
}

impl Job<'_> {
    /// The file that is there, if it will do.
    fn keep_existing(&self) -> Result<Downloaded, DownloadError> {
        let store = |source| DownloadError::Store {
            path: self.to.to_owned(),
            source,
        };
        let sha256 = sha256_file(self.to, self.progress).map_err(|error| match error {
            ChecksumError::Read { source, .. } => store(source),
            ChecksumError::Cancelled(_) => DownloadError::Cancelled(self.shown.clone()),
        })?;
        if self.expected.is_some_and(|expected| *expected != sha256) {
            return Err(DownloadError::Exists(self.to.to_owned()));
        }
        let size_bytes = std::fs::metadata(self.to).map_err(store)?.len();
        Ok(Downloaded {
            sha256,
            size_bytes,
            fetched_bytes: 0,
        })
    }

    /// Fetches the file in as many attempts as the limits allow.
    fn run(&self) -> Result<Downloaded, DownloadError> {
        let mut tally = Tally::default();
        let mut failures = 0;
        loop {
            let before = tally.reached_bytes;
            match self.attempt(&mut tally) {
                Ok(part) => return self.finish(part, tally.fetched_bytes),
                Err(error) if error.is_transient() && failures < self.limits.retries => {
                    tracing::debug!(%error, "the download is taken up again");
                    let advanced = tally.reached_bytes > before;
                    failures = if advanced { 1 } else { failures + 1 };
                    self.pause(tally.reached_bytes)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before the next attempt, ready to stop.
    fn pause(&self, reached_bytes: u64) -> Result<(), DownloadError> {
        let end = Instant::now() + self.limits.retry_pause;
        while Instant::now() < end {
            if self.progress.advance(reached_bytes, 0).is_break() {
                return Err(DownloadError::Cancelled(self.shown.clone()));
            }
            std::thread::sleep(Duration::from_millis(50).min(self.limits.retry_pause));
        }
        Ok(())
    }

    /// Fetches what is missing in one answer of the server.
    fn attempt(&self, tally: &mut Tally) -> Result<Part, DownloadError> {
        let mut part = Part::open(&partial_path(self.to), self.url, self.expected.is_some())
            .map_err(|source| self.store(source))?;
        let response = self.request(&part)?;
        let status = response.status().as_u16();
        let answer = Answer::read(status, response.headers(), part.bytes());
        let total_bytes = match answer.map_err(|refused| self.refusal(refused))? {
            Answer::Complete => return Ok(part),
            Answer::Rest { total_bytes } => Some(total_bytes),
            Answer::Whole { total_bytes } => {
                part.restart().map_err(|source| self.store(source))?;
                total_bytes
            }
            Answer::Unrelated => {
                part.restart().map_err(|source| self.store(source))?;
                return Err(DownloadError::Range(self.shown.clone()));
            }
        };
        self.check_size(total_bytes, response.headers())?;
        part.set_validator(validator(response.headers()));
        let result = self.receive(response, &mut part, total_bytes, tally);
        if result.is_err() {
            // Without a record the next attempt begins from the start, which is right, too.
            let _ = part.checkpoint();
        }
        result.map(|()| part)
    }

    /// Asks for the file, or for what is missing of it.
    fn request(&self, part: &Part) -> Result<Response<ureq::Body>, DownloadError> {
        let mut request = self
            .agent
            .get(self.url)
            .header(header::ACCEPT_ENCODING, "identity");
        if part.bytes() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.bytes()));
            if let Some(validator) = part.validator() {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        request.call().map_err(|source| match source {
            // These two hold the URL with its secrets.
            ureq::Error::BadUri(_) => DownloadError::Url(self.shown.clone()),
            ureq::Error::RequireHttpsOnly(_) => DownloadError::Downgrade(self.shown.clone()),
            source => self.connection(part.bytes(), source),
        })
    }

    /// Refuses a file that is too large, or whose end could not be told from a cut.
    fn check_size(
        &self,
        total_bytes: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<(), DownloadError> {
        let (url, max_bytes) = (self.shown.clone(), self.limits.max_bytes);
        if total_bytes.is_some_and(|total| total > max_bytes) {
            return Err(DownloadError::TooLarge { url, max_bytes });
        }
        if total_bytes.is_some() || is_chunked(headers) || self.expected.is_some() {
            Ok(())
        } else {
            Err(DownloadError::NoLength(url))
        }
    }

    /// Appends the body to `part`.
    fn receive(
        &self,
        response: Response<ureq::Body>,
        part: &mut Part,
        total_bytes: Option<u64>,
        tally: &mut Tally,
    ) -> Result<(), DownloadError> {
        let mut body = response.into_body().into_reader();
        let mut buf = vec![0; CHUNK_BYTES];
        let mut checkpoint_at = part.bytes() + CHECKPOINT_BYTES;
        loop {
            let count = body
                .read(&mut buf)
                .map_err(|e| self.connection(part.bytes(), e.into()))?;
            if count == 0 {
                break;
            }
            if part.bytes() + count as u64 > self.limits.max_bytes {
                let max_bytes = self.limits.max_bytes;
                return Err(DownloadError::TooLarge {
                    url: self.shown.clone(),
                    max_bytes,
                });
            }
            part.append(&buf[..count])
                .map_err(|source| self.store(source))?;
            tally.fetched_bytes += count as u64;
            tally.reached_bytes = tally.reached_bytes.max(part.bytes());
            if self
                .progress
                .advance(part.bytes(), total_bytes.unwrap_or(0))
                .is_break()
            {
                return Err(DownloadError::Cancelled(self.shown.clone()));
            }
            if part.bytes() >= checkpoint_at {
                part.checkpoint().map_err(|source| self.store(source))?;
                checkpoint_at = part.bytes() + CHECKPOINT_BYTES;
            }
        }
        let (url, got_bytes) = (self.shown.clone(), part.bytes());
        match total_bytes {
            Some(total_bytes) if total_bytes != got_bytes => Err(DownloadError::Short {
                url,
                got_bytes,
                total_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// Checks the whole file and gives it its name.
    fn finish(&self, part: Part, fetched_bytes: u64) -> Result<Downloaded, DownloadError> {
        let (found, size_bytes) = (part.sum(), part.bytes());
        if let Some(expected) = self.expected.filter(|expected| **expected != found) {
            part.discard().map_err(|source| self.store(source))?;
            let (url, expected) = (self.shown.clone(), *expected);
            return Err(DownloadError::Checksum {
                url,
                expected,
                found,
            });
        }
        part.sync().map_err(|source| self.store(source))?;
        rename_durably(&partial_path(self.to), self.to)?;
        part.forget().map_err(|source| self.store(source))?;
        Ok(Downloaded {
            sha256: found,
            size_bytes,
            fetched_bytes,
        })
    }

    fn refusal(&self, refused: Refused) -> DownloadError {
        let url = self.shown.clone();
        match refused {
            Refused::Status(status) => DownloadError::Status { url, status },
            Refused::Encoding(encoding) => DownloadError::Encoding { url, encoding },
            Refused::Range => DownloadError::Range(url),
        }
    }

    fn store(&self, source: io::Error) -> DownloadError {
        DownloadError::Store {
            path: self.to.to_owned(),
            source,
        }
    }

    fn connection(&self, got_bytes: u64, source: ureq::Error) -> DownloadError {
        DownloadError::Connection {
            url: self.shown.clone(),
            got_bytes,
            source,
        }
    }
}
