//! Renaming and resizing guests.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::Ask;
use crate::work::Work;
use serde::{Deserialize, Serialize};
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_core::plan::PlanRefusal;
use stampo_core::size::ByteSize;
use stampo_store::GuestRow;

/// What to change of a stopped guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resize {
    /// Processors.
    pub cpus: Option<u32>,
    /// Memory.
    pub memory: Option<ByteSize>,
    /// The boot disk; it can only grow.
    pub disk_size: Option<ByteSize>,
}

impl Engine {
    /// Gives a guest another name. Its host name inside stays as it is.
    pub fn rename(&self, name: &GuestName, to: &GuestName) -> Result<GuestRow, EngineError> {
        let detail = format!("was {name}");
        let ask = Ask {
            verb: "rename",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: &detail,
        };
        let (id, row) = self.claim_guest(&ask, |tx, row| {
            if tx.guest_named(to)?.is_some() {
                let why = format!("a guest named {to} exists");
                return Err(EngineError::Conflict {
                    act: format!("rename {name}"),
                    why,
                });
            }
            // A new guest of the old name would get the host name that this one keeps.
            tx.keep_host_name(row.id, &row.name)?;
            row.name = to.clone();
            row.plan.name = to.clone();
            Ok(())
        })?;
        Ok(self.with_claimed(id, row, |_, _| Ok(()))?.1)
    }

    /// Changes a stopped guest's processors, memory or disk size.
    pub fn resize(&self, name: &GuestName, to: Resize) -> Result<GuestRow, EngineError> {
        self.refuse_unless_stopped(&self.guest_row(name)?, "resize")?;
        let request = serde_json::to_value(to).map_err(EngineError::room("record the sizes"))?;
        let ask = Ask {
            verb: "resize",
            name,
            from: Some(GuestState::Ready),
            request,
            detail: "",
        };
        let (id, row) = self.claim_guest(&ask, |_, row| check_resize(row, to))?;
        let (_, row) = self.with_claimed(id, row, |work, row| {
            // Asked again: it may have been started before the claim.
            self.refuse_unless_stopped(row, "resize")?;
            self.resize_claimed(work, row, to)
        })?;
        Ok(row)
    }

    /// The disk first. It does not become smaller again: once the larger one is in its place, only
    /// finishing brings disk and row together.
    fn resize_claimed(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        to: Resize,
    ) -> Result<(), EngineError> {
        let size = to.disk_size.filter(|size| *size != row.plan.disk_size);
        if let Some(size) = size {
            self.grow_disk(row, size).inspect_err(|_| {
                if self.has_size(row, size).unwrap_or(true) {
                    work.leave_open();
                }
            })?;
            row.plan.disk_size = size;
        }
        row.plan.hardware.cpus = to.cpus.unwrap_or(row.plan.hardware.cpus);
        row.plan.hardware.memory = to.memory.unwrap_or(row.plan.hardware.memory);
        self.save_claimed(row).inspect_err(|_| {
            if size.is_some() {
                work.leave_open();
            }
        })
    }

    /// Recovery: goes on with a resizing from its beginning.
    pub(crate) fn resize_again(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        request: &serde_json::Value,
    ) -> Result<(), EngineError> {
        let to = serde_json::from_value(request.clone())
            .map_err(EngineError::room("read the sizes again"))?;
        self.refuse_unless_stopped(row, "resize")?;
        self.resize_claimed(work, row, to)
    }
}

/// Refuses sizes that the guest can't have.
fn check_resize(row: &GuestRow, to: Resize) -> Result<(), EngineError> {
    let mut hardware = row.plan.hardware.clone();
    hardware.cpus = to.cpus.unwrap_or(hardware.cpus);
    hardware.memory = to.memory.unwrap_or(hardware.memory);
    hardware.check().map_err(PlanRefusal::from)?;
    match to.disk_size {
        Some(size) if size < row.plan.disk_size => Err(PlanRefusal::DiskTooSmall {
            asked: size,
            least: row.plan.disk_size,
        }
        .into()),
        Some(size)
            if size != row.plan.disk_size
                && (size.bytes() % (1 << 20) != 0 || size > ByteSize(64 << 40)) =>
        {
            Err(PlanRefusal::DiskSize(size).into())
        }
        _ => Ok(()),
    }
}
