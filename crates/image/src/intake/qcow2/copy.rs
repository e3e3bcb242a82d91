//! The second walk: guest data goes to the sparse file, in the order of the disk.
//!
//! The file may have changed since the proof (it can belong to another user), so every entry is
//! decoded and every read bounded again; the worst outcome is wrong bytes inside the disk's size.
//! Neighbours in both the disk and the file are copied as one stretch.

use super::super::convert::{Progress, copy_buffer, copy_stretch};
use super::super::crew::Crew;
use super::super::error::{Fault, Stop};
use super::super::refusal::Refusal;
use super::super::source::Source;
use super::super::sparse::SparseFile;
use super::batch::Batch;
use super::entry::{self, Compressed, Mapping};
use super::header::Header;
use super::inflate::Inflater;
use super::prove::{for_each_entry, for_each_l2_table};

/// A stretch is at most this long, so that progress is told within it.
const MAX_STRETCH: u64 = 16 << 20;

/// Copies all mapped clusters.
pub fn copy(
    source: &Source<'_>,
    header: &Header,
    output: &mut SparseFile<'_>,
    crew: &Crew,
    progress: &mut Progress<'_>,
) -> Result<(), Stop> {
    let batch = Batch::new(header.compression, header.cluster_size());
    let mut copier = Copier {
        source,
        header,
        output,
        progress,
        buffer: copy_buffer(),
        batch,
        crew,
        under_way: 0,
        inflater: None,
        host: 0,
        guest: 0,
        length: 0,
    };
    for_each_l2_table(source, header, |table, guest_offset| {
        copier.copy_table(table, guest_offset)
    })?;
    copier.finish()
}

struct Copier<'a, 'src, 'out, 'p> {
    source: &'a Source<'src>,
    header: &'a Header,
    output: &'a mut SparseFile<'out>,
    progress: &'a mut Progress<'p>,
    /// For plain data.
    buffer: Vec<u8>,
    /// Compressed clusters that are collected, and how many batches others have.
    batch: Batch,
    crew: &'a Crew,
    under_way: usize,
    /// For batches that nobody else takes.
    inflater: Option<Inflater>,
    /// The open stretch.
    host: u64,
    guest: u64,
    length: u64,
}

impl Copier<'_, '_, '_, '_> {
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
                    Mapping::Compressed(packed) => self.add_compressed(packed, guest, length),
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

    /// Adds it to the open batch; the crew does the rest.
    fn add_compressed(&mut self, packed: Compressed, guest: u64, length: u64) -> Result<(), Stop> {
        let end = packed.end.min(self.source.size_bytes());
        let count = end.saturating_sub(packed.offset) as usize;
        let room = self.batch.add(guest, length as usize, count);
        self.source
            .read("a compressed cluster", packed.offset, room)?;
        if self.batch.is_full() {
            self.pass_on()?;
        }
        Ok(())
    }

    /// Gives the open batch away, after taking one back when too many are under way.
    fn pass_on(&mut self) -> Result<(), Stop> {
        let fresh = if self.under_way >= self.crew.depth() && self.under_way > 0 {
            self.take_back()?
        } else {
            Batch::new(self.header.compression, self.header.cluster_size())
        };
        let full = std::mem::replace(&mut self.batch, fresh);
        match self.crew.give(full) {
            None => self.under_way += 1,
            Some(mut own) => {
                own.inflate(&mut self.inflater);
                self.batch = self.write_batch(own)?;
            }
        }
        Ok(())
    }

    /// Waits for a batch, writes it, and returns it empty.
    fn take_back(&mut self) -> Result<Batch, Stop> {
        let batch = self.crew.take().ok_or(Fault::Panicked)?;
        self.under_way -= 1;
        self.write_batch(batch)
    }

    fn write_batch(&mut self, mut batch: Batch) -> Result<Batch, Stop> {
        let broken = |guest_offset| Refusal::CompressedCluster { guest_offset };
        for (guest, data) in batch.inflated().map_err(broken)? {
            self.output.write(guest, data)?;
            (self.progress)(guest + data.len() as u64, self.header.virtual_size);
        }
        batch.clear();
        Ok(batch)
    }

    /// Copies and writes all that is still open.
    fn finish(&mut self) -> Result<(), Stop> {
        self.flush()?;
        if !self.batch.is_empty() {
            self.pass_on()?;
        }
        while self.under_way > 0 {
            self.take_back()?;
        }
        Ok(())
    }
}
