//! Pools: declaring, changing and removing them, and what they have now.
//!
//! ```text
//! pool row ─→ tend (one look): make what is missing, drain what is of no use  ─→ fill.rs
//!        └──→ take: the longest waiting member becomes somebody's              ─→ take.rs
//! ```
//! Which member goes or is taken is decided by `stampo_core::pool`. Nothing here runs by itself:
//! `tend.rs` is called in turn by whoever keeps a process for that.

mod fill;
mod take;

pub use take::{Agreed, Taken};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::Bare;
use stampo_core::ids::{GuestId, VersionId};
use stampo_core::instant::Instant;
use stampo_core::lifecycle::meaning;
use stampo_core::names::{NamePattern, PoolName, VersionRef};
use stampo_core::plan::CloneSpec;
use stampo_core::pool::{Depth, Drained, MAX_WARM, Member, Pool};
use stampo_driver::Power;
use stampo_store::{GuestRow, PoolRow, Tx, VersionRow};
use std::collections::HashSet;

/// The kind of operation that makes members.
pub(crate) const FILL: &str = "fill";
/// The kind of operation that gives one to somebody.
pub(crate) const TAKE: &str = "take";

/// A member's name is the pool's, a hyphen and a number of at most ten digits.
const LONGEST_NAME: usize = 63 - 11;

/// What changes of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolChange {
    /// What its members are clones of.
    pub from: Option<VersionRef>,
    /// How many are kept ready.
    pub warm: Option<u32>,
    /// How far each is brought.
    pub depth: Option<Depth>,
}

/// A pool and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// The pool.
    pub row: PoolRow,
    /// The version that its reference means now, `name@N`; `None` when there is none to clone.
    pub version: Option<String>,
    /// The members that can be taken, the longest waiting first.
    pub ready: Vec<GuestRow>,
    /// How many are being made.
    pub coming: usize,
    /// The members that will go, and why.
    pub going: Vec<(GuestRow, Drained)>,
}

/// A pool's members with what is asked of each.
pub(crate) struct Crew {
    pub rows: Vec<GuestRow>,
    pub members: Vec<Member>,
    /// What the pool's reference means.
    pub current: Option<VersionId>,
}

impl Crew {
    pub fn row(&self, id: GuestId) -> Option<&GuestRow> {
        self.rows.iter().find(|row| row.id == id)
    }
}

impl Engine {
    /// Declares a pool. Its version has to be frozen: members go on from a memory image.
    pub fn create_pool(&self, pool: &Pool) -> Result<PoolRow, EngineError> {
        check_name(&pool.name)?;
        check_warm(pool.warm)?;
        let pool = Pool {
            spec: as_members_are(&pool.spec),
            generation: 1,
            ..pool.clone()
        };
        self.refuse_unmakable(&pool, pool.warm)?;
        // Of one that was called so before, whose removal was interrupted.
        self.drain_orphans()?;
        let now_ms = self.now_ms();
        let row = PoolRow {
            pool,
            next_member: 1,
            error: None,
            created_ms: now_ms,
            changed_ms: now_ms,
        };
        self.store.write_durably(|tx| {
            if tx.pool(&row.pool.name)?.is_some() {
                return Err(EngineError::Conflict {
                    act: format!("create pool {}", row.pool.name),
                    why: format!("there is one; change it: stampo pool set {}", row.pool.name),
                });
            }
            tx.insert_pool(&row)?;
            let detail = format!("{} {} of {}", row.pool.warm, row.pool.depth, row.pool.from);
            Ok(self.audit(tx, "pool create", row.pool.name.as_str(), &detail)?)
        })?;
        Ok(row)
    }

    /// Changes a pool. Members of before stay until as many of after are ready.
    pub fn change_pool(
        &self,
        name: &PoolName,
        change: &PoolChange,
    ) -> Result<PoolRow, EngineError> {
        if let Some(warm) = change.warm {
            check_warm(warm)?;
        }
        let mut wanted = self.pool_row(name)?.pool;
        let more = change.warm.unwrap_or(0).saturating_sub(wanted.warm);
        if let Some(from) = &change.from {
            wanted.from = from.clone();
        }
        if change.from.is_some() || more > 0 {
            self.refuse_unmakable(&wanted, more)?;
        }
        self.store.write_durably(|tx| {
            let mut row = tx.pool(name)?.ok_or_else(|| missing(name))?;
            let before = row.pool.clone();
            row.pool.warm = change.warm.unwrap_or(row.pool.warm);
            row.pool.depth = change.depth.unwrap_or(row.pool.depth);
            row.pool.from = change.from.clone().unwrap_or(row.pool.from);
            if (before.depth, &before.from) != (row.pool.depth, &row.pool.from) {
                row.pool.generation = row.pool.generation.saturating_add(1);
            }
            row.changed_ms = self.now_ms();
            row.error = None;
            tx.update_pool(&row)?;
            let detail = format!("{} {} of {}", row.pool.warm, row.pool.depth, row.pool.from);
            self.audit(tx, "pool set", name.as_str(), &detail)?;
            Ok(row)
        })
    }

    /// Removes a pool and the members that nobody has taken. Those that are being made are given up:
    /// a pool that is called so next may want others.
    pub fn remove_pool(&self, name: &PoolName) -> Result<usize, EngineError> {
        self.store.write_durably(|tx| {
            tx.pool(name)?.ok_or_else(|| missing(name))?;
            tx.delete_pool(name)?;
            let mut coming = tx.guests_of_operations(FILL)?;
            coming.retain(|row| is_member_of(row, name));
            for operation in coming.iter().filter_map(|row| row.operation) {
                tx.cancel_operation(operation)?;
            }
            Ok::<_, EngineError>(self.audit(tx, "pool remove", name.as_str(), "")?)
        })?;
        self.faults.reach("pool.removed");
        self.drain_orphans()
    }

    /// The pool of this name.
    pub fn pool_row(&self, name: &PoolName) -> Result<PoolRow, EngineError> {
        let found = self.store.read(|tx| tx.pool(name))?;
        found.ok_or_else(|| missing(name))
    }

    /// Every pool and what it has.
    pub fn pools(&self) -> Result<Vec<PoolStatus>, EngineError> {
        let rows = self.store.read(|tx| tx.pools())?;
        rows.into_iter().map(|row| self.status(row)).collect()
    }

    /// One pool and what it has.
    pub fn pool(&self, name: &PoolName) -> Result<PoolStatus, EngineError> {
        self.status(self.pool_row(name)?)
    }

    fn status(&self, row: PoolRow) -> Result<PoolStatus, EngineError> {
        let crew = self.crew(&row.pool)?;
        let tending = stampo_core::pool::tend(&row.pool, crew.current, &crew.members);
        let current = match crew.current {
            Some(id) => self.store.read(|tx| tx.version_label(id))?,
            None => None,
        };
        let gone = |member: &&Member| !tending.drain.iter().any(|(id, _)| *id == member.id);
        let idle = crew.members.iter().filter(|member| member.ready);
        Ok(PoolStatus {
            version: current,
            ready: idle
                .filter(gone)
                .filter_map(|member| crew.row(member.id).cloned())
                .collect(),
            coming: crew.members.iter().filter(|member| !member.ready).count(),
            going: tending
                .drain
                .iter()
                .filter_map(|(id, why)| Some((crew.row(*id)?.clone(), *why)))
                .collect(),
            row,
        })
    }

    /// A pool's members, ready or being made, as they are now.
    pub(crate) fn crew(&self, pool: &Pool) -> Result<Crew, EngineError> {
        let (rows, clonable, current) = self.store.read(|tx| {
            let mut rows = tx.pooled_guests()?;
            let seen: HashSet<GuestId> = rows.iter().map(|row| row.id).collect();
            let coming = tx.guests_of_operations(FILL)?;
            rows.extend(coming.into_iter().filter(|row| !seen.contains(&row.id)));
            rows.retain(|row| is_member_of(row, &pool.name));
            let current = self.current_version(tx, pool)?;
            let mut clonable = HashSet::new();
            for id in rows.iter().map(|row| row.version).collect::<HashSet<_>>() {
                if tx.version(id)?.is_some_and(|row| self.is_pooled(&row)) {
                    clonable.insert(id);
                }
            }
            Ok::<_, EngineError>((rows, clonable, current))
        })?;
        let members = rows.iter().map(|row| Member {
            id: row.id,
            name: row.name.clone(),
            version: row.version,
            clonable: clonable.contains(&row.version),
            generation: row.plan.member.as_ref().map_or(0, |m| m.generation),
            ready: is_idle(row),
            alive: !is_idle(row) || self.is_waiting(row),
        });
        Ok(Crew {
            members: members.collect(),
            current,
            rows,
        })
    }

    /// Whether a member's process is there. One that can't be seen may be: it is not thrown away.
    fn is_waiting(&self, row: &GuestRow) -> bool {
        match self.driver.observe(row.id) {
            Ok(Power::Paused { .. }) => true,
            Ok(Power::Running { .. } | Power::Stopped | Power::Undefined) => false,
            Ok(Power::Unknown { .. }) | Err(_) => true,
        }
    }

    /// The version that a pool's reference means, if it may be cloned.
    pub(crate) fn current_version(
        &self,
        tx: &Tx<'_>,
        pool: &Pool,
    ) -> Result<Option<VersionId>, EngineError> {
        match self.find_version(tx, &pool.from, Bare::Clonable) {
            Ok(row) => Ok(self.is_pooled(&row).then_some(row.id)),
            Err(EngineError::NotFound { .. } | EngineError::EmptyChannel { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether pools keep members of a version ready.
    pub(crate) fn is_pooled(&self, row: &VersionRow) -> bool {
        meaning(self.standing(row)).pooled
    }

    /// Refuses a pool of which no member could be made, or not so many more in the host's memory, for
    /// the reason that the members would have.
    fn refuse_unmakable(&self, pool: &Pool, more: u32) -> Result<(), EngineError> {
        let names = NamePattern::new(format!("{}-{{n}}", pool.name));
        let spec = CloneSpec {
            count: Some(more.max(1)),
            ..pool.spec.clone()
        };
        self.plan_clones(&pool.from, &names, &spec)?;
        let row = self
            .store
            .read(|tx| self.find_version(tx, &pool.from, Bare::Clonable))?;
        match self.is_pooled(&row) {
            true => Ok(()),
            false => Err(EngineError::Conflict {
                act: format!("keep members of {} ready", row.label()),
                why: format!("it is {}, not published", self.standing(&row)),
            }),
        }
    }
}

/// Whether a guest is a member of this pool that nobody has taken.
pub(crate) fn is_member_of(row: &GuestRow, pool: &PoolName) -> bool {
    let member = row.plan.member.as_ref();
    member.is_some_and(|member| !member.taken && member.pool == *pool)
}

/// Whether a member waits and nothing works on it.
fn is_idle(row: &GuestRow) -> bool {
    row.state == stampo_core::guest::GuestState::Pooled && row.operation.is_none()
}

/// What members are given, whatever else was asked for.
fn as_members_are(spec: &CloneSpec) -> CloneSpec {
    CloneSpec {
        count: None,
        instant: Some(Instant::Only),
        no_wait: false,
        ..spec.clone()
    }
}

fn missing(name: &PoolName) -> EngineError {
    EngineError::NotFound {
        what: "pool",
        name: name.to_string(),
    }
}

fn check_name(name: &PoolName) -> Result<(), EngineError> {
    if name.as_str().len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(EngineError::Usage {
        act: format!("create pool {name}"),
        why: format!("its members need room for a number: use at most {LONGEST_NAME} characters"),
    })
}

fn check_warm(warm: u32) -> Result<(), EngineError> {
    if warm <= MAX_WARM {
        return Ok(());
    }
    Err(EngineError::Usage {
        act: format!("keep {warm} members ready"),
        why: format!("a pool keeps at most {MAX_WARM}"),
    })
}
