//! Implements the API over the engine, in the process that asks.
//!
//! Every call goes the same way: the engine is asked, its types become wire types, its errors
//! become problems, and what was refused or failed is in the audit.

mod answer;
mod approvals;
mod audits;
mod channels;
mod convert;
mod diff;
mod drifts;
mod evidence;
mod govern;
mod home;
mod inside;
mod local;
mod open;
mod policies;
mod pools;
mod problem;
mod retention;
mod tender;

pub use approvals::verify_bundle;
pub use evidence::verify_evidence;
pub use local::Local;
pub use open::{Opened, Purpose, open, tend};
/// Must be the first thing that a program's `main` calls: it never returns in the sandboxed child
/// that reads untrusted images.
pub use stampo_image::intake::run_child_if_asked;

/// To be called before anything is opened: what this process was given by its parent but for its
/// standard streams is not passed on to guests, which live on.
pub fn keep_descriptors_from_children() {
    // Where it can't be done they are passed on, and nothing else is different.
    stampo_image::descriptors::keep_from_children().ok();
}

/// Connects to a Unix socket whose path may be longer than a socket address can hold.
pub fn connect_unix(path: &std::path::Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    stampo_driver::socket::connect(path, std::time::Duration::from_secs(5))
}
