//! What is decided about versions: who may use them, until when, and why not.

use crate::{Reply, Version};
use serde::{Deserialize, Serialize};
use stampo_core::lifecycle::Cve;
use stampo_core::names::VersionRef;
use std::fmt;

/// What a client can decide about versions.
pub trait GovernApi {
    /// Offers a sealed version for cloning.
    fn publish(&self, version: &VersionRef) -> Reply<Governed>;
    /// Says that another version should be used; it can still be cloned, with a warning.
    fn deprecate(&self, request: WithdrawRequest) -> Reply<Governed>;
    /// Ends new clones of a version.
    fn obsolete(&self, request: WithdrawRequest) -> Reply<Governed>;
    /// Offers a deprecated or obsolete version again, with a reason.
    fn reinstate(&self, version: &VersionRef, reason: &str) -> Reply<Governed>;
    /// Withdraws a version for a reason that concerns its clones too. Nothing leads back.
    fn revoke(&self, request: RevokeRequest) -> Reply<Governed>;
    /// Withdraws a version; it can be restored until it is collected.
    fn retire(&self, version: &VersionRef) -> Reply<Governed>;
    /// Undoes a retirement: the version is sealed again.
    fn restore_version(&self, version: &VersionRef) -> Reply<Governed>;
    /// Frees a version's bytes. Refused while linked clones read them or it is on hold.
    fn purge(&self, version: &VersionRef) -> Reply<Governed>;
    /// Keeps a version's bytes, with a reason.
    fn hold(&self, version: &VersionRef, reason: &str) -> Reply<Version>;
    /// Takes a hold away.
    fn release(&self, version: &VersionRef) -> Reply<Version>;
    /// When what a version holds is not maintained any more, in milliseconds since 1970.
    fn set_end_of_life(&self, version: &VersionRef, date_ms: Option<i64>) -> Reply<Version>;
}

/// Deprecate a version, or make it obsolete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawRequest {
    /// The version.
    pub version: VersionRef,
    /// Why.
    pub reason: Option<String>,
    /// What to use instead.
    pub replacement: Option<VersionRef>,
    /// When it becomes obsolete, in milliseconds since 1970.
    pub obsolete_ms: Option<i64>,
    /// When it is retired.
    pub retire_ms: Option<i64>,
}

/// Revoke a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// The version.
    pub version: VersionRef,
    /// Why.
    pub reason: String,
    /// The vulnerabilities that it is for.
    pub cves: Vec<Cve>,
    /// What to use instead.
    pub replacement: Option<VersionRef>,
    /// Whether what was built from it is revoked too.
    pub cascade: bool,
}

/// A change and what it brought with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Governed {
    /// The version as it is now.
    pub version: Version,
    /// Versions that were revoked with it.
    pub descendants: Vec<Version>,
    /// Channels that were moved back.
    pub channels: Vec<MovedChannel>,
}

/// A channel that was moved back because its version can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedChannel {
    /// The channel, `web:stable`.
    pub channel: String,
    /// Where it pointed, `name@N`.
    pub from: String,
    /// Where it points now; `None`: there was no good version before.
    pub to: Option<String>,
}

impl fmt::Display for MovedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MovedChannel { channel, from, to } = self;
        match to {
            Some(to) => write!(
                f,
                "{channel} points to {to} again, and not to {from} any more"
            ),
            None => write!(
                f,
                "{channel} points to no version any more: {from} can't be used, and it pointed to no good \
                 one before; set it: stampo template channel set {channel} NAME@N"
            ),
        }
    }
}
