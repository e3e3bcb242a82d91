//! Why an image is refused: one variant for each reason, found by the parser in the child process.
//!
//! Apart from [`super::error`], because these values cross the pipe from the child and are then
//! untrusted themselves: texts are made printable and cut short before they are stored here, and
//! once more by the parent. What this file does *not* hold: faults of the machine or the sandbox.

use serde::{Deserialize, Serialize};

/// The longest text out of an image that is ever shown, in characters.
const MAX_SHOWN: usize = 160;

/// Declares the reasons once: the variant, its stable kind and its text.
macro_rules! refusals {
    ($($(#[$attr:meta])* $name:ident $({ $($(#[$field_attr:meta])* $field:ident: $kind_of:ty),+ $(,)? })? = $kind:literal;)+) => {
        /// A reason to refuse an image. Nothing was kept of it.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
        pub enum Refusal {
            $($(#[$attr])* $name $({ $($(#[$field_attr])* $field: $kind_of),+ })?,)+
        }

        impl Refusal {
            /// The stable name of the reason, for tests, scripts and exit codes.
            pub const fn kind(&self) -> &'static str {
                match self { $(Refusal::$name { .. } => $kind,)+ }
            }

            /// The same with every text made fit for a terminal, when the child's word is taken.
            pub(super) fn made_printable(self) -> Self {
                match self {
                    $(Refusal::$name $({ $($field),+ })? =>
                        Refusal::$name $({ $($field: Shown::shown($field)),+ })?,)+
                }
            }

            /// Every kind, in the order of the declaration.
            pub const KINDS: &'static [&'static str] = &[$($kind),+];
        }
    };
}

refusals! {
    /// A file of zero bytes.
    #[error("take in the image: the file is empty; download or copy it again")]
    EmptyFile = "empty_file";
    /// The file itself is over the cap.
    #[error("take in the image: the file has {bytes} bytes and at most {max_bytes} are allowed")]
    FileTooLarge {
        /// Its length.
        bytes: u64,
        /// The cap.
        max_bytes: u64,
    } = "file_too_large";
    /// Declared raw, but it carries the mark of another format.
    #[error("take in the image: it was declared raw but looks like {format}; declare the right format, or convert it to raw where it was made")]
    LooksLike {
        /// The format that its first or last bytes belong to.
        format: String,
    } = "looks_like";
    /// Declared qcow2 without the magic.
    #[error("take in the image: it was declared qcow2 but looks like {looks_like}; declare the right format, or convert it to qcow2 where it was made")]
    NotQcow2 {
        /// What it is instead.
        looks_like: String,
    } = "not_qcow2";
    /// Something ends after the end of the file.
    #[error("take in the image: the file ends at byte {file_bytes}, before the end of {what} at byte {needed_bytes}; it is cut short, download or copy it again")]
    Truncated {
        /// The structure that is cut.
        what: String,
        /// Where it should end.
        needed_bytes: u64,
        /// Where the file ends.
        file_bytes: u64,
    } = "truncated";
    /// Neither version 2 nor 3.
    #[error("take in the image: qcow2 version {version} is unknown; convert it with 'qemu-img convert -O qcow2' where it was made")]
    Version {
        /// The version field.
        version: u32,
    } = "version";
    /// The header length field is impossible.
    #[error("take in the image: its header claims {bytes} bytes, which is impossible; the file is damaged")]
    HeaderLength {
        /// The field.
        bytes: u32,
    } = "header_length";
    /// Cluster size out of 512 B to 2 MiB.
    #[error("take in the image: cluster_bits is {bits} and must be 9 to 21; the file is damaged")]
    ClusterBits {
        /// The field.
        bits: u32,
    } = "cluster_bits";
    /// The disk is over the cap.
    #[error("take in the image: it claims a disk of {bytes} bytes and at most {max_bytes} are allowed")]
    VirtualSize {
        /// The claimed size.
        bytes: u64,
        /// The cap.
        max_bytes: u64,
    } = "virtual_size";
    /// A disk is a whole number of 512-byte sectors.
    #[error("take in the image: its size of {bytes} bytes is no multiple of 512, as that of a disk is; it is probably cut short, download or copy it again")]
    UnalignedSize {
        /// The size.
        bytes: u64,
    } = "unaligned_size";
    /// The image depends on another file.
    #[error("take in the image: it needs the backing file \"{name}\"; flatten it first: 'qemu-img convert -O qcow2 IMAGE FLAT' on the machine where that file is")]
    BackingFile {
        /// Its name in the image, made printable.
        name: String,
    } = "backing_file";
    /// The image names another file by a block-layer description.
    #[error("take in the image: it names another file by the description \"{name}\"; such names are never followed, flatten it where it was made: 'qemu-img convert -O qcow2 IMAGE FLAT'")]
    JsonName {
        /// The name, made printable.
        name: String,
    } = "json_name";
    /// The guest's data is in another file.
    #[error("take in the image: its data is in the external file \"{name}\"; put it into one file first: 'qemu-img convert -O qcow2 IMAGE FLAT' on the machine where that file is")]
    DataFile {
        /// Its name in the image, made printable; empty when it has none.
        name: String,
    } = "data_file";
    /// Encrypted clusters.
    #[error("take in the image: it is encrypted (method {method}); decrypt it first with 'qemu-img convert' where its key is")]
    Encrypted {
        /// The `crypt_method` field; 2 stands for LUKS.
        method: u32,
    } = "encrypted";
    /// Internal snapshots.
    #[error("take in the image: it holds {count} internal snapshots, which may contain old secrets; write a copy without them: 'qemu-img convert -O qcow2 IMAGE FLAT'")]
    InternalSnapshots {
        /// How many it claims.
        count: u32,
    } = "internal_snapshots";
    /// The dirty bit.
    #[error("take in the image: it was not closed cleanly (dirty bit); run 'qemu-img check -r all IMAGE' where it was made")]
    Dirty = "dirty";
    /// The corrupt bit.
    #[error("take in the image: it is marked corrupt; run 'qemu-img check -r all IMAGE' where it was made, or take another copy")]
    Corrupt = "corrupt";
    /// Subclusters.
    #[error("take in the image: it uses extended L2 entries (subclusters), which are not supported; convert it: 'qemu-img convert -O qcow2 IMAGE PLAIN'")]
    ExtendedL2 = "extended_l2";
    /// Incompatible feature bits that we don't know.
    #[error("take in the image: it needs unknown features (incompatible bits {bits:#x}); convert it with the program that made it")]
    UnknownFeature {
        /// The unknown bits.
        bits: u64,
    } = "unknown_feature";
    /// Autoclear feature bits that we don't know, or that contradict the rest.
    #[error("take in the image: it carries features that can't be kept (autoclear bits {bits:#x}); write a plain copy: 'qemu-img convert -O qcow2 IMAGE PLAIN'")]
    Autoclear {
        /// The bits.
        bits: u64,
    } = "autoclear";
    /// A compression type that does not exist, or that the feature bit contradicts.
    #[error("take in the image: its compression type is {value}, or its feature bits contradict it; only zlib (0) and zstd (1) are known")]
    CompressionType {
        /// The field.
        value: u8,
    } = "compression_type";
    /// Persistent dirty bitmaps.
    #[error("take in the image: it holds persistent dirty bitmaps; write a plain copy: 'qemu-img convert -O qcow2 IMAGE PLAIN'")]
    Bitmaps = "bitmaps";
    /// A header extension that is not on the allow-list.
    #[error("take in the image: it has an unknown header extension {id:#010x}; write a plain copy: 'qemu-img convert -O qcow2 IMAGE PLAIN'")]
    UnknownExtension {
        /// The extension's type.
        id: u32,
    } = "unknown_extension";
    /// An extension reaches out of the first cluster, or comes twice.
    #[error("take in the image: its header extension {id:#010x} is malformed; the file is damaged")]
    BadExtension {
        /// The extension's type.
        id: u32,
    } = "bad_extension";
    /// A refcount width over 64 bits.
    #[error("take in the image: refcount_order is {order} and must be 0 to 6; the file is damaged")]
    RefcountOrder {
        /// The field.
        order: u32,
    } = "refcount_order";
    /// The refcount table is missing or larger than any real one.
    #[error("take in the image: its refcount table has an impossible size of {clusters} clusters; the file is damaged")]
    RefcountTable {
        /// The field.
        clusters: u32,
    } = "refcount_table";
    /// The L1 table is too small for the disk, or larger than any real one.
    #[error("take in the image: its L1 table has {entries} entries, where its size needs {needed}; the file is damaged")]
    L1Table {
        /// The field.
        entries: u32,
        /// What the virtual size needs.
        needed: u64,
    } = "l1_table";
    /// Bits that must be zero.
    #[error("take in the image: reserved bits are set in {what} ({value:#x}); the file is damaged or made by an unknown program")]
    ReservedBits {
        /// The structure.
        what: String,
        /// Its value.
        value: u64,
    } = "reserved_bits";
    /// Not on a cluster boundary.
    #[error("take in the image: {what} points to byte {offset}, which is no cluster boundary; the file is damaged")]
    Unaligned {
        /// The structure.
        what: String,
        /// Where it points to.
        offset: u64,
    } = "unaligned";
    /// Points behind the end of the file.
    #[error("take in the image: {what} points to byte {offset}, after the end of the file at {file_bytes}; it is cut short or damaged")]
    PastEnd {
        /// The structure.
        what: String,
        /// Where it points to.
        offset: u64,
        /// Where the file ends.
        file_bytes: u64,
    } = "past_end";
    /// Two structures share a cluster.
    #[error("take in the image: {what} uses the cluster at byte {offset} that something else uses too; the file is damaged, or made to harm")]
    Overlap {
        /// The second user.
        what: String,
        /// The cluster.
        offset: u64,
    } = "overlap";
    /// Clusters mapped behind the end of the disk.
    #[error("take in the image: it maps data at byte {guest_offset}, after the end of its disk; shrink it cleanly with 'qemu-img resize --shrink' or convert it")]
    MappedPastSize {
        /// Where in the disk.
        guest_offset: u64,
    } = "mapped_past_size";
    /// More clusters than we are ready to keep track of.
    #[error("take in the image: it has too many clusters ({clusters}) to check in bounded memory; convert it to larger clusters: 'qemu-img convert -O qcow2 -o cluster_size=64k IMAGE PLAIN'")]
    TooManyClusters {
        /// How many.
        clusters: u64,
    } = "too_many_clusters";
    /// It would grow without reason.
    #[error("take in the image: {file_bytes} bytes would expand to {mapped_bytes}; that looks like a decompression bomb, convert it to raw where it is trusted")]
    Bomb {
        /// The file.
        file_bytes: u64,
        /// What it maps.
        mapped_bytes: u64,
    } = "bomb";
    /// Compressed data that does not make exactly one cluster.
    #[error("take in the image: the compressed cluster for byte {guest_offset} of the disk can't be decompressed; the file is damaged, download or copy it again")]
    CompressedCluster {
        /// Where in the disk.
        guest_offset: u64,
    } = "compressed_cluster";
}

/// Bytes out of an image as a short printable text: no control characters reach a terminal or log.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .flat_map(char::escape_debug)
        .take(MAX_SHOWN)
        .collect()
}

/// A field of a refusal that is safe to print afterwards.
pub(super) trait Shown {
    /// No control characters, no endless text.
    fn shown(self) -> Self;
}

macro_rules! numbers_are_shown_as_they_are {
    ($($number:ty),+) => {
        $(impl Shown for $number {
            fn shown(self) -> Self {
                self
            }
        })+
    };
}

numbers_are_shown_as_they_are!(u8, u32, u64);

impl Shown for String {
    fn shown(self) -> Self {
        let plain = |c: char| if c.is_control() { '?' } else { c };
        self.chars().map(plain).take(MAX_SHOWN).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lying_child_can_not_print_escape_sequences() {
        let lie = Refusal::BackingFile {
            name: "\x1b[2J".repeat(1000),
        };
        let text = lie.made_printable().to_string();
        assert!(
            text.chars().all(|c| !c.is_control()) && text.len() < 500,
            "{text:?}"
        );
    }

    #[test]
    fn kinds_are_distinct_and_are_the_names_on_the_wire() {
        let mut kinds = Refusal::KINDS.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), Refusal::KINDS.len());
        let sample = Refusal::NotQcow2 {
            looks_like: "ELF".into(),
        };
        let wire = serde_json::to_value(&sample).expect("a refusal is plain data");
        assert_eq!(wire["kind"], sample.kind());
    }

    #[test]
    fn escape_sequences_of_an_image_never_reach_a_terminal() {
        let shown = printable(b"a\x1b]0;owned\x07\n\xff");
        assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
        assert!(printable(&[b'x'; 5000]).len() <= MAX_SHOWN);
    }
}
