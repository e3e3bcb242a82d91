//! Taking a member: from *pooled* to somebody's guest, proven to be a machine of its own.
//!
//! ```text
//! chosen and claimed (one commit, with the lease) ─→ woken, or identified and connected ─→ ready
//! ```
//! A member that can't be taken is destroyed, and the next is tried. A process that dies between
//! leaves nothing: recovery destroys what it held, since nobody was told its name.

use super::{Crew, TAKE, is_idle};
use crate::clone::Leg;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Unwatched, Work};
use stampo_core::guest::GuestState;
use stampo_core::ids::{OperationId, VersionId};
use stampo_core::lease::{Ending, Lease, Span};
use stampo_core::names::{PoolName, VersionRef};
use stampo_core::pool::{Depth, choose};
use stampo_store::{GuestRow, LeaseRow, OperationState, PoolRow};
use std::cmp::Reverse;
use std::time::Instant;

/// The lease that a guest is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// How long it has.
    pub span: Span,
    /// What becomes of it then.
    pub ending: Ending,
    /// It also ends when this process does.
    pub tied: bool,
}

/// A member that is somebody's now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The guest.
    pub guest: GuestRow,
    /// The pool.
    pub pool: PoolName,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Engine {
    /// Takes a member of a pool. `None` when none is ready.
    pub fn take(
        &self,
        name: &PoolName,
        agreed: Option<Agreed>,
    ) -> Result<Option<Taken>, EngineError> {
        let pool = self.pool_row(name)?;
        self.take_from(&pool, None, agreed)
    }

    /// Takes a member of any pool whose members are clones of what this means. `None` when no such
    /// pool has one ready.
    pub fn take_of(
        &self,
        version: &VersionRef,
        agreed: Option<Agreed>,
    ) -> Result<Option<Taken>, EngineError> {
        let (wanted, pools) = self.store.read(|tx| {
            let wanted = self
                .find_version(tx, version, crate::version::Bare::Clonable)?
                .id;
            let mut pools = Vec::new();
            for row in tx.pools()? {
                if self.current_version(tx, &row.pool)? == Some(wanted) {
                    pools.push(row);
                }
            }
            // The fastest to take first.
            pools.sort_by_key(|row| Reverse(row.pool.depth));
            Ok::<_, EngineError>((wanted, pools))
        })?;
        for pool in pools {
            if let Some(taken) = self.take_from(&pool, Some(wanted), agreed)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Takes a member of this pool; of this version only, where one is given: a pool has members of
    /// the version before, too, for a while.
    fn take_from(
        &self,
        pool: &PoolRow,
        version: Option<VersionId>,
        agreed: Option<Agreed>,
    ) -> Result<Option<Taken>, EngineError> {
        let begun = Instant::now();
        let crew = self.crew(&pool.pool)?;
        let mut tried = Vec::new();
        loop {
            let left: Vec<_> = crew
                .members
                .iter()
                .filter(|member| !tried.contains(&member.id))
                .filter(|member| version.is_none_or(|version| version == member.version))
                .cloned()
                .collect();
            let Some(chosen) = choose(&pool.pool, crew.current, &left) else {
                return Ok(None);
            };
            tried.push(chosen.id);
            let Some((operation, row)) = self.claim_member(&crew, chosen.id, agreed)? else {
                continue;
            };
            if let Some(guest) = self.wake_or_destroy(operation, row)? {
                return Ok(Some(Taken {
                    guest,
                    pool: pool.pool.name.clone(),
                    took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                }));
            }
        }
    }

    /// Claims a member, unless somebody else was faster.
    fn claim_member(
        &self,
        crew: &Crew,
        id: stampo_core::ids::GuestId,
        agreed: Option<Agreed>,
    ) -> Result<Option<(OperationId, GuestRow)>, EngineError> {
        let Some(row) = crew.row(id) else {
            return Ok(None);
        };
        let operation = self.new_operation(TAKE, row.name.as_str(), serde_json::Value::Null);
        let row = self.store.write_durably(|tx| {
            let Some(mut row) = tx.guest(id)?.filter(is_idle) else {
                return Ok(None);
            };
            // Its version may have been withdrawn since, and the row be that of an older catalog, so
            // that it is somebody's by now.
            let version = tx.version(row.version)?;
            if version.is_none_or(|version| !self.is_pooled(&version))
                || self.is_outdated(tx, &row)?
            {
                return Ok(None);
            }
            tx.insert_operation(&operation)?;
            if let Some(member) = &mut row.plan.member {
                member.taken = true;
                if member.depth != Depth::Warm {
                    row.state = GuestState::Defined;
                }
            }
            if let Some(agreed) = agreed {
                tx.put_lease(&self.lease_row(&row, agreed))?;
            }
            self.hold(tx, operation.id, &mut row, (TAKE, ""))?;
            Ok::<_, EngineError>(Some(row))
        })?;
        self.faults.reach("take.claimed");
        Ok(row.map(|row| (operation.id, row)))
    }

    /// A guest's lease from now on.
    pub(crate) fn lease_row(&self, row: &GuestRow, agreed: Agreed) -> LeaseRow {
        LeaseRow {
            lease: Lease {
                guest: row.id,
                until_ms: self.now_ms().saturating_add(agreed.span.ms()),
                span: agreed.span,
                warned: false,
                ending: agreed.ending,
            },
            tied_to: agreed.tied.then(|| self.owner()),
        }
    }

    /// Takes a claimed member to *ready*; `None` when it could not be, and is gone.
    fn wake_or_destroy(
        &self,
        operation: OperationId,
        row: GuestRow,
    ) -> Result<Option<GuestRow>, EngineError> {
        let work = Work::new(self, operation, &Unwatched);
        let id = row.id;
        let Err(error) = self.make_or_destroy(&work, row, Leg::Whole) else {
            work.end(OperationState::Done, None, |_| Ok(()))?;
            return self.store.read(|tx| Ok(tx.guest(id)?));
        };
        tracing::warn!(error = %error.chain(), "a member of a pool could not be taken");
        if self.store.read(|tx| tx.has_guest(id))? {
            // Nobody else would look for what could not be destroyed.
            work.release(&error);
            return Err(error);
        }
        work.end(OperationState::Failed, Some(&error.chain()), |_| Ok(()))?;
        Ok(None)
    }

    /// Recovery of a taking: nobody was told the guest's name, so it goes.
    pub(crate) fn recover_take(&self, work: &Work<'_>) -> Result<(), EngineError> {
        let rows = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        let (complete, half): (Vec<GuestRow>, Vec<GuestRow>) =
            rows.into_iter().partition(|row| row.state.is_complete());
        self.destroy_all(&half)?;
        let (state, why) = match complete.is_empty() {
            true => (OperationState::Undone, Some("interrupted")),
            false => (OperationState::Done, None),
        };
        work.end(state, why, |_| Ok(()))
    }
}
