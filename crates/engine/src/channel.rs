//! Channels: names such as `web:stable` for one version of a template, which can be moved.
//!
//! A channel points to a version that may be cloned when it is moved there. When that version is
//! withdrawn later the channel stays where it is, and what asks for it is refused with that reason:
//! nobody is given another version unasked. What moves a channel back is not built yet.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::Bare;
use stampo_core::names::{ChannelName, TemplateName, VersionRef, VersionSelect};
use stampo_core::plan::PlanRefusal;
use stampo_store::{ChannelRow, Tx, VersionRow};

impl Engine {
    /// Points a channel to a version of its template.
    pub fn set_channel(
        &self,
        channel: &VersionRef,
        version: &VersionRef,
    ) -> Result<(ChannelRow, VersionRow), EngineError> {
        let name = name_of(channel, "set")?;
        if channel.template != version.template {
            return Err(EngineError::Usage {
                act: format!("set {channel}"),
                why: format!("{version} is of another template"),
            });
        }
        self.store.write_durably(|tx| {
            let row = self.find_version(tx, version, Bare::Clonable)?;
            if !row.state.is_clonable() {
                let (label, state) = (row.label(), row.state);
                return Err(PlanRefusal::NotClonable { label, state }.into());
            }
            let moved = ChannelRow {
                template_id: row.template_id,
                template: row.template.clone(),
                name: name.clone(),
                version: row.id,
                moved_ms: self.now_ms(),
            };
            let before = match tx.channel(row.template_id, name)? {
                Some(before) => tx.version_label(before.version)?.unwrap_or_default(),
                None => "new".to_owned(),
            };
            tx.put_channel(&moved)?;
            let detail = format!("{before} → {}", row.label());
            self.audit(tx, "channel set", &channel.to_string(), &detail)?;
            Ok((moved, row))
        })
    }

    /// Every channel with the version that it points to.
    pub fn channels(&self) -> Result<Vec<(ChannelRow, VersionRow)>, EngineError> {
        self.store.read(|tx| {
            let mut found = Vec::new();
            for row in tx.channels()? {
                if let Some(version) = tx.version(row.version)? {
                    found.push((row, version));
                }
            }
            Ok(found)
        })
    }

    /// Forgets a channel.
    pub fn remove_channel(&self, channel: &VersionRef) -> Result<(), EngineError> {
        let name = name_of(channel, "remove")?;
        let missing = || missing(channel);
        self.store.write_durably(|tx| {
            let template = tx.template(&channel.template)?.ok_or_else(missing)?;
            if !tx.delete_channel(template.id, name)? {
                return Err(missing());
            }
            Ok(self.audit(tx, "channel remove", &channel.to_string(), "")?)
        })
    }

    /// The version that a channel points to.
    pub(crate) fn version_of_channel(
        &self,
        tx: &Tx<'_>,
        template: &TemplateName,
        name: &ChannelName,
    ) -> Result<Option<VersionRow>, EngineError> {
        let Some(template) = tx.template(template)? else {
            return Ok(None);
        };
        match tx.channel(template.id, name)? {
            Some(channel) => Ok(tx.version(channel.version)?),
            None => Ok(None),
        }
    }
}

fn name_of<'a>(channel: &'a VersionRef, act: &str) -> Result<&'a ChannelName, EngineError> {
    match &channel.select {
        VersionSelect::Channel(name) => Ok(name),
        _ => Err(EngineError::Usage {
            act: format!("{act} {channel}"),
            why: "it is no channel; write TEMPLATE:CHANNEL, as in web:stable".to_owned(),
        }),
    }
}

fn missing(channel: &VersionRef) -> EngineError {
    EngineError::NotFound {
        what: "channel",
        name: channel.to_string(),
    }
}
