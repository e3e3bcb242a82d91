//! Tending: what has to be done without anybody asking for it. Pools are filled and drained, leases
//! are ended.
//!
//! [`Engine::tend_one`] is one look. It is called in turn by a process that is kept for that as long
//! as [`Engine::needs_tending`]; which process that is, is not the engine's affair. Two that do it at
//! once get in each other's way and do no harm: what both want is claimed once.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::pool::FILL;

/// What one look did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tending {
    /// Members of pools that were made.
    pub made: usize,
    /// Members of pools that went.
    pub drained: usize,
    /// Members of pools that are missing still, and could be made at once.
    pub missing: u32,
    /// What failed, for each lease and pool; it is tried again at the next look.
    pub failures: Vec<String>,
}

impl Engine {
    /// Whether there is anything to tend: a pool, a member without one, or a lease.
    pub fn needs_tending(&self) -> Result<bool, EngineError> {
        self.store.read(|tx| {
            Ok(!tx.pools()?.is_empty() || tx.has_leases()? || !tx.pooled_guests()?.is_empty())
        })
    }

    /// Ends the members of pools whose home was removed under them: nobody's, and nobody could find
    /// them again. How many.
    pub fn end_members_without_home(&self) -> Result<usize, EngineError> {
        let members = self.store.read(|tx| {
            let mut rows = tx.pooled_guests()?;
            rows.extend(tx.guests_of_operations(FILL)?);
            Ok::<_, EngineError>(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        })?;
        Ok(self.driver.end_without_directory(&members)?)
    }

    /// Looks once at every pool and every lease, and does what is due.
    pub fn tend_one(&self) -> Result<Tending, EngineError> {
        // Leases first: what they free, a pool may need.
        let mut leases = self.tend_leases(usize::MAX)?;
        let pools = self.tend_pools();
        // Last: a guest may take its time to say it.
        self.on_each(&leases.warnings, |warning| {
            self.say_in_guest(warning);
            Ok(())
        });
        let mut tending = pools?;
        leases.failures.append(&mut tending.failures);
        tending.failures = leases.failures;
        Ok(tending)
    }

    /// Looks once at every pool.
    pub fn tend_pools(&self) -> Result<Tending, EngineError> {
        let mut tending = Tending {
            drained: self.drain_pools()?,
            ..Tending::default()
        };
        for row in self.store.read(|tx| tx.pools())? {
            match self.tend_pool(&row.pool) {
                Ok(tended) => {
                    tending.made += tended.made;
                    tending.drained += tended.drained;
                    tending.missing += tended.missing;
                }
                Err(error) => {
                    let why = format!("pool {}: {}", row.pool.name, error.chain());
                    tending.failures.push(why);
                }
            }
        }
        Ok(tending)
    }
}
