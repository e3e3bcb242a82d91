//! What people sign about versions, and how anybody can check it later.
//!
//! A [`statement`] says in canonical JSON what somebody says about the bytes of a version; a
//! [`signature`] over its text is an SSHSIG, as `ssh-keygen -Y sign` makes it; a [`bundle`] has
//! statements, signatures and what they refer to in one file, for a stranger who has nothing but a
//! public key. [`settings`] names who may sign for a site.
//!
//! Pure: no files, no clock, no processes. It decides nothing about versions: that is
//! `stampo_core::approval`.

pub mod bundle;
pub mod canonical;
pub mod evidence;
pub mod provenance;
pub mod settings;
pub mod signature;
pub mod statement;

/// BLAKE3 over a text, in hexadecimal.
pub fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
