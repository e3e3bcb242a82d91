//! The outside of a disk: safe intake, formats, digest, overlay, flatten, pool layout.
//!
//! This room knows bytes, files and formats. It knows nothing of what a guest's files mean.

pub mod device;
pub mod intake;
