//! Where a sparse file holds data.
//!
//! Apart because hashing, copying and measuring all skip holes in the same way. A hole is only a
//! hint: a range that is listed here may still be full of zeros.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;

/// The ranges of the first `size_bytes` bytes of `file` that may hold data, in order.
///
/// Uses `SEEK_DATA` and `SEEK_HOLE` of lseek(2); a file system without them gives one range over
/// everything. It moves the file's position.
pub fn data_ranges(file: &File, size_bytes: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while from < size_bytes {
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                ranges.push(from..size_bytes);
                break;
            }
            Err(e) => return Err(e.into()),
        };
        if start >= size_bytes {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(size_bytes);
        if end <= start {
            return Err(io::Error::other(
                "the file changed while its holes were listed",
            ));
        }
        ranges.push(start..end);
        from = end;
    }
    Ok(ranges)
}

/// Whether all of `bytes` are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    // A comparison of slices is one memcmp, fast in every build profile.
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn data_ranges_cover_what_was_written_and_end_at_the_given_size() {
        let file = tempfile::tempfile().expect("make a file");
        file.set_len(64 << 20).expect("size it");
        file.write_all_at(&[1; 4096], 16 << 20).expect("write");
        file.write_all_at(&[2], (64 << 20) - 1).expect("write");
        let ranges = data_ranges(&file, 64 << 20).expect("list");
        let covers = |at: u64| ranges.iter().any(|r| r.contains(&at));
        assert!(covers(16 << 20) && covers((64 << 20) - 1), "{ranges:?}");
        assert!(ranges.iter().all(|r| r.end <= 64 << 20));
        let short = data_ranges(&file, 8 << 20).expect("list");
        assert!(short.iter().all(|r| r.end <= 8 << 20), "{short:?}");
    }

    #[test]
    fn one_set_bit_anywhere_is_not_zero() {
        for length in [1, 255, 256, 257, 4095, 4096, 4097, 10_000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length - 1] {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "{length} {at}");
                bytes[at] = 0;
            }
        }
    }
}
