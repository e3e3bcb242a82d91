//! Documents that people, other programs or an earlier stampo wrote: TOML and JSON.
//!
//! What is read must be written as something that is read as the same. No file of the host is
//! opened for any of them.

use crate::bytes::text;
use clap::Parser;
use serde::{Serialize, de::DeserializeOwned};
use stampo_api as api;
use stampo_build::{Loaded, PackageLock, RecipeFile, inherit, installed_packages};
use stampo_cli::args::{Cli, CloneArgs, Command};
use std::fmt::Debug;
use std::path::Path;
use std::sync::OnceLock;

/// Where a recipe's files would be: a directory that is empty.
fn nowhere() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory"))
        .path()
}

/// Recipes, with defaults, checks, and as child and parent of themselves.
pub fn recipe(bytes: &[u8]) {
    let text = text(bytes);
    let parsed = RecipeFile::from_toml(&text);
    let Ok(loaded) = Loaded::from_toml(&text, nowhere()) else {
        return;
    };
    assert!(parsed.is_ok_and(|parsed| parsed == loaded.written));
    loaded.recipe.check().expect("a loaded recipe was checked");
    let again = Loaded::from_toml(&text, nowhere()).expect("it was good a moment ago");
    assert!(again == loaded, "a recipe is read in one way only");
    if let Ok(child) = inherit(&loaded.recipe, None, &loaded.written, &loaded.recipe) {
        child.check().expect("a child of a good recipe was checked");
    }
}

/// Package locks, and the dpkg database that they are made from.
pub fn package_lock(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(lock) = PackageLock::from_toml(&text) {
        let again = PackageLock::from_toml(&lock.to_toml());
        assert!(again.is_ok_and(|again| again == lock), "{}", lock.to_toml());
        lock.check(&lock.packages).expect("a lock is what it locks");
        // One blank line ends a pin: more of them would be pins that the lock does not have.
        let pins = lock.apt_preferences().matches("\n\n").count();
        assert_eq!(pins, lock.packages.len());
    }
    if let Ok(packages) = installed_packages(&text) {
        let lock = PackageLock {
            release: "bookworm".to_owned(),
            source_date_epoch: 1,
            sources: Vec::new(),
            packages,
        };
        let again = PackageLock::from_toml(&lock.to_toml());
        assert!(
            again.is_ok_and(|again| again == lock),
            "a lock that stampo writes and can't read: {}",
            lock.to_toml()
        );
    }
}

fn clone_args() -> &'static CloneArgs {
    static ARGS: OnceLock<Box<CloneArgs>> = OnceLock::new();
    ARGS.get_or_init(|| {
        let words = [
            "stampo",
            "clone",
            "web",
            "app-{n}",
            "--ssh-key",
            "ssh-ed25519 AAAA",
        ];
        match Cli::try_parse_from(words).expect("a good command").command {
            Command::Clone(args) => args,
            _ => unreachable!("clone is clone"),
        }
    })
}

/// Spec files, joined with options.
pub fn clone_spec(bytes: &[u8]) {
    if let Ok(Some(spec)) = stampo_cli::clone_spec_of_text(clone_args(), &text(bytes)) {
        let json = serde_json::to_vec(&spec).expect("a spec can be written");
        let again = serde_json::from_slice(&json).expect("a written spec can be read");
        assert_eq!(spec, again);
        let _ = spec.personalisation.check();
    }
}

/// Sidecars of versions and guests.
pub fn sidecar(bytes: &[u8]) {
    for (which, text) in stampo_engine::rewritten_sidecars(bytes).iter().enumerate() {
        let Some(text) = text else { continue };
        let again = &stampo_engine::rewritten_sidecars(text)[which];
        assert!(
            again.as_ref() == Some(text),
            "a sidecar changes when it is written again"
        );
    }
}

/// Reads a body as `T`; what it is read as must survive being written.
fn body<T: Debug + PartialEq + Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        crate::values::survives_json(&value);
    }
}

/// Everything that a client or a server may send.
pub fn api_body(bytes: &[u8]) {
    body::<api::BuildRequest>(bytes);
    body::<api::ImportRequest>(bytes);
    body::<api::SealRequest>(bytes);
    body::<api::AcceptRequest>(bytes);
    body::<api::CloneRequest>(bytes);
    body::<api::ResizeRequest>(bytes);
    body::<api::ExecRequest>(bytes);
    body::<api::StopReply>(bytes);
    body::<api::Guest>(bytes);
    body::<api::Passport>(bytes);
    body::<api::Operation>(bytes);
    body::<api::Event>(bytes);
    body::<api::Outcome>(bytes);
    body::<api::AuditRecord>(bytes);
    body::<api::Problem>(bytes);
    body::<api::DoctorReport>(bytes);
    body::<api::GcReport>(bytes);
    body::<api::RescanReport>(bytes);
    body::<api::SealPlan>(bytes);
    body::<api::Verification>(bytes);
    body::<api::Version>(bytes);
}
