//! Searching every byte of a disk for what should not be there any more.
//!
//! It looks at the bytes and not at files, so it sees what no filesystem shows: free blocks,
//! journals, slack, gaps between partitions. It finds only what lies in one piece and as it is;
//! compressed or split content escapes it.

use aho_corasick::{AhoCorasick, MatchKind};
use stampo_image::device::BlockDevice;
use stampo_image::sparse::is_zero;
use std::io;

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// Most places that are reported; the first is already a finding.
pub const MAX_RESIDUE: usize = 1000;

/// Where one of the needles was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Residue {
    /// Where on the device, in bytes.
    pub offset: u64,
    /// Which needle, counted from 0.
    pub needle: usize,
}

/// Finds the needles anywhere on the device: up to [`MAX_RESIDUE`] places, in ascending order.
/// Empty needles are found nowhere.
///
/// # Errors
/// Those of reading the device; `InvalidInput` when the needles are too many to search for.
pub fn residue(device: &dyn BlockDevice, needles: &[&[u8]]) -> io::Result<Vec<Residue>> {
    let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
    if longest == 0 {
        return Ok(Vec::new());
    }
    let finder = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .build(needles)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4) as u64;
    let share = (device.size_bytes() / workers).next_multiple_of(CHUNK as u64);
    let search = |worker: u64| {
        let start = (worker * share).min(device.size_bytes());
        let end = (start + share).min(device.size_bytes());
        let end = if worker + 1 == workers {
            device.size_bytes()
        } else {
            end
        };
        scan(device, &finder, longest, start, end)
    };
    let mut found = std::thread::scope(|scope| {
        let search = &search;
        let running: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || search(worker)))
            .collect();
        let mut found = Vec::new();
        for worker in running {
            found.extend(
                worker
                    .join()
                    .map_err(|_| io::Error::other("a search gave up"))??,
            );
        }
        io::Result::Ok(found)
    })?;
    found.sort_unstable();
    found.truncate(MAX_RESIDUE);
    Ok(found)
}

/// Finds the needles that begin in `start..end`; they may end behind it.
fn scan(
    device: &dyn BlockDevice,
    finder: &AhoCorasick,
    longest: usize,
    start: u64,
    end: u64,
) -> io::Result<Vec<Residue>> {
    let mut found = Vec::new();
    let mut buffer = vec![0; CHUNK + longest - 1];
    let mut at = start;
    while at < end && found.len() < MAX_RESIDUE {
        let length = (buffer.len() as u64).min(device.size_bytes() - at) as usize;
        let chunk = &mut buffer[..length];
        device.read_at(at, chunk)?;
        let own = (CHUNK as u64).min(end - at) as usize;
        // Whether there is anything at all is answered much faster than where everything is.
        // Most of a disk is zeros, and comparing is faster than searching. (A needle of zeros is
        // not found in a chunk of nothing else, and means nothing anyway.)
        if !is_zero(chunk) && finder.is_match(&*chunk) {
            let places = finder
                .find_overlapping_iter(&*chunk)
                .filter(|place| !place.is_empty() && place.start() < own)
                .map(|place| Residue {
                    offset: at + place.start() as u64,
                    needle: place.pattern().as_usize(),
                });
            found.extend(places.take(MAX_RESIDUE));
        }
        at += own as u64;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Vec<u8>);

    impl BlockDevice for Memory {
        fn size_bytes(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let start = offset as usize;
            buf.copy_from_slice(&self.0[start..start + buf.len()]);
            Ok(())
        }
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn discard(&self, _: u64, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
        fn is_writable(&self) -> bool {
            false
        }
    }

    #[test]
    fn needles_are_found_at_every_kind_of_place() {
        let mut bytes = vec![0; 5 * CHUNK + 77];
        let end = bytes.len() - 6;
        // At the begin, across a chunk, across the shares of two workers, at the very end.
        let places = [0, CHUNK - 3, 2 * CHUNK - 1, 3 * CHUNK - 4, 4 * CHUNK, end];
        for place in places {
            bytes[place..place + 6].copy_from_slice(b"secret");
        }
        let found = residue(&Memory(bytes), &[b"absent", b"secret", b"ret", b""]).expect("read");
        let secrets: Vec<u64> = found
            .iter()
            .filter(|f| f.needle == 1)
            .map(|f| f.offset)
            .collect();
        assert_eq!(secrets, places.map(|place| place as u64));
        let parts: Vec<u64> = found
            .iter()
            .filter(|f| f.needle == 2)
            .map(|f| f.offset)
            .collect();
        assert_eq!(parts, places.map(|place| place as u64 + 3));
        assert_eq!(found.len(), 2 * places.len());
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        assert_eq!(residue(&Memory(vec![]), &[b"a"]).expect("read"), []);
        assert_eq!(residue(&Memory(vec![1; 10]), &[]).expect("read"), []);
        assert_eq!(
            residue(&Memory(b"ab".to_vec()), &[b"abc"]).expect("read"),
            []
        );
    }
}
