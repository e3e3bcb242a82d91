//! The outside of a disk: safe intake, formats, digest, overlay, flatten, pool layout.
//!
//! This room knows bytes, files and formats. It knows nothing of what a guest's files mean.

pub mod checksum;
pub mod copy;
pub mod descriptors;
pub mod device;
pub mod download;
pub mod durable;
pub mod filesystem;
pub mod flatten;
pub mod identity;
pub mod intake;
pub mod listing;
pub mod lock;
pub mod overlay;
pub mod partition;
pub mod pool;
pub mod process_identity;
pub mod progress;
pub mod raw;
pub mod regular;
pub mod resize;
pub mod sparse;
