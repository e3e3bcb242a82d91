//! The cloud-init seed: a NoCloud ISO with label `cidata`, and what is written into the guest so
//! that cloud-init and the offline personalisation never fight.
//!
//! The rule: whatever a request says is written offline by stampo and cloud-init is told to leave
//! it alone; cloud-init carries out the user's user-data and nothing else. The table is in
//! `owner.rs` and in the guide. Sources: cloud-init 22.4 and its documentation, "NoCloud",
//! "Networking config version 2", "User-data formats", and the modules that are named below.

use super::Context;
use super::edit::Editor;
use super::error::PersonaliseError;
use super::mime::{Part, multipart};
use super::network::{interfaces, version_2};
use crate::fs::{GuestRead, Owner};
use hadris_iso::read::PathSeparator;
use hadris_iso::write::options::{CreationFeatures, IsoFormatOptions};
use hadris_iso::write::{InputEntry, InputMetadata, InputTree, IsoImageWriter};
use stampo_core::personalisation::Personalisation;
use std::io::Cursor;

/// Our part of the user-data. A later part, which is the user's, may override it: that is then the
/// user's decision. Each line names the module that it holds back.
const OUR_PART: &str = "\
#cloud-config
# set_hostname, update_hostname and update_etc_hosts: the name is written already.
preserve_hostname: true
manage_etc_hosts: false
# ssh: the host keys are written and pinned already; types that exist are not made again.
ssh_deletekeys: false
ssh_genkeytypes: [ecdsa, ed25519]
disable_root: false
# growpart and resizefs: the partition is grown already, the filesystem by stampo-growfs.service.
growpart: {mode: 'off'}
resize_rootfs: false
";

/// System configuration, below any user-data: also holds when the seed is not attached.
/// `users: []` stops the distribution's default user (module users_groups); `locale: false` and
/// the apt setting leave the template's as they are. `manual_cache_clean` makes cloud-init keep
/// this instance for good: without it, a guest whose seed is taken away or that gets another
/// drive with a seed would run everything again.
const SYSTEM_CONFIG: &str = "\
# Written by stampo: it owns these settings, and cloud-init runs the user-data.
datasource_list: [NoCloud, None]
manual_cache_clean: true
network: {config: disabled}
users: []
locale: false
apt: {preserve_sources_list: true}
";

const SYSTEM_CONFIG_PATH: &str = "/etc/cloud/cloud.cfg.d/99-stampo.cfg";

/// Whether cloud-init is in the guest and would run.
pub fn has_cloud_init(fs: &dyn GuestRead) -> Result<bool, PersonaliseError> {
    let program = fs.exists("/usr/bin/cloud-init")? && fs.exists("/etc/cloud")?;
    Ok(program && !fs.exists("/etc/cloud/cloud-init.disabled")?)
}

/// User-data needs a cloud-init that reads it, and a first line that tells its kind.
pub(super) fn check_user_data(
    fs: &dyn GuestRead,
    request: &Personalisation,
) -> Result<(), PersonaliseError> {
    let Some(user_data) = &request.user_data else {
        return Ok(());
    };
    if !has_cloud_init(fs)? {
        return Err(PersonaliseError::NoCloudInit);
    }
    Part::of_user(user_data).map(|_| ())
}

/// Writes the system configuration and forgets the instance that the template was.
pub(super) fn hold_back(edit: &mut Editor<'_>, context: &Context) -> Result<(), PersonaliseError> {
    let config = format!("{SYSTEM_CONFIG}{}", without_first_line(OUR_PART));
    edit.put(SYSTEM_CONFIG_PATH, config, Owner::root(0o644))?;
    let instance = edit
        .bytes("/var/lib/cloud/data/instance-id")?
        .unwrap_or_default();
    if instance.trim_ascii() != context.guest.to_string().as_bytes() {
        // Trusting the cache would mean trusting the template's, if it was not sealed.
        for left in ["instance", "instances", "data", "sem"] {
            edit.remove_all(&format!("/var/lib/cloud/{left}"))?;
        }
    }
    Ok(())
}

fn without_first_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

/// The three files of the seed by name.
pub(super) fn files(
    request: &Personalisation,
    context: &Context,
) -> Result<[(&'static str, String); 3], PersonaliseError> {
    // JSON is YAML, and its quotes hold anything.
    let name = stampo_host_name::short(&request.hostname);
    let meta_data = serde_json::json!({
        "instance-id": context.guest.to_string(),
        "local-hostname": name,
    });
    let mut parts = vec![Part::text("text/cloud-config", "10-stampo.cfg", OUR_PART)];
    if let Some(user_data) = &request.user_data {
        parts.push(Part::of_user(user_data)?);
    }
    let network = version_2(&interfaces(&request.networks, &context.nics));
    Ok([
        ("meta-data", format!("{meta_data}\n")),
        ("network-config", network),
        ("user-data", multipart(&parts)),
    ])
}

/// The seed as an ISO 9660 image with Rock Ridge and Joliet. Only root of the guest can read its
/// files, because user-data often holds secrets; the caller keeps the file itself at mode 0600.
pub(super) fn image(
    request: &Personalisation,
    context: &Context,
) -> Result<Vec<u8>, PersonaliseError> {
    let metadata = InputMetadata {
        mode: Some(0o400),
        uid: Some(0),
        gid: Some(0),
        modified: Some(context.now_s),
        accessed: Some(context.now_s),
        ..InputMetadata::default()
    };
    let entry = |(name, text): (&str, String)| {
        InputEntry::file(name, text.into_bytes()).with_metadata(metadata)
    };
    let entries: Vec<InputEntry> = files(request, context)?.into_iter().map(entry).collect();
    let options = IsoFormatOptions {
        volume_name: "cidata".to_owned(),
        system_id: None,
        volume_set_id: None,
        publisher_id: None,
        preparer_id: None,
        application_id: None,
        sector_size: 2048,
        features: with_modes(CreationFeatures::extensions()),
        path_separator: PathSeparator::ForwardSlash,
        strict_charset: false,
    };
    let tree = InputTree::new(PathSeparator::ForwardSlash, entries);
    let written = IsoImageWriter::create(Cursor::new(Vec::new()), tree, options);
    let mut bytes = written.map_err(PersonaliseError::Seed)?.into_inner();
    bytes.resize(bytes.len().next_multiple_of(2048), 0);
    Ok(bytes)
}

/// Rock Ridge with the modes and owners that we give.
fn with_modes(mut features: CreationFeatures) -> CreationFeatures {
    if let Some(rock_ridge) = &mut features.rock_ridge {
        rock_ridge.preserve_permissions = true;
        rock_ridge.preserve_ownership = true;
        rock_ridge.preserve_timestamps = true;
    }
    features
}
