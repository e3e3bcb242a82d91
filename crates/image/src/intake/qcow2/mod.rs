//! Our own reader of qcow2, made for hostile files: prove the whole map, then copy.
//!
//! Source of the format: QEMU, `docs/interop/qcow2.txt`; the sections are named where they are used.
//!
//! ```text
//! header.rs      fixed fields and feature bits      extensions.rs  header extensions (allow-list)
//! entry.rs       L1/L2/refcount entries, decoded    occupancy.rs   each host cluster has one user
//! prove.rs       walks all metadata, refuses        copy.rs        walks again and writes raw
//! inflate.rs     one compressed cluster, exactly   batch.rs  some of them, for other threads
//! ```
//!
//! What it does *not* support, and refuses by name: backing files, external data files, encryption,
//! internal snapshots, bitmaps, extended L2 entries, images that are dirty or corrupt.

mod batch;
mod copy;
mod entry;
mod extensions;
mod header;
mod inflate;
mod occupancy;
mod prove;

pub(super) use batch::Batch;
pub(super) use inflate::Inflater;

use super::convert::Progress;
use super::crew::Crew;
use super::error::Stop;
use super::protocol::{FormatDetails, Limits, Report};
use super::source::Source;
use super::sparse::SparseFile;
use std::os::fd::BorrowedFd;

/// Proves the image sane and writes its disk to `destination`.
pub(super) fn convert(
    limits: &Limits,
    source: &Source<'_>,
    destination: BorrowedFd<'_>,
    crew: &Crew,
    progress: &mut Progress<'_>,
) -> Result<Report, Stop> {
    let header = header::read(source, limits)?;
    let proof = prove::prove(source, &header)?;
    let mut output = SparseFile::create(destination, header.virtual_size)?;
    copy::copy(source, &header, &mut output, crew, progress)?;
    Ok(Report {
        virtual_size_bytes: header.virtual_size,
        data_bytes: output.data_bytes(),
        details: FormatDetails::Qcow2 {
            version: header.version,
            cluster_size_bytes: header.cluster_size(),
            compression: header.compression,
            compressed_clusters: proof.compressed_clusters,
        },
    })
}
