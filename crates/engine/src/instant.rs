//! What has to be known before instant clones are planned: whether the version's memory image can
//! be used here, and how much memory the host has promised already.
//!
//! Nothing is made here. How a fork is made is in `clone/fork.rs`; how a memory image is, in
//! `freeze`.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::freeze::Kept;
use stampo_core::guest::GuestState;
use stampo_core::ids::GuestId;
use stampo_core::instant::{HostMemory, MemoryFacts, Origin, worst_case};
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use stampo_driver::{DriverError, Link, MemoryImageDir, Power, Start};
use stampo_store::{GuestRow, Tx, VersionRow};
use std::collections::HashSet;
use std::path::Path;
use uuid::Uuid;

/// Where Linux tells how much memory it has (proc_meminfo(5)).
const MEMINFO: &str = "/proc/meminfo";

/// Which guests may use memory, as they were seen before a transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promises {
    seen: HashSet<GuestId>,
    may_run: HashSet<GuestId>,
}

impl Promises {
    /// Whether a guest is counted. One that was not there when we looked is, as it may have been
    /// started since.
    fn count(&self, row: &GuestRow) -> bool {
        is_being_made(row) || self.may_run.contains(&row.id) || !self.seen.contains(&row.id)
    }
}

fn is_being_made(row: &GuestRow) -> bool {
    row.state != GuestState::Destroying && row.state.is_in_transit() && row.plan.start
}

impl Engine {
    /// Looks at every guest. Nothing is counted unless instant clones are asked for.
    pub(crate) fn promises(&self, spec: &CloneSpec) -> Result<Promises, EngineError> {
        let mut promises = Promises::default();
        if spec.instant.is_none() || spec.overcommit_memory {
            return Ok(promises);
        }
        for row in self.store.read(|tx| tx.guests())? {
            promises.seen.insert(row.id);
            let runs = match self.driver.observe(row.id) {
                Ok(Power::Stopped | Power::Undefined) => false,
                // What can't be seen is counted: it may run.
                Ok(Power::Running { .. } | Power::Paused { .. } | Power::Unknown { .. })
                | Err(_) => true,
            };
            if runs {
                promises.may_run.insert(row.id);
            }
        }
        Ok(promises)
    }

    /// The host's memory, and the part of it that guests may come to use.
    pub(crate) fn host_memory(
        &self,
        tx: &Tx<'_>,
        spec: &CloneSpec,
        promises: &Promises,
    ) -> Result<HostMemory, EngineError> {
        if spec.instant.is_none() || spec.overcommit_memory {
            return Ok(HostMemory::default());
        }
        let total = match self.settings.guest_memory {
            Some(total) => total,
            None => total_memory(Path::new(MEMINFO))?,
        };
        let counted = tx.guests()?.into_iter().filter(|row| promises.count(row));
        let promised = counted
            .map(|row| worst_case(row.plan.hardware.memory).bytes())
            .fold(0, u64::saturating_add);
        Ok(HostMemory {
            total,
            promised: ByteSize(promised),
        })
    }

    /// Whether guests can go on from a version's memory image here, and if not, why.
    pub(crate) fn memory_facts(
        &self,
        row: &VersionRow,
        spec: &CloneSpec,
    ) -> Result<MemoryFacts, EngineError> {
        if spec.instant.is_none() {
            return Ok(MemoryFacts::Missing);
        }
        let mut facts = MemoryFacts::Missing;
        for kept in self.memory_images(row)? {
            let image = MemoryImageDir::at(&kept.directory).complete()?;
            let name = kept.directory.file_name().and_then(|name| name.to_str());
            facts = match (name, self.useless(row, spec, &kept)?) {
                (Some(name), None) => {
                    return Ok(MemoryFacts::Fits(Origin {
                        memory: name.to_owned(),
                        macs: image.macs,
                    }));
                }
                (_, why) => MemoryFacts::Unfit(why.unwrap_or_default()),
            };
        }
        if facts == MemoryFacts::Missing
            && let Some(why) = self.damaged_memory(row)?
        {
            facts = MemoryFacts::Unfit(why);
        }
        Ok(facts)
    }

    /// Why a memory image of this version is of no use here; `None` when it is.
    pub(crate) fn useless(
        &self,
        row: &VersionRow,
        spec: &CloneSpec,
        kept: &Kept,
    ) -> Result<Option<String>, EngineError> {
        if kept.sidecar.agent.is_none() {
            let why = "stampo's agent did not answer in the frozen guest, so its clones could not \
                       become machines of their own";
            return Ok(Some(why.to_owned()));
        }
        self.unfit(row, spec, &kept.directory)
    }

    /// Why guests of this version can't go on from this memory image.
    fn unfit(
        &self,
        row: &VersionRow,
        spec: &CloneSpec,
        directory: &Path,
    ) -> Result<Option<String>, EngineError> {
        let Some(base) = &row.image else {
            return Ok(None);
        };
        let mut guest = match self.hidden_guest(row, base, GuestId(Uuid::new_v4())) {
            Err(EngineError::Driver(error)) => return Ok(Some(error.to_string())),
            other => other?,
        };
        guest.start = Start::Resume {
            image: directory.to_owned(),
        };
        if let (Some(bridge), Some(nic)) = (&spec.bridge, guest.nics.first_mut()) {
            nic.link = Link::Bridge {
                bridge: bridge.clone(),
            };
        }
        match self.driver.check_resume(&guest) {
            Ok(()) => Ok(None),
            Err(DriverError::Unfit { differs, .. }) => Ok(Some(format!(
                "the memory image does not fit this host: {}",
                differs.join("; ")
            ))),
            Err(error @ DriverError::Unsupported { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The memory that the kernel has.
fn total_memory(meminfo: &Path) -> Result<ByteSize, EngineError> {
    let text = std::fs::read_to_string(meminfo).map_err(EngineError::io("read", meminfo))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    let kib = kib.ok_or_else(|| EngineError::Conflict {
        act: format!("read {}", meminfo.display()),
        why: "it does not tell MemTotal".to_owned(),
    })?;
    Ok(ByteSize(kib.saturating_mul(1024)))
}
