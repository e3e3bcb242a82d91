//! What is fuzzed: one function per parser, over bytes that somebody hostile may have made.
//!
//! A target turns bytes into calls of the product and asserts what must hold whatever the bytes
//! are: a panic is a finding. `fuzz/` runs the targets under libFuzzer; `tests/corpus.rs` runs
//! them over the kept corpus with plain `cargo test`. Which parser each one covers stands beside
//! its function. No product code is here, and nothing here is shipped.

mod attest;
mod bytes;
mod channel;
mod disk;
mod documents;
mod ext4;
mod ext4_seeds;
mod guest;
mod image;
mod inventory;
mod partitions;
mod policy;
mod replies;
mod texts;
mod tree;
mod user_data;
mod values;

pub use ext4_seeds::prepare;
pub use image::raw_of_qcow2;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the fuzzer, of its corpus directory and of its rows in reports.
    pub name: &'static str,
    /// Runs it once; a panic is a finding.
    pub run: fn(&[u8]),
    /// Inputs that are longer are cut off.
    pub most_bytes: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), most_bytes: usize) -> Target {
    Target {
        name,
        run,
        most_bytes,
    }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("image_qcow2", image::qcow2, 32 << 10),
    target("image_raw", image::raw, 64 << 10),
    target("image_answer", replies::intake, 8 << 10),
    target("image_leaves", image::leaves, 4 << 10),
    target("partition_table", partitions::table, 16 << 10),
    target("filesystem_kind", image::filesystem_kind, 72 << 10),
    target("ext4_read", ext4::read, 512),
    target("ext4_write", ext4::write, 512),
    target("guest_packages", texts::packages, 4 << 10),
    target("guest_accounts", texts::accounts, 4 << 10),
    target("guest_system", texts::system, 4 << 10),
    target("guest_network", texts::network, 4 << 10),
    target("guest_tree", guest::inspect_and_prove, 8 << 10),
    target("guest_seal", guest::seal, 8 << 10),
    target("guest_personalise", guest::personalise, 8 << 10),
    target("guest_passport", guest::passport, 8 << 10),
    target("user_data", user_data::merged, 4 << 10),
    target("recipe", documents::recipe, 4 << 10),
    target("package_lock", documents::package_lock, 4 << 10),
    target("clone_spec", documents::clone_spec, 4 << 10),
    target("sidecar", documents::sidecar, 8 << 10),
    target("api_body", documents::api_body, 4 << 10),
    target("agent_reply", replies::agent, 8 << 10),
    target("monitor_reply", replies::monitor, 4 << 10),
    target("channel_request", channel::request, 8 << 10),
    target("channel_response", channel::response, 8 << 10),
    target("inventory_rpm", inventory::rpm, 16 << 10),
    target("inventory_versions", inventory::versions, 256),
    target("inventory_advisories", inventory::advisories, 8 << 10),
    target("inventory_index", inventory::index, 8 << 10),
    target("policy_files", policy::files, 8 << 10),
    target("policy_settings", policy::settings, 4 << 10),
    target("attest_bundle", attest::bundle, 16 << 10),
    target("attest_statement", attest::statement, 8 << 10),
    target("attest_signature", attest::signature, 8 << 10),
    target("values", values::all, 256),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
