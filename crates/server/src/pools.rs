//! The API's part about pools and leases, over an engine in this process.

use crate::convert;
use crate::local::Local;
use crate::problem::problem;
use crate::tender;
use stampo_api::{
    Going, Lease, LeaseRequest, Leases, Pool, PoolApi, PoolChange, PoolRequest, Reply, TakeFrom,
    TakeRequest, Taken, Tending,
};
use stampo_core::names::{GuestName, PoolName};
use stampo_engine::{Agreed, PoolStatus};
use stampo_store::{GuestRow, LeaseRow};
use std::time::{SystemTime, UNIX_EPOCH};

impl PoolApi for Local {
    fn create_pool(&self, request: PoolRequest) -> Reply<Pool> {
        let pool = stampo_core::pool::Pool {
            name: request.name,
            from: request.from,
            warm: request.warm,
            depth: request.depth,
            spec: request.spec,
            generation: 1,
        };
        self.engine
            .create_pool(&pool)
            .map_err(self.refuse("pool create", pool.name.as_str()))?;
        tender::ensure(self.engine.home())?;
        PoolApi::pool(self, &pool.name)
    }

    fn change_pool(&self, request: PoolChange) -> Reply<Pool> {
        let change = stampo_engine::PoolChange {
            from: request.from,
            warm: request.warm,
            depth: request.depth,
        };
        self.engine
            .change_pool(&request.name, &change)
            .map_err(self.refuse("pool set", request.name.as_str()))?;
        tender::ensure(self.engine.home())?;
        PoolApi::pool(self, &request.name)
    }

    fn remove_pool(&self, pool: &PoolName) -> Reply<()> {
        self.engine
            .remove_pool(pool)
            .map_err(self.refuse("pool remove", pool.as_str()))?;
        Ok(())
    }

    fn pools(&self) -> Reply<Vec<Pool>> {
        let pools = self.engine.pools().map_err(|error| problem(&error))?;
        Ok(pools.into_iter().map(wire_pool).collect())
    }

    fn pool(&self, pool: &PoolName) -> Reply<Pool> {
        let found = self.engine.pool(pool).map_err(|error| problem(&error))?;
        Ok(wire_pool(found))
    }

    fn take(&self, request: TakeRequest) -> Reply<Option<Taken>> {
        let lease = request.lease.map(agreed);
        let (taken, from) = match &request.from {
            TakeFrom::Pool(pool) => (self.engine.take(pool, lease), pool.to_string()),
            TakeFrom::Version(version) => {
                (self.engine.take_of(version, lease), version.to_string())
            }
        };
        let Some(taken) = taken.map_err(self.refuse("take", &from))? else {
            return Ok(None);
        };
        // Whoever takes one wants another to be made, and this one to be ended in time.
        // It is the caller's already, who has to be told its name. Why nobody will end it, the next
        // command says.
        tender::ensure(self.engine.home()).ok();
        Ok(Some(Taken {
            guest: convert::guest(&self.engine, &taken.guest)?,
            took_ms: taken.took_ms,
        }))
    }

    fn leases(&self) -> Reply<Leases> {
        let found = self.engine.leases().map_err(|error| problem(&error))?;
        Ok(Leases {
            leases: found
                .right
                .into_iter()
                .map(|(row, lease)| wire_lease(&row, &lease))
                .collect(),
            damaged: found.damaged.iter().map(GuestName::to_string).collect(),
        })
    }

    fn set_lease(&self, guest: &GuestName, lease: LeaseRequest) -> Reply<Lease> {
        let row = self
            .engine
            .set_lease(guest, agreed(lease))
            .map_err(self.refuse("lease set", guest.as_str()))?;
        tender::ensure(self.engine.home())?;
        let found = self
            .engine
            .guest_row(guest)
            .map_err(|error| problem(&error))?;
        Ok(wire_lease(&found, &row))
    }

    fn clear_lease(&self, guest: &GuestName) -> Reply<bool> {
        self.engine
            .clear_lease(guest)
            .map_err(self.refuse("lease clear", guest.as_str()))
    }

    fn tend(&self) -> Reply<Tending> {
        let tended = self
            .engine
            .tend_one()
            .map_err(self.refuse("tend", "store"))?;
        Ok(Tending {
            made: tended.made,
            drained: tended.drained,
            missing: tended.missing,
            failures: tended.failures,
        })
    }
}

pub(crate) fn agreed(request: LeaseRequest) -> Agreed {
    Agreed {
        span: request.span,
        ending: request.ending,
        tied: request.tied,
    }
}

fn wire_pool(status: PoolStatus) -> Pool {
    let PoolStatus {
        row,
        version,
        ready,
        coming,
        going,
    } = status;
    let going = going.into_iter().map(|(guest, why)| Going {
        guest: guest.name.to_string(),
        why: why.to_string(),
    });
    Pool {
        name: row.pool.name.to_string(),
        from: row.pool.from.to_string(),
        version,
        depth: row.pool.depth,
        warm: row.pool.warm,
        ready: ready.iter().map(|guest| guest.name.to_string()).collect(),
        coming,
        going: going.collect(),
        error: row.error,
        created_ms: row.created_ms,
    }
}

fn wire_lease(guest: &GuestRow, row: &LeaseRow) -> Lease {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
    Lease {
        guest: guest.name.to_string(),
        until_ms: row.lease.until_ms,
        left_ms: row.lease.until_ms.saturating_sub(now_ms),
        span: row.lease.span,
        ending: row.lease.ending,
        warned: row.lease.warned,
        tied: row.tied_to.is_some(),
    }
}
