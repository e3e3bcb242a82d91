//! The model's state: every guest and every version, as any moment between two commits has them.
//!
//! What commands may do in a state is in `decide.rs`, which moments they have in `script.rs`. Disks,
//! definitions and sidecars are not modelled: `assert_clean` looks at those.

use super::step::Name;
use serde::{Deserialize, Serialize};
use stampo_core::guest::GuestState;
use stampo_core::lifecycle::State as Life;
use stampo_driver::Power;
use stampo_engine::{Engine, EngineError};
use stampo_store::{GuestRow, OperationState, StoreError, Tx, VersionRow};
use std::collections::{BTreeMap, BTreeSet};

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The guests by name.
    pub guests: BTreeMap<Name, Guest>,
    /// The versions by number.
    pub versions: BTreeMap<u32, Version>,
    /// Commands that look a guest up and then do something to it, whatever its name is by then: the
    /// id of the guest that they found, by the time at which they were asked.
    #[serde(default)]
    pub found: BTreeMap<u64, Option<u64>>,
}

/// How far a guest is, as far as commands can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Its disk may still need the image.
    Making,
    /// Its disk is its own, or stays linked.
    Made,
    /// Complete.
    Ready,
    /// Removed, restorable; `due`: the next collection takes it.
    Trashed { due: bool },
    /// On its way out.
    Destroying,
}

/// One guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guest {
    /// Its id, shortened: two guests of one name, one after the other, are two.
    pub id: u64,
    /// The name that it had first, if it was renamed: its host name, which stays taken.
    pub host_name: Option<Name>,
    /// Not linked.
    pub full: bool,
    /// How far it is.
    pub phase: Phase,
    /// The number of its version.
    pub version: u32,
    /// That version's image.
    pub image: u64,
    /// How many processors it has.
    pub cpus: u32,
    /// Whether it runs. The catalog does not tell.
    pub runs: bool,
    /// What holds it.
    pub held: Option<Held>,
}

/// One version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Its state.
    pub life: Life,
    /// Its image's id, shortened.
    pub image: Option<u64>,
    /// What holds it.
    pub held: Option<Held>,
}

/// The kinds of operations that hold a guest or a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    Clone,
    Remove,
    Trash,
    RestoreGuest,
    Rename,
    Flatten,
    Start,
    Resize,
    WriteFile,
    Import,
    Seal,
    Publish,
    Retire,
    Restore,
    Purge,
}

impl Held {
    /// The kind with this name in the catalog.
    pub fn named(text: &str) -> Option<Held> {
        serde_json::from_value(serde_json::Value::from(text)).ok()
    }
}

impl State {
    /// What the catalog holds now. An error text when it holds what the model has no word for.
    pub fn read(engine: &Engine) -> Result<State, String> {
        let read = engine.store().read(|tx| {
            let mut state = State::default();
            for row in tx.versions()? {
                let held = held(tx, row.operation)?;
                state.versions.insert(row.number, version(&row, held));
            }
            for row in tx.guests()? {
                let held = held(tx, row.operation)?;
                let number = tx.version(row.version)?.map_or(0, |version| version.number);
                let host_name = tx.host_name(row.id)?.and_then(|name| parse(name.as_str()));
                let name = parse(row.name.as_str());
                let guest = guest(&row, held, number, host_name);
                state.guests.insert(name.unwrap_or(Name(0)), guest);
            }
            Ok::<_, EngineError>(state)
        });
        read.map_err(|error| error.chain())
    }

    /// What the catalog holds and what the driver says, when nobody changes either.
    pub fn read_with_powers(engine: &Engine) -> Result<State, String> {
        let mut state = State::read(engine)?;
        let rows = engine.store().read(|tx| tx.guests());
        for row in rows.map_err(|error: StoreError| error.to_string())? {
            let guest = parse(row.name.as_str()).and_then(|name| state.guests.get_mut(&name));
            if let Some(guest) = guest {
                guest.runs = matches!(engine.power(&row), Power::Running { .. });
            }
        }
        Ok(state)
    }

    /// As a listing of the catalog has it.
    pub fn without_powers(&self) -> State {
        let mut state = self.clone();
        state.found.clear();
        for guest in state.guests.values_mut() {
            guest.runs = false;
        }
        state
    }

    /// The name of the guest that a command found when it was asked at `key`, if it is there yet.
    pub fn name_of_found(&self, key: u64) -> Option<Name> {
        let id = (*self.found.get(&key)?)?;
        let mut guests = self.guests.iter();
        guests
            .find(|(_, guest)| guest.id == id)
            .map(|(name, _)| *name)
    }

    /// The names that no new guest may have.
    pub fn taken(&self) -> BTreeSet<Name> {
        let kept = self.guests.values().filter_map(|guest| guest.host_name);
        self.guests.keys().copied().chain(kept).collect()
    }

    /// The guests that need this image, by name.
    pub fn readers(&self, image: u64) -> Vec<Name> {
        let reads = |guest: &Guest| guest.image == image && guest.reads_image();
        let found = self.guests.iter().filter(|(_, guest)| reads(guest));
        found.map(|(name, _)| *name).collect()
    }

    /// How many versions that are not purged have this image.
    pub fn owners(&self, image: u64) -> usize {
        let has = |version: &&Version| version.image == Some(image) && version.life != Life::Purged;
        self.versions.values().filter(has).count()
    }
}

impl Guest {
    /// Whether its image has to stay.
    pub fn reads_image(&self) -> bool {
        !self.full || self.phase == Phase::Making
    }
}

/// `g-N`.
pub fn parse(name: &str) -> Option<Name> {
    name.strip_prefix("g-")?.parse().ok().map(Name)
}

/// The first bits of an id's hex digits: enough to tell the few of one run apart.
pub fn short(hex: &str) -> u64 {
    let digits = hex.chars().filter(char::is_ascii_hexdigit).take(16);
    u64::from_str_radix(&digits.collect::<String>(), 16).unwrap_or_default()
}

/// A guest's id, shortened.
pub fn short_id(row: &GuestRow) -> u64 {
    short(&row.id.to_string())
}

fn held(
    tx: &Tx<'_>,
    operation: Option<stampo_core::ids::OperationId>,
) -> Result<Option<Held>, EngineError> {
    let Some(id) = operation else {
        return Ok(None);
    };
    let row = tx.operation(id)?;
    let running = row.filter(|row| row.state == OperationState::Running);
    Ok(running.and_then(|row| Held::named(&row.kind)))
}

fn version(row: &VersionRow, held: Option<Held>) -> Version {
    Version {
        life: row.state,
        image: row.image.as_ref().map(|image| short(image.as_str())),
        held,
    }
}

fn guest(row: &GuestRow, held: Option<Held>, version: u32, host_name: Option<Name>) -> Guest {
    Guest {
        id: short_id(row),
        host_name,
        full: row.kind == stampo_core::goal::CloneKind::Full,
        phase: match row.state {
            GuestState::Planned | GuestState::DiskReady | GuestState::Defined => Phase::Making,
            GuestState::Verified | GuestState::Pooled => Phase::Made,
            GuestState::Ready => Phase::Ready,
            GuestState::Trashed => Phase::Trashed { due: is_due(row) },
            GuestState::Destroying => Phase::Destroying,
        },
        version,
        image: short(row.image.as_str()),
        cpus: row.plan.hardware.cpus,
        runs: false,
        held,
    }
}

/// Steps keep a guest for no time or for an hour.
fn is_due(row: &GuestRow) -> bool {
    row.keep_until_ms
        .is_none_or(|until| until < row.changed_ms + 60_000)
}
