//! Asking the version's disk whether a personalisation can be carried out, before anything is made.

use super::told::fork_request;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_agent_protocol::{Request, encode_request};
use stampo_core::ids::ImageId;
use stampo_core::instant::Fork;
use stampo_core::plan::{ClonePlan, GuestPlan};
use stampo_guest::fs::{GuestRead, open_read};
use stampo_guest::personalise::{Context, Elsewhere, check};

/// The largest passwd(5) that is read, in bytes.
const PASSWD_LIMIT: u64 = 1 << 20;

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
        if let Some(fork) = &guest.fork {
            return self.preflight_fork(plan, guest, fork);
        }
        let fs = self.disk_of(plan)?;
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

    /// Nothing is written on a fork's disk: its agent is told, which must be possible, and the
    /// users who are to log in must be there.
    fn preflight_fork(
        &self,
        plan: &ClonePlan,
        guest: &GuestPlan,
        fork: &Fork,
    ) -> Result<(), EngineError> {
        let refused = |why: String| EngineError::Usage {
            act: format!("make instant clones of {}", plan.version_label),
            why,
        };
        let request = Request::Fork(Box::new(fork_request(guest, fork)?));
        encode_request(0, &request).map_err(|error| refused(error.to_string()))?;
        let users = guest.personalisation.iter().flat_map(|own| &own.users);
        let named: Vec<&str> = users.map(|user| user.name.as_str()).collect();
        if named.is_empty() {
            return Ok(());
        }
        let fs = self.disk_of(plan)?;
        let passwd = fs
            .read("/etc/passwd", PASSWD_LIMIT)
            .map_err(EngineError::room("read the template's users"))?;
        let passwd = String::from_utf8_lossy(&passwd);
        let has = |name: &str| {
            passwd
                .lines()
                .any(|line| line.split(':').next() == Some(name))
        };
        match named.into_iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(name) => Err(refused(format!(
                "it has no user {name}; a guest that runs has its template's users"
            ))),
        }
    }

    /// The filesystem of the version that is cloned.
    fn disk_of(&self, plan: &ClonePlan) -> Result<Box<dyn GuestRead>, EngineError> {
        let missing = || EngineError::NotFound {
            what: "version",
            name: plan.version_label.clone(),
        };
        let row = self
            .store
            .read(|tx| tx.version(plan.version))?
            .ok_or_else(missing)?;
        open_read(self.open_image(&row)?).map_err(EngineError::room(format!(
            "read the disk of {}",
            plan.version_label
        )))
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
