//! The seal proof: an independent look at a sealed disk for identity and secrets.
