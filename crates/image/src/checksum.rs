//! SHA-256, the checksum under which images are published by others.
//!
//! Our own id of a disk is the image-id ([`crate::identity`]); this one is only compared with
//! what a vendor printed, over the file's bytes as they came.

use crate::progress::Progress;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A SHA-256 checksum; as text 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256Sum(pub [u8; 32]);

/// A text that is no SHA-256 checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a SHA-256 checksum: it must be 64 hex digits")]
pub struct Sha256SumError(String);

impl FromStr for Sha256Sum {
    type Err = Sha256SumError;
    fn from_str(text: &str) -> Result<Self, Sha256SumError> {
        let mut sum = [0; 32];
        match hex::decode_to_slice(text, &mut sum) {
            Ok(()) => Ok(Sha256Sum(sum)),
            Err(_) => Err(Sha256SumError(text.to_owned())),
        }
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Sum({self})")
    }
}

/// Why a file has no checksum.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    /// The file can't be read.
    #[error("read {path} for its checksum", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The caller's progress asked to stop.
    #[error("take the checksum of {path}: it was cancelled", path = .0.display())]
    Cancelled(PathBuf),
}

/// The SHA-256 of the file at `path`.
pub fn sha256_file(path: &Path, progress: &dyn Progress) -> Result<Sha256Sum, ChecksumError> {
    let fail = |source| ChecksumError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    let size_bytes = file.metadata().map_err(fail)?.len();
    let hasher = hash_reader(&mut file, size_bytes, progress).map_err(fail)?;
    let hasher = hasher.ok_or_else(|| ChecksumError::Cancelled(path.to_owned()))?;
    Ok(Sha256Sum(hasher.finalize().into()))
}

/// The hash state after everything in `reader`; `None` when cancelled.
pub(crate) fn hash_reader(
    reader: &mut dyn Read,
    total_bytes: u64,
    progress: &dyn Progress,
) -> io::Result<Option<Sha256>> {
    let mut hasher = Sha256::new();
    let mut buf = vec![0; CHUNK_BYTES];
    let mut done = 0;
    loop {
        let count = match reader.read(&mut buf) {
            Ok(0) => return Ok(Some(hasher)),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&buf[..count]);
        done += count as u64;
        if progress.advance(done, total_bytes).is_break() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Unwatched;

    #[test]
    fn the_standard_s_example_has_its_known_sum() {
        let dir = tempfile::tempdir().expect("make a directory");
        let path = dir.path().join("abc");
        std::fs::write(&path, b"abc").expect("write");
        // FIPS 180-4 example, "abc".
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            sha256_file(&path, &Unwatched).expect("hash").to_string(),
            known
        );
        assert_eq!(
            known
                .to_uppercase()
                .parse::<Sha256Sum>()
                .expect("parse")
                .to_string(),
            known
        );
        let stop = std::sync::atomic::AtomicBool::new(true);
        assert!(matches!(
            sha256_file(&path, &stop),
            Err(ChecksumError::Cancelled(_))
        ));
    }

    #[test]
    fn anything_but_64_hex_digits_is_refused() {
        for bad in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            assert!(bad.parse::<Sha256Sum>().is_err(), "{bad:?}");
        }
    }
}
