//! Some compressed clusters on their way: read by one thread, inflated by any, written by the first.
//!
//! What this file does *not* do: read or write. Buffers are bounded by [`Batch::is_full`].

use super::super::protocol::Compression;
use super::inflate::Inflater;
use std::ops::Range;

/// A batch is full with this many bytes of disk, in one cluster or many.
const FULL_BYTES: usize = 1 << 20;

/// Compressed clusters and, later, what they make.
pub struct Batch {
    compression: Compression,
    cluster_size: usize,
    packed: Vec<u8>,
    clusters: Vec<Packed>,
    output: Vec<u8>,
    /// The first cluster that could not be inflated.
    broken: Option<u64>,
}

/// One cluster of a batch.
struct Packed {
    guest: u64,
    /// How much of it the disk needs.
    length: usize,
    bytes: Range<usize>,
}

impl Batch {
    /// An empty batch.
    pub fn new(compression: Compression, cluster_size: u64) -> Self {
        Batch {
            compression,
            cluster_size: cluster_size as usize,
            packed: Vec::new(),
            clusters: Vec::new(),
            output: Vec::new(),
            broken: None,
        }
    }

    /// Makes room for the `packed` bytes of the cluster at `guest`, to be filled by the caller.
    pub fn add(&mut self, guest: u64, length: usize, packed: usize) -> &mut [u8] {
        let start = self.packed.len();
        let bytes = start..start + packed;
        self.packed.resize(bytes.end, 0);
        self.clusters.push(Packed {
            guest,
            length,
            bytes,
        });
        &mut self.packed[start..]
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// Whether it should be inflated before more is added.
    pub fn is_full(&self) -> bool {
        self.clusters.len() * self.cluster_size >= FULL_BYTES
    }

    /// Inflates all clusters; `inflater` is kept from batch to batch.
    pub fn inflate(&mut self, inflater: &mut Option<Inflater>) {
        // Broken until proven whole, also when this unwinds.
        self.broken = self.clusters.first().map(|cluster| cluster.guest);
        if inflater.is_none() {
            *inflater = Inflater::new(self.compression);
        }
        self.output
            .resize(self.clusters.len() * self.cluster_size, 0);
        let outputs = self.output.chunks_exact_mut(self.cluster_size);
        for (cluster, output) in self.clusters.iter().zip(outputs) {
            let input = &self.packed[cluster.bytes.clone()];
            let whole = inflater
                .as_mut()
                .is_some_and(|inflater| inflater.inflate(input, output));
            if !whole {
                self.broken = Some(cluster.guest);
                return;
            }
        }
        self.broken = None;
    }

    /// Guest offset and bytes of every cluster, or the offset of the one that is broken.
    pub fn inflated(&self) -> Result<impl Iterator<Item = (u64, &[u8])>, u64> {
        if let Some(guest) = self.broken {
            return Err(guest);
        }
        let outputs = self.output.chunks_exact(self.cluster_size);
        Ok(self
            .clusters
            .iter()
            .zip(outputs)
            .map(|(c, output)| (c.guest, &output[..c.length])))
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.packed.clear();
        self.clusters.clear();
    }
}
