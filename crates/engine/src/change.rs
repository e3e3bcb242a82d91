//! Renaming and resizing guests.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::names::GuestName;
use stampo_core::plan::PlanRefusal;
use stampo_core::size::ByteSize;
use stampo_store::GuestRow;

/// What to change of a stopped guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
        let id = self.ready_guest(name, "rename")?.id;
        let row = self.store.write_durably(|tx| {
            if tx.guest_named(to)?.is_some() {
                let why = format!("a guest named {to} exists");
                return Err(EngineError::Conflict {
                    act: format!("rename {name}"),
                    why,
                });
            }
            let missing = || EngineError::NotFound {
                what: "guest",
                name: name.to_string(),
            };
            let mut row = tx.guest(id)?.ok_or_else(missing)?;
            row.name = to.clone();
            row.plan.name = to.clone();
            row.changed_ms = self.now_ms();
            tx.update_guest(&row)?;
            self.audit(tx, "rename", to.as_str(), &format!("was {name}"))?;
            Ok(row)
        })?;
        self.faults.reach("rename.committed");
        self.driver.ensure_defined(&self.definition(&row)?)?;
        self.write_guest_sidecar(&row)?;
        Ok(row)
    }

    /// Changes a stopped guest's processors, memory or disk size.
    pub fn resize(&self, name: &GuestName, to: Resize) -> Result<GuestRow, EngineError> {
        let mut row = self.ready_guest(name, "resize")?;
        self.refuse_unless_stopped(&row, "resize")?;
        row.plan.hardware.cpus = to.cpus.unwrap_or(row.plan.hardware.cpus);
        row.plan.hardware.memory = to.memory.unwrap_or(row.plan.hardware.memory);
        row.plan.hardware.check().map_err(PlanRefusal::from)?;
        if let Some(size) = to.disk_size.filter(|size| *size != row.plan.disk_size) {
            self.grow_disk(&mut row, size)?;
        }
        row.changed_ms = self.now_ms();
        self.store.write_durably(|tx| {
            tx.update_guest(&row)?;
            self.audit(tx, "resize", name.as_str(), "")
        })?;
        self.faults.reach("resize.committed");
        self.driver.ensure_defined(&self.definition(&row)?)?;
        self.write_guest_sidecar(&row)?;
        Ok(row)
    }

    fn grow_disk(&self, row: &mut GuestRow, size: ByteSize) -> Result<(), EngineError> {
        if size < row.plan.disk_size {
            return Err(PlanRefusal::DiskTooSmall {
                asked: size,
                least: row.plan.disk_size,
            }
            .into());
        }
        if size.bytes() % (1 << 20) != 0 || size > ByteSize(64 << 40) {
            return Err(PlanRefusal::DiskSize(size).into());
        }
        self.ensure_disk_size(row, size)?;
        row.plan.disk_size = size;
        Ok(())
    }
}
