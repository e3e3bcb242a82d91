//! Taking guests away, by the names in their rows. Every step can be repeated.
//!
//! ```text
//! rows: destroying ─→ each: not running, undefined, directory gone ─→ one fsync ─→ rows gone
//! ```
//!
//! However many they are, the disk is waited for once at each of these arrows but the second.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::guest::GuestState;
use stampo_image::durable;
use stampo_store::GuestRow;
use std::sync::{Mutex, PoisonError};

impl Engine {
    /// Kills the guest if it runs, forgets its definition, removes its directory, then its row.
    pub(crate) fn destroy(&self, row: &GuestRow) -> Result<(), EngineError> {
        self.destroy_all(std::slice::from_ref(row))
    }

    /// As [`Engine::destroy`], of many guests. When some can't be destroyed the others are
    /// nevertheless, and it is [`EngineError::Partial`].
    pub(crate) fn destroy_all(&self, rows: &[GuestRow]) -> Result<(), EngineError> {
        self.intend_to_destroy(rows)?;
        let gone = Mutex::new(Vec::new());
        let failures = self.on_each(rows, |row| {
            self.remove_what_is_of(row)?;
            gone.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(row.id);
            Ok(())
        });
        let gone = gone.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.first() {
            // Durably: without its row nobody would look for a directory again.
            durable::wait_for_removal(&self.guest_dir(row.id))
                .map_err(EngineError::room("remove the guest's directory"))?;
        }
        self.faults.reach("destroy.files");
        self.store
            .write(|tx| gone.iter().try_for_each(|id| tx.delete_guest(*id)))?;
        self.faults.reach("destroy.row");
        EngineError::of_some("remove", failures, rows.len())
    }

    /// Says in the rows that they go, durably, before anything goes: a row that says *ready* has
    /// its files.
    fn intend_to_destroy(&self, rows: &[GuestRow]) -> Result<(), EngineError> {
        let mut fresh = rows.to_vec();
        fresh.retain(|row| row.state != GuestState::Destroying);
        if fresh.is_empty() {
            return Ok(());
        }
        for row in &mut fresh {
            row.state = GuestState::Destroying;
            // Nothing will be written into it any more, and some of it is secret.
            row.plan.personalisation = None;
            row.changed_ms = self.now_ms();
        }
        self.store
            .write_durably(|tx| fresh.iter().try_for_each(|row| tx.update_guest(row)))?;
        self.faults.reach("destroy.intent");
        Ok(())
    }

    /// Everything of a guest outside of the catalog; nothing of it is waited for.
    fn remove_what_is_of(&self, row: &GuestRow) -> Result<(), EngineError> {
        self.driver.ensure_undefined(row.id)?;
        self.faults.reach("destroy.undefined");
        durable::ensure_removed(&self.guest_dir(row.id))
            .map_err(EngineError::room("remove the guest's directory"))?;
        self.faults.reach("destroy.directory");
        Ok(())
    }
}
