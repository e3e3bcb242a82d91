//! What a moment has to do with: when two have nothing in common, their order does not matter.
//!
//! Too much here only makes the search slower; too little would make it miss explanations.

use super::script::Moment;
use super::state::State;
use super::step::{Name, Step};
use stampo_core::lifecycle::Verb;

/// What a moment looks at and what it changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Touch {
    /// Guests by name, looked at or changed.
    names: [Option<Name>; 2],
    /// A version, looked at or changed.
    version: Option<u32>,
    sees: Sight,
    changes: Sight,
    /// It looks at everything.
    sees_all: bool,
}

/// Things that are looked at or changed as a whole.
#[derive(Debug, Clone, Copy, Default)]
struct Sight {
    /// Which guests there are, and which are trashed.
    guests: bool,
    /// The states and images of versions.
    lives: bool,
    /// Who needs an image.
    readers: bool,
    /// Which names are taken.
    taken: bool,
}

impl Sight {
    fn meets(self, other: Sight) -> bool {
        (self.guests && other.guests)
            || (self.lives && other.lives)
            || (self.readers && other.readers)
            || (self.taken && other.taken)
    }
}

impl Touch {
    /// Whether the order of two moments may matter.
    pub fn meets(&self, other: &Touch) -> bool {
        let names = self.names.iter().flatten();
        names
            .into_iter()
            .any(|name| other.names.contains(&Some(*name)))
            || (self.version.is_some() && self.version == other.version)
            || self.sees.meets(other.changes)
            || other.sees.meets(self.changes)
            || self.sees_all
            || other.sees_all
    }

    fn guests(mut self, names: [Option<Name>; 2]) -> Touch {
        self.names = names;
        self
    }

    fn version(mut self, number: u32) -> Touch {
        self.version = Some(number);
        self
    }

    fn seeing(mut self, see: impl FnOnce(&mut Sight)) -> Touch {
        see(&mut self.sees);
        self
    }

    fn changing(mut self, change: impl FnOnce(&mut Sight)) -> Touch {
        change(&mut self.changes);
        self
    }
}

impl State {
    /// What a moment has to do with.
    pub fn touch(&self, moment: &Moment) -> Touch {
        let touch = Touch::default();
        match moment {
            Moment::Never => touch,
            Moment::Refused { step, number, .. } => asked(step, *number),
            Moment::Noted(_) => touch,
            Moment::Found { name, .. } => touch.guests([Some(*name), None]),
            Moment::Power { key, name, .. }
            | Moment::FoundGone { key, name }
            | Moment::Stopped { key, name, .. } => {
                touch.guests([Some(*name), self.name_of_found(*key)])
            }
            Moment::Left { name, .. }
            | Moment::Runs { name, .. }
            | Moment::RunsSeen { name, .. }
            | Moment::Resized { name, .. } => touch.guests([Some(*name), None]),
            Moment::Seen(_) | Moment::SeenAll(_) => Touch {
                sees_all: true,
                ..touch
            },
            Moment::GuestsSeen { .. } => touch.seeing(|see| see.guests = true),
            Moment::VersionsSeen(_) => touch.seeing(|see| see.lives = true),
            Moment::ReadersSeen { number, .. } => {
                touch.version(*number).seeing(|see| see.readers = true)
            }
            Moment::Reserved {
                step,
                number,
                guests,
            } => {
                let names = [guests.first(), guests.get(1)].map(|guest| guest.map(|(n, _)| *n));
                asked(step, *number).guests(names).changing(|change| {
                    change.guests = true;
                    change.readers = true;
                    change.taken = true;
                })
            }
            Moment::Made(name) | Moment::OwnDisk(name) => touch
                .guests([Some(*name), None])
                .changing(|change| change.readers = true),
            Moment::Ready(name) | Moment::Flattened(name) => touch.guests([Some(*name), None]),
            Moment::GuestsFree(names) => {
                touch.guests([names.first().copied(), names.get(1).copied()])
            }
            Moment::Claimed { step, .. } => asked(step, 0).changing(|change| {
                change.guests = true;
                change.readers = matches!(step, Step::Rename { .. });
                change.taken = matches!(step, Step::Rename { .. });
            }),
            Moment::Gone(name) => touch.guests([Some(*name), None]).changing(|change| {
                change.guests = true;
                change.readers = true;
                change.taken = true;
            }),
            Moment::Held(names) | Moment::OneRuns(names) => touch.guests(names.map(Some)),
            Moment::Taken { name, .. } | Moment::Doomed(name) => touch
                .guests([Some(*name), None])
                .changing(|change| change.guests = true),
            Moment::Begun(number) => touch
                .version(*number)
                .seeing(|see| see.lives = true)
                .changing(|change| change.lives = true),
            Moment::Committed { number, .. } => touch
                .version(*number)
                .changing(|change| change.lives = true),
            Moment::Changed { verb, number, .. } => {
                changed(*verb, *number).changing(|change| change.lives = true)
            }
            Moment::Sealing(number) | Moment::VersionFree(number) => touch.version(*number),
        }
    }
}

/// What the answer to a step depends on.
fn asked(step: &Step, number: u32) -> Touch {
    let touch = Touch::default();
    match step {
        Step::Clone { guest, version, .. } => {
            let touch = touch.guests([Some(*guest), None]).seeing(|see| {
                see.taken = true;
                see.lives = version.is_none();
            });
            match version {
                Some(_) => touch.version(number),
                None => touch,
            }
        }
        Step::CloneSome { .. } => touch.seeing(|see| {
            see.taken = true;
            see.lives = true;
        }),
        Step::Rename { guest, to } | Step::RemoveStopped([guest, to]) => {
            touch.guests([Some(*guest), Some(*to)])
        }
        Step::Remove(guest)
        | Step::Trash { guest, .. }
        | Step::BringBack(guest)
        | Step::Start(guest)
        | Step::Stop(guest)
        | Step::Resize { guest, .. }
        | Step::WriteFile(guest)
        | Step::Flatten(guest) => touch.guests([Some(*guest), None]),
        Step::Seal(_) => touch.version(number),
        Step::Change { verb, .. } => changed(*verb, number),
        Step::Gc { .. } | Step::Import { .. } | Step::List => touch,
    }
}

fn changed(verb: Verb, number: u32) -> Touch {
    Touch::default().version(number).seeing(|see| {
        see.readers = verb == Verb::Purge;
        see.lives = verb == Verb::Purge;
    })
}
