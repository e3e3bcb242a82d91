//! The second walk: guest data goes to the sparse file, in the order of the disk.
//!
//! The file may have changed since the proof (it can belong to another user), so every entry is
//! decoded and every read bounded again; the worst outcome is wrong bytes inside the disk's size.
//! Neighbours in both the disk and the file are copied as one stretch.

use super::super::convert::{Progress, copy_buffer, copy_stretch};
use super::super::error::{Fault, Stop};
use super::super::refusal::Refusal;
use super::super::source::Source;
use super::super::sparse::SparseFile;
use super::entry::{self, Compressed, Mapping};
use super::header::Header;
use super::inflate::Inflater;
use super::prove::for_each_entry;

/// A stretch is at most this long, so that progress is told within it.
const MAX_STRETCH: u64 = 16 << 20;

/// Copies all mapped clusters.
pub fn copy(
    source: &Source<'_>,
    header: &Header,
    output: &mut SparseFile<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Stop> {
    let mut copier = Copier::new(source, header, output, progress)?;
    let entries = u64::from(header.l1_entries);
    for_each_entry(
        source,
        "the L1 table",
        header.l1_offset,
        entries,
        |index, raw| {
            let guest_offset = index * header.l2_covers();
            match entry::l1(raw, header)? {
                Some(table) => copier.copy_table(table, guest_offset),
                None => Ok(()),
            }
        },
    )?;
    copier.flush()
}

struct Copier<'a, 'src, 'out, 'p> {
    source: &'a Source<'src>,
    header: &'a Header,
    output: &'a mut SparseFile<'out>,
    progress: &'a mut Progress<'p>,
    inflater: Inflater,
    /// For plain data.
    buffer: Vec<u8>,
    /// For one cluster, and for its compressed bytes.
    cluster: Vec<u8>,
    packed: Vec<u8>,
    /// The open stretch.
    host: u64,
    guest: u64,
    length: u64,
}

impl<'a, 'src, 'out, 'p> Copier<'a, 'src, 'out, 'p> {
    fn new(
        source: &'a Source<'src>,
        header: &'a Header,
        output: &'a mut SparseFile<'out>,
        progress: &'a mut Progress<'p>,
    ) -> Result<Self, Stop> {
        let inflater = Inflater::new(header.compression).ok_or(Fault::Sandbox {
            step: "memory for zstd".to_owned(),
            errno: 0,
        })?;
        Ok(Copier {
            source,
            header,
            output,
            progress,
            inflater,
            buffer: copy_buffer(),
            cluster: vec![0; header.cluster_size() as usize],
            packed: Vec::new(),
            host: 0,
            guest: 0,
            length: 0,
        })
    }

    fn copy_table(&mut self, table: u64, first_guest_offset: u64) -> Result<(), Stop> {
        let (source, header) = (self.source, self.header);
        for_each_entry(
            source,
            "an L2 table",
            table,
            header.l2_entries(),
            |index, raw| {
                let guest = first_guest_offset + index * header.cluster_size();
                let Some(left) = header
                    .virtual_size
                    .checked_sub(guest)
                    .filter(|left| *left > 0)
                else {
                    return Ok(());
                };
                let length = left.min(header.cluster_size());
                match entry::l2(raw, header)? {
                    Mapping::Hole | Mapping::ZeroAt(_) => Ok(()),
                    Mapping::Plain(host) => self.add_plain(host, guest, length),
                    Mapping::Compressed(packed) => self.copy_compressed(packed, guest, length),
                }
            },
        )
    }

    /// Makes the open stretch longer, or starts a new one.
    fn add_plain(&mut self, host: u64, guest: u64, length: u64) -> Result<(), Stop> {
        let follows = self.host + self.length == host && self.guest + self.length == guest;
        if self.length == 0 || !follows || self.length >= MAX_STRETCH {
            self.flush()?;
            (self.host, self.guest) = (host, guest);
        }
        self.length += length;
        Ok(())
    }

    /// Copies the open stretch.
    fn flush(&mut self) -> Result<(), Stop> {
        if self.length > 0 {
            let (host, guest, length) = (self.host, self.guest, self.length);
            copy_stretch(
                self.source,
                host,
                length,
                self.output,
                guest,
                &mut self.buffer,
            )?;
            (self.progress)(guest + length, self.header.virtual_size);
            self.length = 0;
        }
        Ok(())
    }

    fn copy_compressed(&mut self, packed: Compressed, guest: u64, length: u64) -> Result<(), Stop> {
        let end = packed.end.min(self.source.size_bytes());
        self.packed
            .resize(end.saturating_sub(packed.offset) as usize, 0);
        self.source
            .read("a compressed cluster", packed.offset, &mut self.packed)?;
        if !self.inflater.inflate(&self.packed, &mut self.cluster) {
            return Err(Refusal::CompressedCluster {
                guest_offset: guest,
            }
            .into());
        }
        self.output.write(guest, &self.cluster[..length as usize])?;
        (self.progress)(guest + length, self.header.virtual_size);
        Ok(())
    }
}
