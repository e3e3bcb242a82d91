//! What a moment does to the model's state, and when it can be.

use super::decide::is_collectable;
use super::script::Moment;
use super::search::{Effect, Model};
use super::state::{Guest, Held, Phase, State, Version};
use super::step::{Name, Step};
use stampo_core::hardware::Hardware;
use stampo_core::lifecycle::{Evidence, State as Life, Verb, transition};
use std::collections::BTreeMap;

impl Model for State {
    type Moment = Moment;

    fn apply(&self, moment: &Moment) -> Option<Effect<State>> {
        if let Some(is_so) = self.look(moment) {
            return is_so.then_some(Effect::Same);
        }
        let mut next = self.clone();
        next.change(moment)?;
        Some(Effect::Next(next))
    }

    fn is_rival(&self, changing: &Moment, other: &Moment) -> bool {
        self.touch(changing).meets(&self.touch(other))
    }
}

impl State {
    /// Whether what a moment saw is so; `None` for a moment that changes something.
    fn look(&self, moment: &Moment) -> Option<bool> {
        match moment {
            Moment::Never => Some(false),
            Moment::Refused {
                step,
                number,
                refusal,
            } => {
                let decided = self.decide(step, *number);
                Some(decided.is_err_and(|refusals| refusals.contains(refusal)))
            }
            Moment::Seen(state) => Some(**state == self.without_powers()),
            Moment::SeenAll(state) => {
                Some(state.guests == self.guests && state.versions == self.versions)
            }
            Moment::RunsSeen { name, runs } => Some(
                self.guests
                    .get(name)
                    .is_some_and(|guest| guest.runs == *runs),
            ),
            Moment::Power {
                key,
                runs,
                last: false,
                ..
            } => Some(self.found_runs(*key) == *runs),
            Moment::GuestsSeen { now, seen } => Some(self.has_guests(*now, seen)),
            Moment::VersionsSeen(seen) => {
                let live = self.versions.iter().filter(|(_, v)| v.life != Life::Purged);
                let live = live.map(|(number, v)| (*number, v.life == Life::Retired));
                Some(live.eq(seen.iter().map(|(number, retired)| (*number, *retired))))
            }
            Moment::OneRuns(names) => Some(names.iter().any(|name| {
                let guest = self.guests.get(name);
                guest.is_some_and(|guest| guest.runs)
            })),
            Moment::Left { now, name, id } => Some(!self.is_taken_by_gc(*now, *name, *id)),
            Moment::ReadersSeen {
                number,
                names,
                going,
            } => Some(self.has_readers(*number, names, going)),
            _ => None,
        }
    }

    fn has_guests(&self, now: bool, seen: &BTreeMap<Name, (bool, bool)>) -> bool {
        let judged = self.guests.iter().map(|(name, guest)| {
            let is_trashed = matches!(guest.phase, Phase::Trashed { .. });
            (*name, (is_trashed, is_collectable(guest.phase, now)))
        });
        judged.eq(seen.iter().map(|(name, judged)| (*name, *judged)))
    }

    /// Whether a collection may take the guest of this name, which it knows by its id.
    fn is_taken_by_gc(&self, now: bool, name: Name, id: u64) -> bool {
        let guest = self.guests.get(&name);
        guest.is_some_and(|guest| {
            guest.id == id && guest.held.is_none() && is_collectable(guest.phase, now)
        })
    }

    fn has_readers(&self, number: u32, names: &[Name], going: &[Name]) -> bool {
        let image = self.versions.get(&number).and_then(|version| version.image);
        let readers = image.map(|image| self.readers(image)).unwrap_or_default();
        let left = readers.into_iter().filter(|name| !going.contains(name));
        left.eq(names.iter().copied())
    }

    /// Makes the change of a moment; `None` when it can't be now, the state being of no use then.
    fn change(&mut self, moment: &Moment) -> Option<()> {
        match moment {
            Moment::Reserved {
                step,
                number,
                guests,
            } => self.reserve(step, *number, guests),
            Moment::Made(name) => self.advance(*name, Phase::Making, Phase::Made),
            Moment::Ready(name) => self.advance(*name, Phase::Made, Phase::Ready),
            Moment::Claimed { step, name } => self.claim(step, *name),
            Moment::Held(names) => {
                self.decide(&Step::RemoveStopped(*names), 0).ok()?;
                names.iter().try_for_each(|name| {
                    self.guests.get_mut(name)?.held = Some(Held::Remove);
                    Some(())
                })
            }
            Moment::Doomed(name) => {
                self.held(*name, Held::Remove)?.phase = Phase::Destroying;
                Some(())
            }
            Moment::Taken { now, name, id } => {
                let takes = self.is_taken_by_gc(*now, *name, *id);
                let guest = self.guests.get_mut(name).filter(|_| takes)?;
                guest.phase = Phase::Destroying;
                guest.held = Some(Held::Remove);
                Some(())
            }
            // It has a turn, so it counts as a change.
            Moment::Noted(_) => Some(()),
            Moment::Found { key, name, ready } => self.find(*key, *name, *ready),
            Moment::Power { key, runs, .. } => {
                let is_so = self.found_runs(*key) == *runs;
                self.found.remove(key);
                is_so.then_some(())
            }
            Moment::FoundGone { key, .. } => {
                let name = self.name_of_found(*key);
                let phase = name.map(|name| self.guests[&name].phase);
                self.found.remove(key);
                matches!(phase, None | Some(Phase::Destroying)).then_some(())
            }
            Moment::Stopped { key, ran, .. } => {
                let name = self.name_of_found(*key)?;
                self.found.remove(key);
                let guest = self.guests.get_mut(&name)?;
                (std::mem::take(&mut guest.runs) == *ran).then_some(())
            }
            Moment::Runs { name, runs } => {
                let guest = self.guests.get_mut(name)?;
                guest.runs = *runs;
                guest.held.map(drop)
            }
            Moment::Resized { name, cpus } => {
                self.held(*name, Held::Resize)?.cpus = *cpus;
                Some(())
            }
            Moment::OwnDisk(name) => {
                self.held(*name, Held::Flatten)?.full = true;
                Some(())
            }
            Moment::Flattened(name) => self.held(*name, Held::Flatten)?.held.take().map(drop),
            Moment::Gone(name) => {
                self.held(*name, Held::Remove)?;
                self.guests.remove(name).map(drop)
            }
            Moment::GuestsFree(names) => names.iter().try_for_each(|name| {
                let guest = self.guests.get_mut(name)?;
                guest.held.take().map(drop)
            }),
            Moment::Begun(number) => self.begin(*number),
            Moment::Sealing(number) => {
                self.decide(&Step::Seal(super::step::Back(0)), *number)
                    .ok()?;
                self.versions.get_mut(number)?.held = Some(Held::Seal);
                Some(())
            }
            Moment::Committed {
                number,
                life,
                image,
            } => self.commit(*number, *life, *image),
            Moment::Changed { verb, number, life } => self.change_version(*verb, *number, *life),
            Moment::VersionFree(number) => self.versions.get_mut(number)?.held.take().map(drop),
            _ => None,
        }
    }

    fn reserve(&mut self, step: &Step, number: u32, guests: &[(Name, u64)]) -> Option<()> {
        self.decide(step, number).ok()?;
        let full = match step {
            Step::Clone {
                full,
                version,
                guest,
            } => {
                let is_meant = version.is_some() || self.clonable() == Some(number);
                let is_named = matches!(guests, [(name, _)] if name == guest);
                (is_meant && is_named).then_some(*full)?
            }
            Step::CloneSome { count, full } => {
                let lowest = self.lowest_free(*count);
                let is_lowest = guests.iter().map(|(name, _)| *name).eq(lowest);
                (self.clonable() == Some(number) && is_lowest).then_some(*full)?
            }
            _ => return None,
        };
        let image = self.versions.get(&number)?.image?;
        for (name, id) in guests {
            let guest = Guest {
                id: *id,
                host_name: None,
                full,
                phase: Phase::Making,
                version: number,
                image,
                cpus: Hardware::default().cpus,
                runs: false,
                held: Some(Held::Clone),
            };
            self.guests.insert(*name, guest);
        }
        Some(())
    }

    fn lowest_free(&self, count: u32) -> Vec<Name> {
        let taken = self.taken();
        let names = (1..).map(Name).filter(|name| !taken.contains(name));
        names.take(count as usize).collect()
    }

    /// The guest of this name, if this holds it.
    fn held(&mut self, name: Name, by: Held) -> Option<&mut Guest> {
        let guest = self.guests.get_mut(&name)?;
        (guest.held == Some(by)).then_some(guest)
    }

    fn advance(&mut self, name: Name, from: Phase, to: Phase) -> Option<()> {
        let guest = self.held(name, Held::Clone)?;
        (guest.phase == from).then(|| guest.phase = to)
    }

    fn claim(&mut self, step: &Step, name: Name) -> Option<()> {
        self.decide(step, 0).ok()?;
        let mut guest = self.guests.remove(&name)?;
        let mut named = name;
        match step {
            Step::Remove(_) => {
                guest.phase = Phase::Destroying;
                guest.held = Some(Held::Remove);
            }
            Step::Trash { due, .. } => {
                guest.phase = Phase::Trashed { due: *due };
                guest.held = Some(Held::Trash);
            }
            Step::BringBack(_) => {
                guest.phase = Phase::Ready;
                guest.held = Some(Held::RestoreGuest);
            }
            Step::Rename { to, .. } => {
                guest.host_name = guest.host_name.or(Some(name));
                guest.held = Some(Held::Rename);
                named = *to;
            }
            Step::Flatten(_) => guest.held = Some(Held::Flatten),
            Step::Start(_) => guest.held = Some(Held::Start),
            Step::Resize { .. } => guest.held = Some(Held::Resize),
            Step::WriteFile(_) => guest.held = Some(Held::WriteFile),
            _ => return None,
        }
        self.guests.insert(named, guest);
        Some(())
    }

    /// Remembers which guest a step found by its name, if there was one.
    fn find(&mut self, key: u64, name: Name, ready: bool) -> Option<()> {
        let guest = self.guests.get(&name);
        if ready && guest.is_none_or(|guest| guest.phase != Phase::Ready) {
            return None;
        }
        self.found.insert(key, guest.map(|guest| guest.id));
        Some(())
    }

    fn found_runs(&self, key: u64) -> bool {
        let name = self.name_of_found(key);
        name.is_some_and(|name| self.guests[&name].runs)
    }

    fn begin(&mut self, number: u32) -> Option<()> {
        let last = self.versions.last_key_value().map_or(0, |(last, _)| *last);
        let version = Version {
            life: Life::Building,
            image: None,
            held: Some(Held::Import),
        };
        (number == last + 1).then(|| self.versions.insert(number, version))?;
        Some(())
    }

    fn commit(&mut self, number: u32, life: Life, image: u64) -> Option<()> {
        let version = self.versions.get_mut(&number)?;
        let verb = match version.held? {
            Held::Import => Verb::Finish,
            Held::Seal => Verb::Seal,
            _ => return None,
        };
        let reached = transition(version.life, verb, Evidence::default()).ok()?;
        version.life = reached;
        version.image = Some(image);
        (reached == life).then_some(())
    }

    fn change_version(&mut self, verb: Verb, number: u32, life: Life) -> Option<()> {
        self.decide_verb(verb, number).ok()?;
        let version = self.versions.get_mut(&number)?;
        let proven = Evidence {
            open_findings: Some(0),
            ..Evidence::default()
        };
        version.life = transition(version.life, verb, proven).ok()?;
        version.held = Held::named(verb.as_str());
        (version.life == life).then_some(())
    }
}
