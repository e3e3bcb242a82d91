//! Asking the version's disk whether a personalisation can be carried out, before anything is made.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::ids::ImageId;
use stampo_core::plan::{ClonePlan, GuestPlan};
use stampo_guest::fs::open_read;
use stampo_guest::personalise::{Context, Elsewhere, check};

impl Engine {
    /// Refuses a plan whose guests could not be personalised. All of them ask for the same but for
    /// names and addresses, so the first speaks for all.
    pub(super) fn preflight(&self, plan: &ClonePlan) -> Result<(), EngineError> {
        let Some(guest) = plan.guests.first() else {
            return Ok(());
        };
        let Some(request) = &guest.personalisation else {
            return Ok(());
        };
        if guest.fork.is_some() {
            // Nothing is written on its disk; the plan has refused what its agent is not told.
            return Ok(());
        }
        let missing = || EngineError::NotFound {
            what: "version",
            name: plan.version_label.clone(),
        };
        let row = self
            .store
            .read(|tx| tx.version(plan.version))?
            .ok_or_else(missing)?;
        let fs = open_read(self.open_image(&row)?).map_err(EngineError::room(format!(
            "read the disk of {}",
            plan.version_label
        )))?;
        let context = self.context(
            guest,
            plan.version_label.clone(),
            &plan.image,
            Elsewhere::NotSearched,
        );
        check(fs.as_ref(), request, &context).map_err(|error| EngineError::Usage {
            act: format!("personalise clones of {}", plan.version_label),
            why: error.to_string(),
        })
    }

    /// What personalisation is told of a clone besides the request.
    pub(super) fn context(
        &self,
        guest: &GuestPlan,
        version: String,
        image: &ImageId,
        elsewhere: Elsewhere,
    ) -> Context {
        Context {
            guest: guest.id,
            version,
            image: image.clone(),
            nics: guest.nics.iter().map(|nic| nic.mac).collect(),
            grow_root: guest.grow,
            elsewhere,
            now_s: self.now_ms() / 1000,
        }
    }
}
