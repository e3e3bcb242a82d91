//! The work of the child: declared format in, canonical sparse raw out.
//!
//! Size cap → marks against the declaration → proof of the metadata → copy. What this file does
//! *not* do: stand up the sandbox; it must only ever run inside one, or in a test.

use super::crew::Crew;
use super::error::Stop;
use super::protocol::{DeclaredFormat, FormatDetails, Limits, Report};
use super::qcow2;
use super::refusal::Refusal;
use super::sniff::sniff;
use super::source::Source;
use super::sparse::SparseFile;
use std::os::fd::BorrowedFd;

/// The size of one read, in bytes.
const CHUNK: usize = 1 << 20;

/// Told how many bytes of the disk are done, and of how many.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Proves and converts the image on `source` into the empty file on `destination`.
///
/// # Errors
/// A refusal of the image, or a fault of reading and writing. The destination is then unspecified.
pub fn convert(
    declared: DeclaredFormat,
    limits: &Limits,
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    crew: &Crew,
    progress: &mut Progress<'_>,
) -> Result<Report, Stop> {
    let source = Source::new(source)?;
    check_file_size(&source, limits)?;
    let looks_like = sniff(&source)?;
    match (declared, looks_like) {
        (DeclaredFormat::Raw, Some(format)) => Err(Refusal::LooksLike {
            format: format.to_owned(),
        }
        .into()),
        (DeclaredFormat::Raw, None) => convert_raw(limits, &source, destination, progress),
        (DeclaredFormat::Qcow2, Some("qcow2")) => {
            qcow2::convert(limits, &source, destination, crew, progress)
        }
        (DeclaredFormat::Qcow2, other) => {
            let looks_like = other.unwrap_or("a raw disk").to_owned();
            Err(Refusal::NotQcow2 { looks_like }.into())
        }
    }
}

fn check_file_size(source: &Source<'_>, limits: &Limits) -> Result<(), Refusal> {
    match source.size_bytes() {
        0 => Err(Refusal::EmptyFile),
        bytes if bytes > limits.max_file_bytes => Err(Refusal::FileTooLarge {
            bytes,
            max_bytes: limits.max_file_bytes,
        }),
        _ => Ok(()),
    }
}

/// The checks that every claimed disk size must pass.
pub(super) fn check_virtual_size(bytes: u64, limits: &Limits) -> Result<(), Refusal> {
    if bytes > limits.max_virtual_bytes {
        return Err(Refusal::VirtualSize {
            bytes,
            max_bytes: limits.max_virtual_bytes,
        });
    }
    if !bytes.is_multiple_of(512) {
        return Err(Refusal::UnalignedSize { bytes });
    }
    Ok(())
}

fn convert_raw(
    limits: &Limits,
    source: &Source<'_>,
    destination: BorrowedFd<'_>,
    progress: &mut Progress<'_>,
) -> Result<Report, Stop> {
    let size = source.size_bytes();
    check_virtual_size(size, limits)?;
    let mut output = SparseFile::create(destination, size)?;
    let mut buffer = copy_buffer();
    let mut done = 0;
    // In pieces, so that progress is told in long stretches too.
    while done < size {
        let length = (size - done).min(CHUNK as u64 * 16);
        copy_stretch(source, done, length, &mut output, done, &mut buffer)?;
        done += length;
        progress(done, size);
    }
    Ok(Report {
        virtual_size_bytes: size,
        data_bytes: output.data_bytes(),
        details: FormatDetails::Raw,
    })
}

/// A buffer for [`copy_stretch`].
pub(super) fn copy_buffer() -> Vec<u8> {
    vec![0; CHUNK]
}

/// Copies `length` bytes, skipping the holes of the source.
pub(super) fn copy_stretch(
    source: &Source<'_>,
    from: u64,
    length: u64,
    output: &mut SparseFile<'_>,
    to: u64,
    buffer: &mut [u8],
) -> Result<(), Stop> {
    let end = from.saturating_add(length);
    let mut at = from;
    while at < end {
        let Some((start, stop)) = source.next_data(at, end)? else {
            break;
        };
        at = start;
        while at < stop {
            let count = (stop - at).min(buffer.len() as u64) as usize;
            let piece = &mut buffer[..count];
            source.read("the data", at, piece)?;
            output.write(to + (at - from), piece)?;
            at += count as u64;
        }
    }
    Ok(())
}
