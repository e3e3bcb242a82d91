//! Passports: the identity items of guests, read anew and compared with all other guests.

use crate::clone::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::goal::CloneKind;
use stampo_core::identity::{FactValue, IdentityFact, Verdict, verdict};
use stampo_core::ids::ImageId;
use stampo_core::names::GuestName;
use stampo_core::personalisation::Network;
use stampo_driver::{ExecRequest, Power};
use stampo_guest::fs::open_read;
use stampo_guest::passport::{
    AgentFiles, Content, ShellFacts, explain, facts_from_agent, facts_of_disk, facts_of_shell,
    facts_of_values, patterns, read_facts, with_shell,
};
use stampo_image::device::BlockDevice;
use stampo_image::overlay::Overlay;
use stampo_image::partition::{Layout, Table};
use stampo_image::raw::RawFile;
use stampo_store::{GuestRow, SALT, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Where a passport's items were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The guest's disk; it did not run.
    Disk,
    /// The guest agent; it ran.
    Agent,
    /// The catalog: as recorded when the guest was made, because neither could be read.
    Catalog,
}

/// Every identity item of a guest with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassportOf {
    /// The guest.
    pub guest: GuestName,
    /// Where the items were read.
    pub source: Source,
    /// The items.
    pub items: Vec<(IdentityFact, Verdict)>,
}

/// The facts of versions, which all their guests are compared with, and the catalog's salt: read
/// once for each operation and not once for each guest.
#[derive(Debug, Default)]
pub(crate) struct VersionFactsCache {
    versions: Mutex<HashMap<ImageId, Arc<VersionFacts>>>,
    salt: OnceLock<[u8; 32]>,
}

/// The facts of one version; none when its image is gone.
#[derive(Debug, Default)]
struct VersionFacts {
    /// What is inside its filesystem.
    inside: Vec<IdentityFact>,
    /// The same with its partition table.
    all: Vec<IdentityFact>,
}

/// An item that was learned otherwise than from a file, its place, its value.
pub(crate) type Sample<'a> = (&'a str, &'a str, &'a [u8]);

/// Whether only the disk itself shows an item.
fn is_of_disk(item: &str) -> bool {
    item == "filesystem.uuid" || item == "disk.guid" || item.starts_with("partition.")
}

/// How long one question to the agent may take. Of fifty emulated guests on two processors, one was
/// seen to need more than 20 seconds.
const AGENT_LIMIT: Duration = Duration::from_secs(60);
/// The largest file that the passport looks at.
const FILE_LIMIT_BYTES: usize = 64 << 10;

impl Engine {
    /// The passports of these guests; of all complete guests when none is named.
    pub fn passports(&self, names: &[GuestName]) -> Result<Vec<PassportOf>, EngineError> {
        let rows = if names.is_empty() {
            let all = self.store.read(|tx| tx.guests())?;
            all.into_iter()
                .filter(|row| row.state.is_complete())
                .collect()
        } else {
            names
                .iter()
                .map(|name| self.ready_guest(name, "read the passport of"))
                .collect::<Result<Vec<_>, _>>()?
        };
        self.faults.reach("passport.listed");
        let mut read = Vec::new();
        let versions = VersionFactsCache::default();
        for row in rows {
            match self.read_passport(&row, &versions) {
                Ok((source, facts)) => read.push((row, source, facts)),
                // All that there are were asked for, and this one was removed meanwhile.
                Err(_) if names.is_empty() && self.is_gone(&row)? => {}
                Err(error) => return Err(error),
            }
        }
        // Compared only when all are recorded: two guests that are asked for together see each other.
        read.into_iter()
            .map(|(row, source, facts)| self.judge(&row, source, facts))
            .collect()
    }

    /// The facts of a guest as they are now, recorded, and where they were read.
    fn read_passport(
        &self,
        row: &GuestRow,
        versions: &VersionFactsCache,
    ) -> Result<(Source, Vec<IdentityFact>), EngineError> {
        let (source, mut facts) = self.current_facts(row, versions)?;
        // What a fork showed when it was made: later forks must not show the same.
        self.keep_recorded(row, &mut facts, |item| item.starts_with("fork."))?;
        if source != Source::Catalog {
            self.store.write(|tx| tx.put_facts(row.id, &facts))?;
        }
        Ok((source, facts))
    }

    /// Whether a guest that was complete is no more.
    fn is_gone(&self, row: &GuestRow) -> Result<bool, EngineError> {
        let found = self.store.read(|tx| tx.guest(row.id))?;
        Ok(found.is_none_or(|row| !row.state.is_complete()))
    }

    fn judge(
        &self,
        row: &GuestRow,
        source: Source,
        facts: Vec<IdentityFact>,
    ) -> Result<PassportOf, EngineError> {
        let holders = self.store.read(|tx| tx.holders(row.id, &facts))?;
        let items = facts
            .into_iter()
            .map(|fact| {
                let verdict = verdict(&row.name, &fact, &of_item(&holders, &fact.item));
                (fact, verdict)
            })
            .collect();
        Ok(PassportOf {
            guest: row.name.clone(),
            source,
            items,
        })
    }

    /// The facts of a guest as they are now, and where they were read.
    fn current_facts(
        &self,
        row: &GuestRow,
        versions: &VersionFactsCache,
    ) -> Result<(Source, Vec<IdentityFact>), EngineError> {
        match self.power(row) {
            Power::Stopped | Power::Undefined => {
                Ok((Source::Disk, self.facts_from_disk(row, versions)?))
            }
            Power::Running { .. }
                if self
                    .driver
                    .agent_ping(row.id, Duration::from_secs(5))
                    .is_ok() =>
            {
                Ok((Source::Agent, self.facts_from_agent(row, versions)?))
            }
            Power::Running { .. } | Power::Paused { .. } | Power::Unknown { .. } => {
                let rows = self.store.read(|tx| tx.facts(row.id))?;
                let mut facts: Vec<IdentityFact> = rows.into_iter().map(|row| row.fact).collect();
                if facts.is_empty() {
                    facts.push(nothing_known());
                }
                Ok((Source::Catalog, facts))
            }
        }
    }

    /// The salt of all identity hashes in this catalog.
    pub(crate) fn salt(&self, known: &VersionFactsCache) -> Result<[u8; 32], EngineError> {
        if let Some(salt) = known.salt.get() {
            return Ok(*salt);
        }
        let text = self.store.read(|tx| tx.setting(SALT))?.unwrap_or_default();
        let mut salt = [0; 32];
        hex::decode_to_slice(&text, &mut salt).map_err(|_| {
            EngineError::Store(StoreError::Damaged {
                table: "settings",
                column: "value",
                text: SALT.to_owned(),
            })
        })?;
        // It never changes, so whoever was first is right.
        Ok(*known.salt.get_or_init(|| salt))
    }

    /// A guest's facts, read from its disk by the independent reader. The guest must not run.
    pub(crate) fn facts_from_disk(
        &self,
        row: &GuestRow,
        versions: &VersionFactsCache,
    ) -> Result<Vec<IdentityFact>, EngineError> {
        let act = || format!("read the passport of {}", row.name);
        let salt = self.salt(versions)?;
        let of_version = self.version_facts(&row.image, &salt, versions)?;
        let (disk, is_untouched) = self.open_compared(row)?;
        let shell = self.shell_facts(row, Some(disk.as_ref()))?;
        let mut facts = if is_untouched && !of_version.inside.is_empty() {
            with_shell(&of_version.inside, &shell, &salt)
        } else {
            let reader = open_read(disk).map_err(EngineError::room(act()))?;
            read_facts(reader.as_ref(), &shell, &salt)
        };
        explain(&mut facts, &of_version.all);
        Ok(facts)
    }

    /// A guest's disk, and whether every byte of it is the version's: nothing was written to its
    /// overlay.
    fn open_compared(&self, row: &GuestRow) -> Result<(Arc<dyn BlockDevice>, bool), EngineError> {
        if row.kind != CloneKind::Linked {
            return Ok((self.open_disk(row, false)?, false));
        }
        let path = self.guest_dir(row.id).join(disk_name(row.kind));
        let overlay = Overlay::open_read_only(&path, &self.pool.image_disk(&row.image));
        let overlay =
            overlay.map_err(EngineError::room(format!("open the disk of {}", row.name)))?;
        let is_untouched = overlay.is_untouched();
        let is_untouched = is_untouched.map_err(EngineError::io("read", path))?;
        Ok((Arc::new(overlay), is_untouched))
    }

    /// The facts of the version that has this image.
    fn version_facts(
        &self,
        image: &ImageId,
        salt: &[u8; 32],
        versions: &VersionFactsCache,
    ) -> Result<Arc<VersionFacts>, EngineError> {
        // Held while the version is read: the other threads need the same answer.
        let mut known = versions
            .versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(image) {
            return Ok(found.clone());
        }
        let read = Arc::new(self.image_facts(image, salt)?);
        known.insert(image.clone(), read.clone());
        Ok(read)
    }

    /// The facts of an image; none when it is gone, as it may be below full clones.
    fn image_facts(&self, image: &ImageId, salt: &[u8; 32]) -> Result<VersionFacts, EngineError> {
        let path = self.pool.image_disk(image);
        if !path.exists() {
            return Ok(VersionFacts::default());
        }
        let disk = RawFile::open_read_only(&path).map_err(EngineError::io("open", path))?;
        let shell = table_facts(&disk, ShellFacts::default())?;
        let reader =
            open_read(Arc::new(disk)).map_err(EngineError::room("read the version's identity"))?;
        let inside = facts_of_disk(reader.as_ref(), salt);
        let all = with_shell(&inside, &shell, salt);
        Ok(VersionFacts { inside, all })
    }

    fn shell_facts(
        &self,
        row: &GuestRow,
        disk: Option<&dyn BlockDevice>,
    ) -> Result<ShellFacts, EngineError> {
        let dir = self.guest_dir(row.id);
        let address = |nic: &stampo_core::plan::NicPlan| match &nic.network {
            Network::Static { address, .. } => Some(address.address),
            Network::Dhcp => None,
        };
        let own = |name: &str| {
            let path = dir.join(name);
            path.exists().then(|| path.display().to_string())
        };
        let shell = ShellFacts {
            smbios_uuid: Some(row.id.0),
            smbios_serial: Some(row.plan.serial.clone()),
            macs: row.plan.nics.iter().map(|nic| nic.mac).collect(),
            addresses: row.plan.nics.iter().filter_map(address).collect(),
            generation_id: Some(row.plan.generation_id),
            disk_serials: self
                .disks(row, &dir)
                .into_iter()
                .map(|disk| disk.serial)
                .collect(),
            nvram: own("nvram.fd").or_else(|| own("vars.fd")),
            tpm_state: own("tpm"),
            kept: self.made(row)?.kept,
            ..ShellFacts::default()
        };
        match disk {
            Some(disk) => table_facts(disk, shell),
            None => Ok(shell),
        }
    }

    /// A running guest's facts, out of the files that its agent reads for us.
    fn facts_from_agent(
        &self,
        row: &GuestRow,
        versions: &VersionFactsCache,
    ) -> Result<Vec<IdentityFact>, EngineError> {
        let files = self.fetch_files(row)?;
        let shell = self.shell_facts(row, None)?;
        let salt = self.salt(versions)?;
        let mut facts = facts_from_agent(&files, &shell, &salt);
        let of_version = self.version_facts(&row.image, &salt, versions)?;
        explain(&mut facts, &of_version.all);
        // What only the disk shows.
        self.keep_recorded(row, &mut facts, is_of_disk)?;
        Ok(facts)
    }

    /// The facts of a fork that has just been told who it is: what the host gives it, what it
    /// showed, and of its disk what it shares with its version on purpose.
    pub(crate) fn facts_of_fork(
        &self,
        row: &GuestRow,
        shown: &[Sample<'_>],
        versions: &VersionFactsCache,
    ) -> Result<Vec<IdentityFact>, EngineError> {
        let salt = self.salt(versions)?;
        let of_version = self.version_facts(&row.image, &salt, versions)?;
        let mut facts = facts_of_shell(&self.shell_facts(row, None)?, &salt);
        facts.extend(facts_of_values(shown, &salt));
        let of_disk = of_version.all.iter().filter(|fact| is_of_disk(&fact.item));
        facts.extend(of_disk.cloned());
        explain(&mut facts, &of_version.all);
        Ok(facts)
    }

    /// What can't be read any more is taken from what was recorded.
    fn keep_recorded(
        &self,
        row: &GuestRow,
        facts: &mut Vec<IdentityFact>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), EngineError> {
        let recorded = self.store.read(|tx| tx.facts(row.id))?;
        for fact in recorded
            .into_iter()
            .map(|row| row.fact)
            .filter(|fact| wanted(&fact.item))
        {
            if !facts.iter().any(|other| other.item == fact.item) {
                facts.push(fact);
            }
        }
        Ok(())
    }

    /// Every file that the passport looks at: one command lists what exists, then each is read.
    fn fetch_files(&self, row: &GuestRow) -> Result<AgentFiles, EngineError> {
        let mut files = AgentFiles::default();
        for pattern in patterns().filter(|pattern| !pattern.contains('*')) {
            files.files.insert(pattern.to_owned(), Content::Absent);
        }
        for path in self.existing(row)? {
            let read = self
                .driver
                .agent_read_file(row.id, &path, FILE_LIMIT_BYTES, AGENT_LIMIT);
            let content = read.map_or_else(
                |error| Content::Unreadable(error.to_string()),
                Content::Bytes,
            );
            files.files.insert(path, content);
        }
        Ok(files)
    }

    /// The paths in a running guest that match the passport's patterns. Its answer is hostile:
    /// only paths that match are taken.
    fn existing(&self, row: &GuestRow) -> Result<Vec<String>, EngineError> {
        let all: Vec<&str> = patterns().collect();
        let words = all.join(" ");
        let script =
            format!("for f in {words}; do [ -e \"$f\" ] && printf '%s\\n' \"$f\"; done; :");
        let request = ExecRequest {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
            input: Vec::new(),
            timeout: AGENT_LIMIT,
        };
        let outcome = self.driver.agent_exec(row.id, &request);
        let outcome = outcome.map_err(EngineError::in_guest(&row.name))?;
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let fits =
            |line: &str| line.len() < 4096 && all.iter().any(|pattern| matches(pattern, line));
        Ok(text
            .lines()
            .filter(|line| fits(line))
            .take(1024)
            .map(str::to_owned)
            .collect())
    }
}

/// The one item of a guest of which nothing is known, so that it does not pass for one that shares
/// nothing.
fn nothing_known() -> IdentityFact {
    let why = "neither its disk nor its agent can be read now, and nothing is recorded; stop it, or \
               give it a guest agent";
    IdentityFact {
        item: "passport".to_owned(),
        location: "the whole guest".to_owned(),
        value: FactValue::Unknown(why.to_owned()),
    }
}

/// Whether a path matches a pattern with at most one `*`, which matches within one component.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => path
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|middle| !middle.contains('/')),
    }
}

/// The facts of a disk's partition table.
fn table_facts(disk: &dyn BlockDevice, mut shell: ShellFacts) -> Result<ShellFacts, EngineError> {
    let layout = Layout::read(disk).map_err(EngineError::room("read the partition table"))?;
    match layout.table {
        Table::Gpt { disk_guid } => shell.disk_guid = Some(disk_guid),
        Table::Mbr { signature } => {
            shell.disk_guid = Some(uuid::Uuid::from_u128(u128::from(signature)))
        }
        Table::None => {}
    }
    shell.partition_guids = layout.partitions.iter().filter_map(|p| p.guid).collect();
    Ok(shell)
}

/// Who holds which value of one item.
pub(crate) fn of_item(
    holders: &HashMap<(String, String), Vec<GuestName>>,
    item: &str,
) -> HashMap<String, Vec<GuestName>> {
    let same = holders.iter().filter(|((of, _), _)| of == item);
    same.map(|((_, hash), names)| (hash.clone(), names.clone()))
        .collect()
}
