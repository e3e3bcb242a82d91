//! personalise.
