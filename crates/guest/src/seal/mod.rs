//! Sealing a guest disk: taking away everything that two clones must not share.

pub mod proof;
