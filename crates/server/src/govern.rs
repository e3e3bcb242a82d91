//! The API's part about what is decided about versions, over an engine in this process.

use crate::convert;
use crate::local::Local;
use stampo_api::{
    GovernApi, Governed, MovedChannel, Reply, RevokeRequest, Version, WithdrawRequest,
};
use stampo_core::lifecycle::{Statement, Verb};
use stampo_core::names::VersionRef;
use stampo_engine::{Mark, MovedBack};

impl GovernApi for Local {
    fn publish(&self, version: &VersionRef) -> Reply<Governed> {
        self.govern(version, Verb::Publish, None, &Statement::default())
    }

    fn deprecate(&self, request: WithdrawRequest) -> Reply<Governed> {
        self.withdraw(Verb::Deprecate, request)
    }

    fn obsolete(&self, request: WithdrawRequest) -> Reply<Governed> {
        self.withdraw(Verb::Obsolete, request)
    }

    fn reinstate(&self, version: &VersionRef, reason: &str) -> Reply<Governed> {
        let said = Statement {
            reason: Some(reason.to_owned()),
            ..Statement::default()
        };
        self.govern(version, Verb::Reinstate, None, &said)
    }

    fn revoke(&self, request: RevokeRequest) -> Reply<Governed> {
        let said = Statement {
            reason: Some(request.reason),
            cves: request.cves,
            cascade: request.cascade,
            ..Statement::default()
        };
        let replacement = request.replacement.as_ref();
        self.govern(&request.version, Verb::Revoke, replacement, &said)
    }

    fn retire(&self, version: &VersionRef) -> Reply<Governed> {
        self.govern(version, Verb::Retire, None, &Statement::default())
    }

    fn restore_version(&self, version: &VersionRef) -> Reply<Governed> {
        self.govern(version, Verb::Restore, None, &Statement::default())
    }

    fn purge(&self, version: &VersionRef) -> Reply<Governed> {
        self.govern(version, Verb::Purge, None, &Statement::default())
    }

    fn hold(&self, version: &VersionRef, reason: &str) -> Reply<Version> {
        self.mark(version, "hold", &Mark::Hold(reason.to_owned()))
    }

    fn release(&self, version: &VersionRef) -> Reply<Version> {
        self.mark(version, "release", &Mark::Release)
    }

    fn set_end_of_life(&self, version: &VersionRef, date_ms: Option<i64>) -> Reply<Version> {
        self.mark(version, "end-of-life", &Mark::EndOfLife(date_ms))
    }
}

impl Local {
    fn withdraw(&self, verb: Verb, request: WithdrawRequest) -> Reply<Governed> {
        let said = Statement {
            reason: request.reason,
            obsolete_ms: request.obsolete_ms,
            retire_ms: request.retire_ms,
            ..Statement::default()
        };
        self.govern(&request.version, verb, request.replacement.as_ref(), &said)
    }

    /// A change with its replacement resolved to a version: a channel may be moved later.
    fn govern(
        &self,
        version: &VersionRef,
        verb: Verb,
        replacement: Option<&VersionRef>,
        said: &Statement,
    ) -> Reply<Governed> {
        let resource = version.to_string();
        let refuse = self.refuse(verb.as_str(), &resource);
        let replacement = replacement
            .map(|of| self.engine.replacement(of))
            .transpose()
            .map_err(&refuse)?;
        let said = Statement {
            replacement,
            ..said.clone()
        };
        let done = self.engine.govern(version, verb, &said).map_err(&refuse)?;
        let wire = |row| convert::version(&self.engine, row);
        Ok(Governed {
            version: wire(&done.version)?,
            descendants: done.descendants.iter().map(wire).collect::<Reply<_>>()?,
            channels: done.channels.into_iter().map(moved).collect(),
        })
    }

    fn mark(&self, version: &VersionRef, action: &str, mark: &Mark) -> Reply<Version> {
        let resource = version.to_string();
        let row = self
            .engine
            .mark(version, mark)
            .map_err(self.refuse(action, &resource))?;
        convert::version(&self.engine, &row)
    }
}

/// What clients are told of a channel that was moved back.
pub(crate) fn moved(channel: MovedBack) -> MovedChannel {
    MovedChannel {
        channel: channel.channel,
        from: channel.from,
        to: channel.to,
    }
}
