//! The inside of a guest disk: inspect, seal, personalise, verify.
//!
//! Nothing here mounts anything, and nothing of a guest is ever executed. All content is hostile.

pub mod drift;
pub mod fs;
pub mod inspect;
pub mod passport;
pub mod personalise;
pub mod seal;
