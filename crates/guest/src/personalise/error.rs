//! Why a guest can't be personalised.
//!
//! Apart because every file of this module speaks of it. Nothing in an error is a secret.

use crate::fs::FsError;
use stampo_core::personalisation::PersonalisationError;

/// Why a guest can't be personalised. Its disk is then a throw-away overlay: drop it.
#[derive(Debug, thiserror::Error)]
pub enum PersonaliseError {
    /// A field of the request is wrong in itself.
    #[error(transparent)]
    Request(#[from] PersonalisationError),
    /// The guest's filesystem could not be read or written.
    #[error(transparent)]
    Guest(#[from] FsError),
    /// A file that is edited line by line is not text.
    #[error("edit {path} in the guest: it is not UTF-8 text")]
    NotText {
        /// The path in the guest.
        path: String,
    },
    /// The guest's zoneinfo has no such zone.
    #[error(
        "set the time zone {zone:?}: the guest has no {path} (is its tzdata package installed?)"
    )]
    UnknownZone {
        /// What was asked for.
        zone: String,
        /// Where it would be.
        path: String,
    },
    /// A file's owner or group is not in the guest.
    #[error("give {path} to the {kind} {name:?}: the guest has none of that name")]
    UnknownOwner {
        /// The file that was asked for.
        path: String,
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A user's group is not in the guest.
    #[error("put the user {user} into the group {group:?}: the guest has none of that name")]
    UnknownGroup {
        /// The user.
        user: String,
        /// The group that was asked for.
        group: String,
    },
    /// The login shell is not in the guest.
    #[error("give the user {user} the shell {shell}: the guest has no such file")]
    UnknownShell {
        /// The user.
        user: String,
        /// The shell.
        shell: String,
    },
    /// Another user has the id, or the user has another id already.
    #[error("give the user {user} the id {uid}: {why}")]
    UserId {
        /// The user.
        user: String,
        /// The id that was asked for.
        uid: u32,
        /// Who is in the way.
        why: String,
    },
    /// Every id between the guest's UID_MIN and UID_MAX is taken.
    #[error("find a free user or group id for {user} in the guest's range {first}-{last}")]
    NoFreeId {
        /// The user.
        user: String,
        /// UID_MIN or GID_MIN of the guest's login.defs.
        first: u32,
        /// UID_MAX or GID_MAX of the guest's login.defs.
        last: u32,
    },
    /// Sudo rights were asked for and the guest has no sudo.
    #[error("give the user {user} sudo rights: the template has no sudo; add the package to it")]
    NoSudo {
        /// The user.
        user: String,
    },
    /// The guest has no account database that we know.
    #[error("change users: the guest has no /etc/{file}")]
    NoAccounts {
        /// The file that is missing.
        file: &'static str,
    },
    /// More addresses than interfaces.
    #[error("set {wanted} networks: the guest has {nics} network interfaces")]
    TooManyNetworks {
        /// Networks in the request.
        wanted: usize,
        /// Interfaces of the guest.
        nics: usize,
    },
    /// A static address, and nothing in the guest that could set it.
    #[error(
        "set a static address: the guest has none of netplan, NetworkManager, systemd-networkd and ifupdown"
    )]
    NoNetworkSystem,
    /// The gateway is of the other family than the address.
    #[error("use {gateway} as the gateway of {address}: one is IPv4 and the other IPv6")]
    GatewayFamily {
        /// The gateway.
        gateway: String,
        /// The address.
        address: String,
    },
    /// A unit is needed and the guest does not run systemd.
    #[error("{what}: the guest does not have systemd")]
    NoSystemd {
        /// What the unit would have done, as a verb: "run a first-boot script".
        what: &'static str,
    },
    /// User-data, and nobody to read it.
    #[error(
        "pass user-data to the guest: the template has no cloud-init; add the package to it, or use the other settings"
    )]
    NoCloudInit,
    /// User-data of a kind that cloud-init would ignore.
    #[error(
        "read the user-data: its first line must tell its kind, as in '#cloud-config' or '#!/bin/sh'"
    )]
    UserDataKind,
    /// A MIME user-data without a usable boundary.
    #[error("read the user-data as MIME: {why}")]
    UserDataMime {
        /// What is missing.
        why: &'static str,
    },
    /// A host key could not be made.
    #[error("make an ssh host key")]
    HostKey(#[source] ssh_key::Error),
    /// The seed could not be written.
    #[error("write the cloud-init seed")]
    Seed(#[source] hadris_iso::write::Error),
}
