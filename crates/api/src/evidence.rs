//! Evidence: what is known of every version and machine, for people who must prove it.

use crate::Reply;
pub use stampo_core::evidence::{Class, Evidence};

/// What a client can ask about evidence.
pub trait EvidenceApi {
    /// Everything that is known now.
    fn evidence(&self) -> Reply<Evidence>;
    /// The same as a file that the site's key signed.
    fn evidence_bundle(&self) -> Reply<String>;
    /// The line of the site's public key.
    fn site_key(&self) -> Reply<String>;
}
