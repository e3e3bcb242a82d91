//! Channels: names such as `web:stable` for one version of a template, which can be moved.
//!
//! A channel points to a version that may be cloned, or to none. When its version is withdrawn it
//! is moved back, in the same transaction, to the last good version that it pointed to before;
//! where there is none it points to nothing, and what asks for it is told why. Every move is in its
//! history, which lies in the catalog and in the sidecars of the versions that it is about.
//! `latest` is no channel of these: it is asked anew each time, see [`Engine::latest`].

use crate::engine::Engine;
use crate::error::EngineError;
use crate::govern::MovedBack;
use crate::version::Bare;
use crate::work::{Unwatched, Work};
use stampo_core::channel::{LATEST, MoveKind, last_good, stack};
use stampo_core::ids::{OperationId, TemplateId};
use stampo_core::lifecycle::{State, check_reason, standing_state};
use stampo_core::names::{ChannelName, VersionRef, VersionSelect};
use stampo_core::plan::PlanRefusal;
use stampo_store::{ChannelMoveRow, ChannelRow, TemplateRow, Tx, VersionRow};
use std::collections::HashSet;

/// What a channel is moved as part of.
struct Moving<'a> {
    operation: OperationId,
    actor: &'a str,
    kind: MoveKind,
    reason: &'a str,
}

impl Engine {
    /// Points a channel to a published version of its template.
    pub fn set_channel(
        &self,
        channel: &VersionRef,
        version: &VersionRef,
        reason: Option<&str>,
    ) -> Result<(ChannelRow, VersionRow), EngineError> {
        let name = name_of(channel, "set")?;
        let reason = reason_of(channel, reason)?;
        if channel.template != version.template {
            return Err(EngineError::Usage {
                act: format!("set {channel}"),
                why: format!("{version} is of another template"),
            });
        }
        self.move_by_hand("channel set", channel, |tx, operation| {
            let to = self.find_version(tx, version, Bare::Clonable)?;
            self.refuse_in_channel(&to)?;
            let before = tx.channel(to.template_id, name)?;
            if before.as_ref().is_some_and(|row| row.version == to.id) {
                return Ok(to);
            }
            self.refuse_if_busy(tx, &to)?;
            let from = self.pointed(tx, before.as_ref())?;
            let moving = Moving {
                operation,
                actor: &self.settings.actor,
                kind: MoveKind::Set,
                reason,
            };
            self.move_channel(tx, name, &moving, from.as_ref(), Some(&to))?;
            Ok(to)
        })
    }

    /// Takes the last setting of a channel back: it points to the last good version before.
    pub fn roll_back_channel(
        &self,
        channel: &VersionRef,
        reason: Option<&str>,
    ) -> Result<(ChannelRow, VersionRow), EngineError> {
        let name = name_of(channel, "roll back")?;
        let reason = reason_of(channel, reason)?;
        self.move_by_hand("channel rollback", channel, |tx, operation| {
            let template = tx.template(&channel.template)?;
            let template = template.ok_or_else(|| missing(channel))?;
            let before = tx.channel(template.id, name)?;
            let from = self.pointed(tx, before.as_ref())?;
            let from = from.ok_or_else(|| missing(channel))?;
            let to = self.good_before(tx, template.id, name)?;
            let to = to.ok_or_else(|| EngineError::Conflict {
                act: format!("roll back {channel}"),
                why: format!("it pointed to no usable version before {}", from.label()),
            })?;
            self.refuse_if_busy(tx, &to)?;
            let moving = Moving {
                operation,
                actor: &self.settings.actor,
                kind: MoveKind::Rollback,
                reason,
            };
            self.move_channel(tx, name, &moving, Some(&from), Some(&to))?;
            Ok(to)
        })
    }

    /// Forgets a channel. Its history stays.
    pub fn remove_channel(&self, channel: &VersionRef) -> Result<(), EngineError> {
        let name = name_of(channel, "remove")?;
        let operation = self.new_operation(
            "channel remove",
            &channel.to_string(),
            serde_json::Value::Null,
        );
        self.store.write_durably(|tx| {
            let template = tx.template(&channel.template)?;
            let template = template.ok_or_else(|| missing(channel))?;
            let last = tx.channel_moves(template.id, name)?.pop();
            let before = tx.channel(template.id, name)?;
            let is_emptied = last.is_some_and(|last| last.kind == MoveKind::Withdrawn);
            if before.is_none() && !is_emptied {
                return Err(missing(channel));
            }
            tx.insert_operation(&operation)?;
            let from = self.pointed(tx, before.as_ref())?;
            let moving = Moving {
                operation: operation.id,
                actor: &self.settings.actor,
                kind: MoveKind::Removed,
                reason: "",
            };
            self.record_move(tx, &template, name, &moving, (from.as_ref(), None))
        })?;
        self.faults.reach("channel.committed");
        self.finish_change(&Work::new(self, operation.id, &Unwatched))
    }

    /// Every channel that points to a version, with that version.
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

    /// The moves of a channel, the oldest first.
    pub fn channel_history(
        &self,
        channel: &VersionRef,
    ) -> Result<Vec<ChannelMoveRow>, EngineError> {
        let name = name_of(channel, "show the history of")?;
        self.store.read(|tx| {
            let template = tx.template(&channel.template)?;
            let template = template.ok_or_else(|| missing(channel))?;
            let moves = tx.channel_moves(template.id, name)?;
            match moves.is_empty() && tx.channel(template.id, name)?.is_none() {
                true => Err(missing(channel)),
                false => Ok(moves),
            }
        })
    }

    /// Moves a channel as an operation of its own.
    fn move_by_hand(
        &self,
        kind: &str,
        channel: &VersionRef,
        act: impl FnOnce(&Tx<'_>, OperationId) -> Result<VersionRow, EngineError>,
    ) -> Result<(ChannelRow, VersionRow), EngineError> {
        let name = name_of(channel, "move")?;
        let operation = self.new_operation(kind, &channel.to_string(), serde_json::Value::Null);
        let (row, mut version) = self.store.write_durably(|tx| {
            let to = act(tx, operation.id)?;
            tx.insert_operation(&operation)?;
            let row = tx.channel(to.template_id, name)?;
            let version = tx.version(to.id)?;
            row.zip(version).ok_or_else(|| missing(channel))
        })?;
        self.faults.reach("channel.committed");
        self.finish_change(&Work::new(self, operation.id, &Unwatched))?;
        self.faults.reach("channel.ended");
        version.operation = None;
        Ok((row, version))
    }

    /// Moves the channels that point to a version which can't be used any more.
    pub(crate) fn withdraw_from_channels(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        operation: OperationId,
        actor: &str,
    ) -> Result<Vec<MovedBack>, EngineError> {
        let mut moved = Vec::new();
        if row.state.stays_in_channel() {
            return Ok(moved);
        }
        let reason = format!("{} is {}", row.label(), row.state);
        for channel in tx.channels_to(row.id)? {
            let to = self.good_before(tx, row.template_id, &channel.name)?;
            let moving = Moving {
                operation,
                actor,
                kind: MoveKind::Withdrawn,
                reason: &reason,
            };
            self.move_channel(tx, &channel.name, &moving, Some(row), to.as_ref())?;
            moved.push(MovedBack {
                channel: format!("{}:{}", channel.template, channel.name),
                from: row.label(),
                to: to.map(|to| to.label()),
            });
        }
        Ok(moved)
    }

    /// The last version before the present one that a channel pointed to and that can be used.
    fn good_before(
        &self,
        tx: &Tx<'_>,
        template: TemplateId,
        name: &ChannelName,
    ) -> Result<Option<VersionRow>, EngineError> {
        let rows = tx.channel_moves(template, name)?;
        let moves: Vec<_> = rows.iter().map(ChannelMoveRow::as_move).collect();
        let mut good = HashSet::new();
        for number in stack(&moves) {
            let row = tx.numbered_version(template, number)?;
            if row.is_some_and(|row| self.standing(&row).stays_in_channel()) {
                good.insert(number);
            }
        }
        match last_good(&moves, |number| good.contains(&number)) {
            Some(number) => Ok(tx.numbered_version(template, number)?),
            None => Ok(None),
        }
    }

    /// The state that a version is treated as.
    pub(crate) fn standing(&self, row: &VersionRow) -> State {
        standing_state(row.state, &row.governance, self.now_ms())
    }

    fn move_channel(
        &self,
        tx: &Tx<'_>,
        name: &ChannelName,
        moving: &Moving<'_>,
        from: Option<&VersionRow>,
        to: Option<&VersionRow>,
    ) -> Result<(), EngineError> {
        let Some(of) = to.or(from) else {
            return Ok(());
        };
        let template = TemplateRow {
            id: of.template_id,
            name: of.template.clone(),
            created_ms: 0,
        };
        self.record_move(tx, &template, name, moving, (from, to))
    }

    /// Moves the pointer and adds to the history, also in the sidecars of both versions. One that
    /// another operation works on gets its sidecar when that ends; the other has the move too.
    fn record_move(
        &self,
        tx: &Tx<'_>,
        template: &TemplateRow,
        name: &ChannelName,
        moving: &Moving<'_>,
        (from, to): (Option<&VersionRow>, Option<&VersionRow>),
    ) -> Result<(), EngineError> {
        let now_ms = self.now_ms();
        let last = tx.channel_moves(template.id, name)?.pop();
        tx.add_channel_move(&ChannelMoveRow {
            template_id: template.id,
            channel: name.clone(),
            sequence: last.map_or(0, |last| last.sequence) + 1,
            kind: moving.kind,
            from: from.map(|row| row.number),
            to: to.map(|row| row.number),
            actor: moving.actor.to_owned(),
            reason: moving.reason.to_owned(),
            at_ms: now_ms,
        })?;
        match to {
            Some(to) => tx.put_channel(&ChannelRow {
                template_id: template.id,
                template: template.name.clone(),
                name: name.clone(),
                version: to.id,
                moved_ms: now_ms,
            })?,
            None => drop(tx.delete_channel(template.id, name)?),
        }
        for id in [from, to].into_iter().flatten().map(|row| row.id) {
            let Some(mut row) = tx.version(id)? else {
                continue;
            };
            if row.operation == Some(moving.operation) || self.refuse_if_busy(tx, &row).is_ok() {
                row.operation = Some(moving.operation);
                row.changed_ms = now_ms;
                tx.update_version(&row)?;
            }
        }
        let place = |row: Option<&VersionRow>| row.map_or("none".to_owned(), VersionRow::label);
        let colon = if moving.reason.is_empty() { "" } else { ": " };
        let detail = format!("{} → {}{colon}{}", place(from), place(to), moving.reason);
        let action = match moving.kind {
            MoveKind::Set => "channel set",
            MoveKind::Rollback => "channel rollback",
            MoveKind::Withdrawn => "channel withdrawn",
            MoveKind::Removed => "channel remove",
        };
        let resource = format!("{}:{name}", template.name);
        Ok(self.audit_as(tx, moving.actor, action, &resource, &detail)?)
    }

    /// The version that a channel points to.
    fn pointed(
        &self,
        tx: &Tx<'_>,
        channel: Option<&ChannelRow>,
    ) -> Result<Option<VersionRow>, EngineError> {
        match channel {
            Some(channel) => Ok(tx.version(channel.version)?),
            None => Ok(None),
        }
    }

    /// Refuses to move a channel to a version that is not offered without reserve.
    fn refuse_in_channel(&self, row: &VersionRow) -> Result<(), EngineError> {
        let state = self.standing(row);
        if state == State::Published {
            return Ok(());
        }
        if !state.is_clonable() {
            let (label, advice) = (row.label(), row.governance.advice(state));
            return Err(PlanRefusal::NotClonable {
                label,
                state,
                advice,
            }
            .into());
        }
        Err(EngineError::Conflict {
            act: format!("move a channel to {}", row.label()),
            why: format!("it is {state}; move it to a published version"),
        })
    }

    /// The version that a channel points to; an error that says why when it was emptied.
    pub(crate) fn version_of_channel(
        &self,
        tx: &Tx<'_>,
        template: &TemplateRow,
        name: &ChannelName,
    ) -> Result<Option<VersionRow>, EngineError> {
        if name.as_str() == LATEST {
            return self.latest(tx, template.id);
        }
        if let Some(channel) = tx.channel(template.id, name)? {
            return Ok(tx.version(channel.version)?);
        }
        match tx.channel_moves(template.id, name)?.pop() {
            Some(last) if last.kind == MoveKind::Withdrawn => Err(EngineError::EmptyChannel {
                channel: format!("{}:{name}", template.name),
                why: last.reason,
            }),
            _ => Ok(None),
        }
    }

    /// Points channels as the newest move of each says, where the catalog knows nothing newer.
    pub(crate) fn point_channels(&self, tx: &Tx<'_>) -> Result<(), EngineError> {
        for template in tx.templates()? {
            for last in tx.last_channel_moves(template.id)? {
                let present = tx.channel(template.id, &last.channel)?;
                if present.is_some_and(|present| present.moved_ms >= last.at_ms) {
                    continue;
                }
                let to = match last.to {
                    Some(number) => tx.numbered_version(template.id, number)?,
                    None => None,
                };
                match to {
                    Some(to) => tx.put_channel(&ChannelRow {
                        template_id: template.id,
                        template: template.name.clone(),
                        name: last.channel,
                        version: to.id,
                        moved_ms: last.at_ms,
                    })?,
                    None => drop(tx.delete_channel(template.id, &last.channel)?),
                }
            }
        }
        Ok(())
    }
}

fn name_of<'a>(channel: &'a VersionRef, act: &str) -> Result<&'a ChannelName, EngineError> {
    let why = match &channel.select {
        VersionSelect::Channel(name) if name.as_str() != LATEST => return Ok(name),
        VersionSelect::Channel(_) => {
            "latest moves by itself, to the newest published version whose evidence is complete"
        }
        _ => "it is no channel; write TEMPLATE:CHANNEL, as in web:stable",
    };
    Err(EngineError::Usage {
        act: format!("{act} {channel}"),
        why: why.to_owned(),
    })
}

fn reason_of<'a>(channel: &VersionRef, reason: Option<&'a str>) -> Result<&'a str, EngineError> {
    let checked = reason.map(|reason| check_reason(Some(reason))).transpose();
    let unsaid = |error: stampo_core::lifecycle::StatementError| EngineError::Usage {
        act: format!("move {channel}"),
        why: error.to_string(),
    };
    Ok(checked.map_err(unsaid)?.unwrap_or_default())
}

fn missing(channel: &VersionRef) -> EngineError {
    EngineError::NotFound {
        what: "channel",
        name: channel.to_string(),
    }
}
