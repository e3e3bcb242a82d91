//! A builder that writes qcow2 structures field by field, so that each can be wrong on its own.
//!
//! [`Image::valid`] is a sane version 3 image of 4 KiB clusters for a disk of 1 MiB:
//!
//! ```text
//! cluster 0 header · 1 refcount table · 2 refcount block · 3 L1 · 4 L2 · 5, 6 data of guest 0 and 3
//! ```

/// Bytes per cluster of a valid image.
pub const CLUSTER: u64 = 4096;
/// Where its parts are.
pub const REFCOUNT_TABLE: u64 = CLUSTER;
pub const REFCOUNT_BLOCK: u64 = 2 * CLUSTER;
pub const L1: u64 = 3 * CLUSTER;
pub const L2: u64 = 4 * CLUSTER;
pub const DATA: u64 = 5 * CLUSTER;
pub const END: u64 = 7 * CLUSTER;
/// The refcount of an entry's cluster is one.
pub const COPIED: u64 = 1 << 63;
/// The entry is a compressed cluster.
pub const COMPRESSED: u64 = 1 << 62;

/// An image that is being made.
#[derive(Clone)]
pub struct Image {
    pub bytes: Vec<u8>,
}

impl Image {
    /// An image that everything accepts.
    pub fn valid() -> Self {
        let mut image = Image {
            bytes: vec![0; END as usize],
        }
        .put(0, b"QFI\xfb")
        .u32(4, 3)
        .u32(20, 12)
        .u64(24, 1 << 20)
        .u32(36, 1)
        .u64(40, L1)
        .u64(48, REFCOUNT_TABLE)
        .u32(56, 1)
        .u32(96, 4)
        .u32(100, 104)
        .u64(REFCOUNT_TABLE, REFCOUNT_BLOCK)
        .l1(0, L2 | COPIED)
        .l2(0, DATA | COPIED)
        .l2(3, (DATA + CLUSTER) | COPIED);
        for cluster in 0..7 {
            image = image.put(REFCOUNT_BLOCK + cluster * 2, &[0, 1]);
        }
        image.fill(DATA, 0xa5).fill(DATA + CLUSTER, 0x5a)
    }

    /// The same as version 2, which has fewer fields.
    pub fn valid_v2() -> Self {
        Image::valid().u32(4, 2).put(72, &[0; 32])
    }

    /// A valid image whose guest cluster 7 is this compressed stream at the end of the file.
    pub fn with_compressed(stream: &[u8]) -> Self {
        let mut image = Image::valid();
        image.bytes.extend_from_slice(stream);
        image
            .bytes
            .resize(image.bytes.len().next_multiple_of(512), 0);
        let sectors = stream.len().div_ceil(512) as u64 - 1;
        image
            .l2(7, compressed_entry(END, sectors))
            .put(REFCOUNT_BLOCK + 14, &[0, 1])
    }

    /// One with an additional header field for the compression type.
    pub fn zstd(self) -> Self {
        self.u64(72, 8).u32(100, 112).put(104, &[1])
    }

    pub fn put(mut self, at: u64, bytes: &[u8]) -> Self {
        let (start, end) = (at as usize, at as usize + bytes.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        self
    }

    pub fn u32(self, at: u64, value: u32) -> Self {
        self.put(at, &value.to_be_bytes())
    }

    pub fn u64(self, at: u64, value: u64) -> Self {
        self.put(at, &value.to_be_bytes())
    }

    pub fn l1(self, index: u64, entry: u64) -> Self {
        self.u64(L1 + index * 8, entry)
    }

    pub fn l2(self, index: u64, entry: u64) -> Self {
        self.u64(L2 + index * 8, entry)
    }

    /// Fills one cluster.
    pub fn fill(self, at: u64, byte: u8) -> Self {
        self.put(at, &[byte; CLUSTER as usize])
    }

    /// A header extension at `at`, with the length that it really has.
    pub fn extension(self, at: u64, id: u32, data: &[u8]) -> Self {
        self.u32(at, id)
            .u32(at + 4, data.len() as u32)
            .put(at + 8, data)
    }

    /// A backing file of this name, kept in the first cluster.
    pub fn backing(self, name: &[u8]) -> Self {
        self.put(512, name).u64(8, 512).u32(16, name.len() as u32)
    }

    pub fn truncate(mut self, length: u64) -> Self {
        self.bytes.truncate(length as usize);
        self
    }
}

/// The descriptor of a compressed cluster in 4 KiB clusters: 58 bits of offset.
pub fn compressed_entry(offset: u64, additional_sectors: u64) -> u64 {
    COMPRESSED | additional_sectors << 58 | offset
}

/// One cluster as a raw deflate stream.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

/// One cluster as a zstd frame.
pub fn zstd_frame(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

/// Compressed clusters of 2 MiB, each some hundred bytes: 4 GiB out of 11 MB for 2,000.
pub fn zstd_bomb(clusters: u64) -> Vec<u8> {
    let cluster = 2u64 << 20;
    let frame = zstd_frame(&vec![b'x'; cluster as usize]);
    let mut image = Image {
        bytes: vec![0; 5 * cluster as usize],
    }
    .put(0, b"QFI\xfb")
    .u32(4, 3)
    .u32(20, 21)
    .u64(24, clusters * cluster)
    .u32(36, 1)
    .u64(40, 3 * cluster)
    .u64(48, cluster)
    .u32(56, 1)
    .u32(96, 4)
    .u64(cluster, 2 * cluster)
    .u64(3 * cluster, (4 * cluster) | COPIED)
    .zstd();
    for index in 0..clusters {
        let at = image.bytes.len() as u64;
        let sectors = (frame.len() as u64).div_ceil(512) - 1;
        // 49 bits of offset with clusters of 2 MiB.
        let entry = COMPRESSED | sectors << 49 | at;
        image.bytes.extend_from_slice(&frame);
        image
            .bytes
            .resize(image.bytes.len().next_multiple_of(512), 0);
        image = image.u64(4 * cluster + index * 8, entry);
    }
    image.bytes
}

/// All entries of all L2 tables on one data cluster: 384 KiB that claim 32 GiB of data.
pub fn shared_cluster_bomb() -> Vec<u8> {
    let cluster = 65_536u64;
    let mut image = Image {
        bytes: vec![0; 6 * cluster as usize],
    }
    .put(0, b"QFI\xfb")
    .u32(4, 3)
    .u32(20, 16)
    .u64(24, 32 << 30)
    .u32(36, 64)
    .u64(40, 3 * cluster)
    .u64(48, cluster)
    .u32(56, 1)
    .u32(96, 4)
    .u32(100, 104)
    .u64(cluster, 2 * cluster);
    for index in 0..64 {
        image = image.u64(3 * cluster + index * 8, 4 * cluster);
    }
    for index in 0..cluster / 8 {
        image = image.u64(4 * cluster + index * 8, 5 * cluster);
    }
    image.bytes
}
