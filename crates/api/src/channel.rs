//! Channels.

use crate::Reply;
use serde::{Deserialize, Serialize};
use stampo_core::names::VersionRef;

/// What a client can ask about channels.
pub trait ChannelApi {
    /// Points a channel, `web:stable`, to a version of its template that may be cloned.
    fn set_channel(
        &self,
        channel: &VersionRef,
        version: &VersionRef,
        reason: Option<&str>,
    ) -> Reply<Channel>;
    /// Points a channel to the last good version before the present one.
    fn roll_back_channel(&self, channel: &VersionRef, reason: Option<&str>) -> Reply<Channel>;
    /// Every move of a channel, the oldest first.
    fn channel_history(&self, channel: &VersionRef) -> Reply<Vec<ChannelMove>>;
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

/// A move of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMove {
    /// Its place in the history, from 1.
    pub sequence: u32,
    /// `set`, `rollback`, `withdrawn` or `removed`.
    pub kind: String,
    /// The version that the channel pointed to before, `name@N`.
    pub from: Option<String>,
    /// The version that it points to since.
    pub to: Option<String>,
    /// Who.
    pub actor: String,
    /// What was said, or what happened.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}
