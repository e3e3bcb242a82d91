//! Personalise: makes one clone out of an overlay, by writing into its filesystem before it ever
//! runs. Needs neither cloud-init nor a network in the guest.
//!
//! One call does one guest: [`check`] finds everything that could be wrong without writing, and
//! [`personalise`] checks again and writes. It can be repeated on the same overlay; the result is
//! then as if only the last call had been made. On an error the overlay is to be dropped.
//!
//! Files by noun: `hostname` (names, machine-id), `identity` (iSCSI, NVMe, random seed), `ssh`,
//! `account` + `users`, `network/`, `clock`, `files` (files, first-boot script), `grow`, `ids`
//! (filesystem UUID), `seed` + `mime` (cloud-init), `owner` (who owns what), `edit` (the one way
//! of writing). Does not make disks, addresses or MACs, and does not read the clock: only the dates
//! of the seed's volume are its library's, of now.

mod account;
mod clock;
mod edit;
mod error;
mod files;
mod grow;
mod hostname;
mod identity;
mod ids;
mod mime;
mod network;
pub mod owner;
mod partitions;
mod secrets;
mod seed;
mod ssh;
mod users;

pub use error::PersonaliseError;
pub use ids::{Elsewhere, FilesystemUuid};
pub use network::NetworkSystem;
pub use partitions::partition_ids_in_use;
pub use secrets::GuestSecrets;
pub use seed::has_cloud_init;
pub use ssh::HostKey;

use crate::fs::{GuestFs, GuestRead, Owner};
use edit::Editor;
use stampo_core::ids::{GuestId, ImageId};
use stampo_core::network::Mac;
use stampo_core::personalisation::Personalisation;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of the clone besides the request.
#[derive(Debug, Clone)]
pub struct Context {
    /// The guest; also cloud-init's instance id.
    pub guest: GuestId,
    /// The version that it is cloned from, as in `web@3`.
    pub version: String,
    /// The image of that version.
    pub image: ImageId,
    /// The MACs of its interfaces, in the order of [`Personalisation::networks`].
    pub nics: Vec<Mac>,
    /// Its root partition is larger than the template's: the filesystem grows at the first boot.
    pub grow_root: bool,
    /// Whether anything outside the root filesystem names it by its UUID.
    pub elsewhere: Elsewhere,
    /// The time, in seconds since 1970.
    pub now_s: i64,
}

/// What personalisation did. Holds no private key; the seed may hold the user's secrets.
pub struct Report {
    /// The machine-id that the guest has now.
    pub machine_id: Uuid,
    /// Its ssh host keys; empty without an ssh server.
    pub host_keys: Vec<HostKey>,
    /// What became of the root filesystem's UUID.
    pub filesystem_uuid: FilesystemUuid,
    /// Which program sets its interfaces; `None` when they were left alone.
    pub network: Option<NetworkSystem>,
    /// The seed to attach as a CD-ROM, where the guest has cloud-init. Keep the file at 0600.
    pub seed: Option<Vec<u8>>,
    /// Paths that were written or removed.
    pub written: Vec<String>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

impl Report {
    /// Identity items that are the template's on purpose, with the reason, as the passport names
    /// them: for [`crate::passport::ShellFacts::kept`].
    pub fn kept_items(&self) -> BTreeMap<String, String> {
        match &self.filesystem_uuid {
            FilesystemUuid::Kept(why) => {
                BTreeMap::from([("filesystem.uuid".to_owned(), why.clone())])
            }
            FilesystemUuid::Changed(_) => BTreeMap::new(),
        }
    }
}

impl std::fmt::Debug for Report {
    /// Without the seed, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("machine_id", &self.machine_id)
            .field("host_keys", &self.host_keys)
            .field("filesystem_uuid", &self.filesystem_uuid)
            .field("network", &self.network)
            .field("written", &self.written)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Finds out whether the request can be carried out on this guest, without writing anything.
///
/// `fs` may be the template's: a clone begins as its copy.
pub fn check(
    fs: &dyn GuestRead,
    request: &Personalisation,
    context: &Context,
) -> Result<(), PersonaliseError> {
    request.check()?;
    users::check_users(fs, request)?;
    network::check_networks(fs, &request.networks, &context.nics)?;
    if let Some(zone) = &request.time_zone {
        clock::check_zone(fs, zone)?;
    }
    files::check_files(fs, request)?;
    if context.grow_root {
        grow::check_grow(fs)?;
    }
    seed::check_user_data(fs, request)
}

/// Writes one guest's own settings and ids. Nothing is durable before [`GuestFs::finish`].
pub fn personalise(
    fs: &mut dyn GuestFs,
    request: &Personalisation,
    secrets: &GuestSecrets,
    context: &Context,
) -> Result<Report, PersonaliseError> {
    check(&*fs, request, context)?;
    let cloud_init = seed::has_cloud_init(&*fs)?;
    let mut edit = Editor::new(fs);
    hostname::set_hostname(&mut edit, &request.hostname)?;
    hostname::set_machine_id(&mut edit, secrets.machine_id)?;
    identity::write_ids(&mut edit, secrets)?;
    let short = stampo_host_name::short(&request.hostname);
    let host_keys = ssh::write_host_keys(&mut edit, &secrets.host_keys, short)?;
    users::write_users(&mut edit, request, context.now_s)?;
    let network = network::write_networks(&mut edit, &request.networks, &context.nics)?;
    if let Some(zone) = &request.time_zone {
        clock::set_zone(&mut edit, zone)?;
    }
    let filesystem_uuid =
        ids::renew_filesystem_uuid(&mut edit, secrets.filesystem_uuid, &context.elsewhere)?;
    if context.grow_root {
        grow::grow_root(&mut edit)?;
    }
    if cloud_init {
        seed::hold_back(&mut edit, context)?;
    }
    relabel_for_selinux(&mut edit)?;
    write_provenance(&mut edit, request, context)?;
    if let Some(script) = &request.first_boot_script {
        files::write_script(&mut edit, script)?;
    }
    files::write_files(&mut edit, request)?;
    let seed = if cloud_init {
        Some(seed::image(request, context)?)
    } else {
        None
    };
    let (written, notes) = edit.into_parts();
    let machine_id = secrets.machine_id;
    Ok(Report {
        machine_id,
        host_keys,
        filesystem_uuid,
        network,
        seed,
        written,
        notes,
    })
}

/// Where a guest says where it came from, for whoever finds it without a catalog.
pub const PROVENANCE_PATH: &str = "/var/lib/stampo/clone.json";

fn write_provenance(
    edit: &mut Editor<'_>,
    request: &Personalisation,
    context: &Context,
) -> Result<(), PersonaliseError> {
    let provenance = serde_json::json!({
        "guest": context.guest.to_string(),
        "hostname": request.hostname,
        "version": context.version,
        "image": context.image.as_str(),
        "personalised_at_unix_s": context.now_s,
    });
    edit.put(
        PROVENANCE_PATH,
        format!("{provenance}\n"),
        Owner::root(0o644),
    )?;
    Ok(())
}

/// Files that are written offline have no SELinux label, and an enforcing guest would not let its
/// services read them.
fn relabel_for_selinux(edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
    let config = edit.text("/etc/selinux/config")?.unwrap_or_default();
    let mode = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("SELINUX="));
    if mode.is_some_and(|mode| matches!(mode.trim(), "enforcing" | "permissive")) {
        edit.put("/.autorelabel", b"", Owner::root(0o644))?;
        edit.note(
            "SELinux is on in the guest: it relabels its files and restarts once at the first boot",
        );
    }
    Ok(())
}

/// Has an existing guest grow its root filesystem to its partition at its next boot.
pub fn grow_root_at_boot(fs: &mut dyn GuestFs) -> Result<(), PersonaliseError> {
    grow::check_grow(&*fs)?;
    grow::grow_root(&mut Editor::new(fs))
}
