//! Taking a guest away, by the names in its row. Every step can be repeated.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::guest::GuestState;
use stampo_image::durable;
use stampo_store::GuestRow;

impl Engine {
    /// Kills the guest if it runs, forgets its definition, removes its directory, then its row.
    pub(crate) fn destroy(&self, row: &GuestRow) -> Result<(), EngineError> {
        if row.state != GuestState::Destroying {
            let mut row = row.clone();
            row.state = GuestState::Destroying;
            row.changed_ms = self.now_ms();
            // Durably, before anything goes: a row that says *ready* has its files.
            self.store.write_durably(|tx| tx.update_guest(&row))?;
            self.faults.reach("destroy.intent");
        }
        self.driver.ensure_undefined(row.id)?;
        self.faults.reach("destroy.undefined");
        // Durably: without its row nobody would look for the directory again.
        durable::ensure_removed_durably(&self.guest_dir(row.id))
            .map_err(EngineError::room("remove the guest's directory"))?;
        self.faults.reach("destroy.files");
        self.store.write(|tx| tx.delete_guest(row.id))?;
        self.faults.reach("destroy.row");
        Ok(())
    }
}
