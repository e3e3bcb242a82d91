//! Channels.

use crate::Reply;
use serde::{Deserialize, Serialize};
use stampo_core::names::VersionRef;

/// What a client can ask about channels.
pub trait ChannelApi {
    /// Points a channel, `web:stable`, to a version of its template that may be cloned.
    fn set_channel(&self, channel: &VersionRef, version: &VersionRef) -> Reply<Channel>;
    /// Every channel.
    fn channels(&self) -> Reply<Vec<Channel>>;
    /// Forgets a channel.
    fn remove_channel(&self, channel: &VersionRef) -> Reply<()>;
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// `web:stable`.
    pub name: String,
    /// The version that it points to, `name@N`.
    pub version: String,
    /// The state of that version.
    pub state: String,
    /// When it was moved there, in milliseconds since 1970.
    pub moved_ms: i64,
}
