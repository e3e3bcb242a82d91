//! Who uses which host cluster: every one has at most one user.
//!
//! This is what stops images in which thousands of entries share one cluster (384 KiB that expand
//! to 32 GiB), and tables that lie in each other. Compressed clusters may share a host cluster with
//! their like ("Compressed Clusters Descriptor"), at bytes of their own.
//! Memory: two bits per host cluster and eight bytes per compressed cluster, both capped.

use super::super::refusal::Refusal;
use super::entry::Compressed;

/// At most this many host clusters: two maps of 32 MiB; 16 TiB with 64 KiB clusters.
const MAX_HOST_CLUSTERS: u64 = 1 << 28;

/// At most this many compressed clusters: 64 MiB; 512 GiB of disk with 64 KiB clusters.
const MAX_COMPRESSED: usize = 1 << 23;

/// The record of all claims.
pub struct Occupancy {
    file_bytes: u64,
    cluster_bits: u32,
    exclusive: Vec<u64>,
    shared: Vec<u64>,
    /// First byte and last sector's start, both of a compressed cluster, packed by [`pack`].
    compressed: Vec<u64>,
}

impl Occupancy {
    /// No claims yet on a file of `file_bytes`.
    pub fn new(file_bytes: u64, cluster_bits: u32) -> Result<Self, Refusal> {
        let clusters = file_bytes.div_ceil(1 << cluster_bits);
        // 2^48 bytes is what `pack` can hold.
        if clusters > MAX_HOST_CLUSTERS || file_bytes >= 1 << 48 {
            return Err(Refusal::TooManyClusters { clusters });
        }
        let words = clusters.div_ceil(64) as usize;
        Ok(Occupancy {
            file_bytes,
            cluster_bits,
            exclusive: vec![0; words],
            shared: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Claims `length` bytes from the cluster boundary `offset` for one user.
    pub fn claim(&mut self, what: &str, offset: u64, length: u64) -> Result<(), Refusal> {
        if length == 0 {
            return Ok(());
        }
        let end = offset.saturating_add(length);
        if offset >= self.file_bytes {
            return Err(self.past_end(what, offset));
        }
        for cluster in offset >> self.cluster_bits..=(end - 1) >> self.cluster_bits {
            let offset = cluster << self.cluster_bits;
            if offset >= self.file_bytes {
                return Err(self.past_end(what, offset));
            }
            if set(&mut self.exclusive, cluster) || get(&self.shared, cluster) {
                return Err(Refusal::Overlap {
                    what: what.to_owned(),
                    offset,
                });
            }
        }
        Ok(())
    }

    /// Claims the bytes of a compressed cluster.
    pub fn claim_compressed(&mut self, cluster: Compressed) -> Result<(), Refusal> {
        const WHAT: &str = "a compressed cluster";
        if cluster.offset >= self.file_bytes {
            return Err(self.past_end(WHAT, cluster.offset));
        }
        if self.compressed.len() >= MAX_COMPRESSED {
            return Err(Refusal::TooManyClusters {
                clusters: self.compressed.len() as u64,
            });
        }
        if self.shared.is_empty() {
            self.shared = vec![0; self.exclusive.len()];
        }
        // The last sector may be missing in the file: the count is rounded up.
        let end = cluster.end.min(self.file_bytes);
        for host in cluster.offset >> self.cluster_bits..=(end - 1) >> self.cluster_bits {
            set(&mut self.shared, host);
            if get(&self.exclusive, host) {
                let offset = host << self.cluster_bits;
                return Err(Refusal::Overlap {
                    what: WHAT.to_owned(),
                    offset,
                });
            }
        }
        self.compressed.push(pack(cluster));
        Ok(())
    }

    /// How many compressed clusters were claimed.
    pub fn compressed_clusters(&self) -> u64 {
        self.compressed.len() as u64
    }

    /// Refuses compressed clusters that lie in each other, after all were claimed.
    ///
    /// Only the last sector of one may also hold the start of the next.
    pub fn check_compressed(&mut self) -> Result<(), Refusal> {
        self.compressed.sort_unstable();
        for pair in self.compressed.windows(2) {
            let ((offset, last_sector), (next, _)) = (unpack(pair[0]), unpack(pair[1]));
            if next <= offset || next < last_sector {
                return Err(Refusal::Overlap {
                    what: "a compressed cluster".to_owned(),
                    offset: next,
                });
            }
        }
        Ok(())
    }

    fn past_end(&self, what: &str, offset: u64) -> Refusal {
        Refusal::PastEnd {
            what: what.to_owned(),
            offset,
            file_bytes: self.file_bytes,
        }
    }
}

/// Sorts by offset: 48 bits of it, then the sectors; enough for files of 256 TiB.
fn pack(cluster: Compressed) -> u64 {
    let sectors = (cluster.end >> 9) - (cluster.offset >> 9) - 1;
    cluster.offset << 16 | sectors
}

/// First byte, and start of the last sector.
fn unpack(packed: u64) -> (u64, u64) {
    let (offset, sectors) = (packed >> 16, packed & 0xffff);
    (offset, ((offset >> 9) + sectors) << 9)
}

fn get(map: &[u64], cluster: u64) -> bool {
    map.get((cluster / 64) as usize)
        .is_some_and(|word| word >> (cluster % 64) & 1 != 0)
}

/// Sets the bit and tells whether it was set before.
fn set(map: &mut [u64], cluster: u64) -> bool {
    let before = get(map, cluster);
    if let Some(word) = map.get_mut((cluster / 64) as usize) {
        *word |= 1 << (cluster % 64);
    }
    before
}
