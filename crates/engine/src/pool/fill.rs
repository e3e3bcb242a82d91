//! Filling and draining pools: one look at a pool, and what follows from it.

use super::{Crew, FILL, is_idle, is_member_of};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::remove::subject;
use crate::sidecar::OUTDATED;
use crate::version::Bare;
use crate::work::{Unwatched, Work};
use stampo_core::guest::GuestState;
use stampo_core::ids::{GuestId, OperationId};
use stampo_core::names::NamePattern;
use stampo_core::plan::PlanRefusal;
use stampo_core::pool::{Drained, Membership, Pool, tend};
use stampo_store::{GuestRow, PoolRow};

/// How many members are made with one operation: whoever ends it early loses little.
const AT_ONCE: u32 = 4;

/// What one look at a pool did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tended {
    /// Members that were made.
    pub made: usize,
    /// Members that went.
    pub drained: usize,
    /// How many are missing still.
    pub missing: u32,
}

impl Engine {
    /// Looks at a pool once: drains what is of no use, and makes a few of what is missing.
    pub(crate) fn tend_pool(&self, pool: &Pool) -> Result<Tended, EngineError> {
        let crew = self.crew(pool)?;
        let tending = tend(pool, crew.current, &crew.members);
        let mut tended = Tended {
            drained: self.drain(&crew, &tending.drain)?,
            missing: tending.make,
            ..Tended::default()
        };
        if tending.make > 0 {
            let result = match self.fill(pool, tending.make.min(AT_ONCE)) {
                // The pool was removed meanwhile: see `remove_pool`.
                Err(EngineError::Cancelled) => Ok(0),
                other => other,
            };
            self.remember_failure(pool, result.as_ref().err())?;
            tended.made = result?;
            tended.missing = tending.make.saturating_sub(AT_ONCE);
        }
        Ok(tended)
    }

    /// Keeps in the pool why no member could be made, for whoever looks at it.
    fn remember_failure(
        &self,
        pool: &Pool,
        failure: Option<&EngineError>,
    ) -> Result<(), EngineError> {
        let error = failure.map(told);
        let known = self.store.read(|tx| tx.pool(&pool.name))?;
        if known.is_none_or(|row| row.error == error) {
            return Ok(());
        }
        self.store.write(|tx| {
            let Some(mut row) = tx.pool(&pool.name)? else {
                return Ok(());
            };
            row.error.clone_from(&error);
            tx.update_pool(&row)
        })?;
        Ok(())
    }

    /// Makes this many members.
    fn fill(&self, pool: &Pool, count: u32) -> Result<usize, EngineError> {
        let operation = self.submit_fill(pool, count)?;
        self.faults.reach("fill.submitted");
        let made = self.run_clone(&Work::new(self, operation, &Unwatched))?;
        Ok(made.len())
    }

    /// Plans and records members. Nothing but rows exists when this returns.
    fn submit_fill(&self, pool: &Pool, count: u32) -> Result<OperationId, EngineError> {
        let ground = self.ground(&pool.spec)?;
        self.store.write_durably(|tx| {
            let found = tx.pool(&pool.name)?;
            // Changed or removed since it was looked at: the next look knows more.
            let mut row = found
                .filter(|row| row.pool == *pool)
                .ok_or_else(|| changed(pool))?;
            let version = self.find_version(tx, &pool.from, Bare::Clonable)?;
            let subject = format!("{count} members of pool {}", pool.name);
            let operation = self.new_operation(FILL, &subject, serde_json::Value::Null);
            tx.insert_operation(&operation)?;
            for _ in 0..count {
                let plan = loop {
                    let name = next_name(&mut row);
                    match self.plan_in(tx, &version, &name, &pool.spec, &ground) {
                        // Somebody has called a guest so.
                        Err(EngineError::Plan(PlanRefusal::NameTaken(_))) => {}
                        other => break other?,
                    }
                };
                for guest in &plan.guests {
                    let mut guest = self.guest_row_of(&plan, guest, operation.id);
                    guest.plan.member = Some(Membership {
                        pool: pool.name.clone(),
                        generation: pool.generation,
                        depth: pool.depth,
                        taken: false,
                    });
                    tx.insert_guest(&guest)?;
                }
            }
            tx.update_pool(&row)?;
            self.audit(tx, FILL, pool.name.as_str(), &subject)?;
            Ok(operation.id)
        })
    }

    /// Takes members away that nobody has taken meanwhile. How many went.
    fn drain(&self, crew: &Crew, going: &[(GuestId, Drained)]) -> Result<usize, EngineError> {
        let rows = going
            .iter()
            .filter_map(|(id, why)| Some((crew.row(*id)?, why.to_string())));
        self.drain_rows(rows.collect())
    }

    /// Takes away what is of no use in any pool, and makes nothing: that may take long, and nobody
    /// should find a member of a withdrawn version meanwhile. How many went.
    pub fn drain_pools(&self) -> Result<usize, EngineError> {
        let mut drained = self.drain_orphans()?;
        for row in self.store.read(|tx| tx.pools())? {
            let crew = self.crew(&row.pool)?;
            let tending = tend(&row.pool, crew.current, &crew.members);
            drained += self.drain(&crew, &tending.drain)?;
        }
        Ok(drained)
    }

    /// Takes away members of pools that are no more.
    pub(crate) fn drain_orphans(&self) -> Result<usize, EngineError> {
        let (rows, pools) = self
            .store
            .read(|tx| Ok::<_, EngineError>((tx.pooled_guests()?, tx.pools()?)))?;
        let has_pool = |row: &GuestRow| {
            let mut names = pools.iter().map(|pool| &pool.pool.name);
            names.any(|name| is_member_of(row, name))
        };
        let orphans = rows
            .iter()
            .filter(|row| row.operation.is_none() && !has_pool(row));
        self.drain_rows(
            orphans
                .map(|row| (row, "its pool is gone".to_owned()))
                .collect(),
        )
    }

    fn drain_rows(&self, going: Vec<(&GuestRow, String)>) -> Result<usize, EngineError> {
        if going.is_empty() {
            return Ok(0);
        }
        let names: Vec<_> = going.iter().map(|(row, _)| &row.name).collect();
        let operation = self.new_operation("remove", &subject(&names), serde_json::Value::Null);
        let rows = self.store.write_durably(|tx| {
            let mut rows = Vec::new();
            for (row, why) in &going {
                let Some(mut row) = tx.guest(row.id)?.filter(is_idle) else {
                    continue;
                };
                if self.is_outdated(tx, &row)? {
                    // The catalog is an older one, and this may be somebody's by now.
                    tracing::warn!(guest = %row.name, "{OUTDATED}");
                    continue;
                }
                if rows.is_empty() {
                    tx.insert_operation(&operation)?;
                }
                row.state = GuestState::Destroying;
                self.hold(tx, operation.id, &mut row, ("drain", why))?;
                rows.push(row);
            }
            Ok::<_, EngineError>(rows)
        })?;
        if rows.is_empty() {
            return Ok(0);
        }
        self.faults.reach("drain.claimed");
        self.settle_claimed(operation.id, &rows)?;
        Ok(rows.len())
    }
}

/// The name of the pool's next member; no number is given twice.
fn next_name(row: &mut PoolRow) -> NamePattern {
    let name = NamePattern::new(format!("{}-{}", row.pool.name, row.next_member));
    row.next_member = row.next_member.wrapping_add(1).max(1);
    name
}

/// A failure with the command that mends it, where one does.
fn told(error: &EngineError) -> String {
    match error {
        EngineError::Plan(
            PlanRefusal::NotFrozen(label) | PlanRefusal::MemoryUnfit { label, .. },
        ) => {
            format!("{}; stampo template freeze {label}", error.chain())
        }
        _ => error.chain(),
    }
}

fn changed(pool: &Pool) -> EngineError {
    EngineError::Conflict {
        act: format!("fill pool {}", pool.name),
        why: "it was changed meanwhile".to_owned(),
    }
}
