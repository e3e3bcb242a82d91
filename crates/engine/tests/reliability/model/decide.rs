//! What a command is answered in a state: the rules, without any time.
//!
//! Each rule gives every refusal that is right in that state, or says that the command begins.
//! Rules of versions are those of `core`'s lifecycle, which has tests of its own.

use super::answer::{GuestPhase, Refusal};
use super::state::{Guest, Phase, State, Version};
use super::step::{Name, Step};
use stampo_core::lifecycle::{Evidence, Refusal as Rule, Verb, transition};

/// What a command is answered: it begins, or one of these refusals.
pub type Decision = Result<(), Vec<Refusal>>;

impl State {
    /// What this step is answered now; `number` is the version that it means.
    pub fn decide(&self, step: &Step, number: u32) -> Decision {
        match step {
            Step::Clone { guest, version, .. } => {
                let number = version.map(|_| number);
                self.decide_clone(number)?;
                match self.taken().contains(guest) {
                    true => refused(Refusal::Taken(*guest)),
                    false => Ok(()),
                }
            }
            Step::CloneSome { .. } => self.decide_clone(None),
            Step::Remove(guest) => self.free(*guest).map(drop),
            Step::RemoveStopped(names) => {
                let mut names = Name::in_order(*names).into_iter();
                names.try_for_each(|name| self.free(name).map(drop))
            }
            Step::Trash { guest, .. } | Step::Rename { guest, .. } | Step::Flatten(guest) => {
                let found = self.free(*guest)?;
                in_phase(found, GuestPhase::Ready)?;
                self.decide_change(step, found)
            }
            Step::Start(guest) | Step::WriteFile(guest) => self.decide_use(*guest),
            Step::Stop(guest) => self.decide_stop(*guest),
            Step::Resize { guest, .. } => in_phase(self.free(*guest)?, GuestPhase::Ready),
            Step::BringBack(guest) => in_phase(self.free(*guest)?, GuestPhase::Trashed),
            Step::Seal(_) => self.decide_seal(number),
            Step::Change { verb, .. } => self.decide_verb(*verb, number),
            Step::Gc { .. } | Step::Import { .. } | Step::List => Ok(()),
        }
    }

    /// The newest version that may be cloned.
    pub fn clonable(&self) -> Option<u32> {
        let mut versions = self.versions.iter().rev();
        let found = versions.find(|(_, version)| version.life.is_clonable());
        found.map(|(number, _)| *number)
    }

    fn decide_clone(&self, number: Option<u32>) -> Decision {
        match number {
            None if self.clonable().is_none() => refused(Refusal::NoVersion),
            None => Ok(()),
            Some(number) => match self.versions.get(&number) {
                None => refused(Refusal::NoVersion),
                Some(version) if version.life.is_clonable() => Ok(()),
                Some(version) => refused(Refusal::NotClonable(version.life)),
            },
        }
    }

    /// The guest, if nothing holds it.
    fn free(&self, name: Name) -> Result<&Guest, Vec<Refusal>> {
        let guest = self.guests.get(&name).ok_or(vec![Refusal::NoGuest])?;
        match guest.held {
            Some(held) => Err(vec![Refusal::Busy(held)]),
            None => Ok(guest),
        }
    }

    /// A guest that is complete and that nothing holds. The first is asked before it is claimed,
    /// and both then.
    fn decide_use(&self, name: Name) -> Decision {
        let mut refusals = self.decide_stop(name).err().unwrap_or_default();
        let free = self
            .free(name)
            .and_then(|guest| in_phase(guest, GuestPhase::Ready));
        refusals.extend(free.err().unwrap_or_default());
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(refusals),
        }
    }

    /// A guest that is complete, whatever holds it.
    fn decide_stop(&self, name: Name) -> Decision {
        let guest = self.guests.get(&name).ok_or(vec![Refusal::NoGuest])?;
        match guest.phase {
            Phase::Ready => Ok(()),
            _ => refused(Refusal::Unready),
        }
    }

    fn decide_change(&self, step: &Step, guest: &Guest) -> Decision {
        match step {
            Step::Rename { to, .. } if self.guests.contains_key(to) => refused(Refusal::Taken(*to)),
            Step::Flatten(_) if guest.full => refused(Refusal::Full),
            _ => Ok(()),
        }
    }

    /// A version that is no draft is refused for that even if something holds it.
    fn decide_seal(&self, number: u32) -> Decision {
        let version = self.version(number)?;
        let mut refusals = Vec::new();
        refusals.extend(version.held.map(Refusal::Busy));
        if let Err(rule) = transition(version.life, Verb::Seal, Evidence::default()) {
            refusals.extend(self.words(&rule, version));
        }
        if refusals.is_empty() {
            return Ok(());
        }
        Err(refusals)
    }

    pub fn decide_verb(&self, verb: Verb, number: u32) -> Decision {
        let version = self.version(number)?;
        if let Some(held) = version.held {
            return refused(Refusal::Busy(held));
        }
        match transition(version.life, verb, self.evidence(version)) {
            Ok(_) => Ok(()),
            Err(rule) => Err(self.words(&rule, version).into_iter().collect()),
        }
    }

    fn version(&self, number: u32) -> Result<&Version, Vec<Refusal>> {
        self.versions.get(&number).ok_or(vec![Refusal::NoVersion])
    }

    /// Every seal in this test is proven; readers count when no other version keeps the bytes.
    fn evidence(&self, version: &Version) -> Evidence {
        let readers = match version.image {
            Some(image) if self.owners(image) <= 1 => self.readers(image).len(),
            _ => 0,
        };
        Evidence {
            open_findings: Some(0),
            linked_clones: readers,
            ..Evidence::default()
        }
    }

    fn words(&self, rule: &Rule, version: &Version) -> Option<Refusal> {
        match rule {
            Rule::NotInThisState { verb, from } => Some(Refusal::NotInThisState(*verb, *from)),
            Rule::HasLinkedClones(_) => {
                let image = version.image?;
                Some(Refusal::HasLinkedClones(self.readers(image)))
            }
            _ => None,
        }
    }
}

fn in_phase(guest: &Guest, wanted: GuestPhase) -> Decision {
    match GuestPhase::of(guest.phase) {
        Some(phase) if phase == wanted => Ok(()),
        Some(phase) => refused(Refusal::Is(phase)),
        None => Err(Vec::new()),
    }
}

fn refused(refusal: Refusal) -> Decision {
    Err(vec![refusal])
}

/// Whether a guest that is not held may be taken away by a collection.
pub fn is_collectable(phase: Phase, now: bool) -> bool {
    match phase {
        Phase::Trashed { due } => due || now,
        _ => false,
    }
}
