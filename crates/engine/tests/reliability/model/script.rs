//! The moments that each answer stands for. What a moment does to a state is in `apply.rs`.
//!
//! ```text
//! clone    reserved ─→ (made ─→ ready) for each guest ─→ let go
//! remove   claimed ─→ gone                      rename, trash, …   claimed and changed ─→ let go
//!          if stopped: held ─→ none runs ─→ doomed ─→ gone
//! flatten  claimed ─→ own disk ─→ let go        import, seal       claimed ─→ committed ─→ let go
//! start    claimed ─→ runs ─→ let go            stop               found ─→ runs no more ─→ noted
//! resize   claimed ─→ sizes ─→ let go           write a file       claimed ─→ let go, or as stop
//! gc       guests seen ─→ versions seen ─→ taken or left, each guest ─→ gone ─→ each version
//! ```
//!
//! The end of an operation is a moment of its own, because until then others are told that the
//! guest or the version is busy. What is not claimed is *found* by its name first, and may have
//! another one, or be gone, when something is done to it.

use super::answer::{Answer, Collected, Fate, Record, Refusal};
use super::state::State;
use super::step::{Name, Step};
use stampo_core::lifecycle::{State as Life, Verb};
use std::collections::BTreeMap;

/// One moment of a step.
#[derive(Debug, Clone)]
pub enum Moment {
    /// Nothing can be like this.
    Never,
    /// The step is refused.
    Refused {
        step: Step,
        number: u32,
        refusal: Refusal,
    },
    /// Everything that the catalog has is like this.
    Seen(Box<State>),
    /// Everything is like this, and which guests run.
    SeenAll(Box<State>),
    /// A step looks a guest up; `ready`: it is complete.
    Found { key: u64, name: Name, ready: bool },
    /// The guest that a step found runs, or does not or is gone; `last`: it asks no more.
    Power {
        key: u64,
        name: Name,
        runs: bool,
        last: bool,
    },
    /// The guest that a step found, if it found one, is gone or on its way out.
    FoundGone { key: u64, name: Name },
    /// The guest that a step found runs no more; whether it ran.
    Stopped { key: u64, name: Name, ran: bool },
    /// What was done is written into the audit.
    Noted(&'static str),
    /// A claimed guest runs from now on, or no more.
    Runs { name: Name, runs: bool },
    /// A claimed guest is seen to run, or not to.
    RunsSeen { name: Name, runs: bool },
    /// A claimed guest has so many processors.
    Resized { name: Name, cpus: u32 },
    /// The guests are these: which are trashed, and what a collection thinks of them.
    GuestsSeen {
        now: bool,
        seen: BTreeMap<Name, (bool, bool)>,
    },
    /// The versions that are not purged are these: which are retired.
    VersionsSeen(BTreeMap<u32, bool>),
    /// A collection takes this guest, which has to be trashed still, and its time over.
    Taken { now: bool, name: Name, id: u64 },
    /// A collection was to take this guest, and finds that it can't.
    Left { now: bool, name: Name, id: u64 },
    /// A retired version is read by these guests, besides some that are about to go.
    ReadersSeen {
        number: u32,
        names: Vec<Name>,
        going: Vec<Name>,
    },
    /// Clones are reserved.
    Reserved {
        step: Step,
        number: u32,
        guests: Vec<(Name, u64)>,
    },
    /// A clone needs its image no more unless it is linked.
    Made(Name),
    /// A clone is complete.
    Ready(Name),
    /// A step holds guests that it may remove.
    Held([Name; 2]),
    /// Of the guests that a step holds, one runs.
    OneRuns([Name; 2]),
    /// A guest that a step holds is removed.
    Doomed(Name),
    /// A step claims a guest and changes its row.
    Claimed { step: Step, name: Name },
    /// A flattened guest has a disk of its own.
    OwnDisk(Name),
    /// It is let go of.
    Flattened(Name),
    /// A guest is gone.
    Gone(Name),
    /// Guests are let go of.
    GuestsFree(Vec<Name>),
    /// A new version is being made.
    Begun(u32),
    /// A version is claimed for sealing.
    Sealing(u32),
    /// The bytes of a version are committed, and it is in this state.
    Committed { number: u32, life: Life, image: u64 },
    /// The state of a version changes.
    Changed { verb: Verb, number: u32, life: Life },
    /// A version is let go of.
    VersionFree(u32),
}

/// The moments of what happened.
pub fn script(record: &Record) -> Vec<Moment> {
    let number = record.number;
    match (&record.step, &record.answer) {
        (_, Answer::Refused(refusal)) => refused(record, refusal),
        (Step::List, Answer::Listed(state)) => vec![Moment::Seen(Box::new(state.clone()))],
        (Step::List, Answer::Ended(state)) => vec![Moment::SeenAll(Box::new(state.clone()))],
        (Step::Start(name), Answer::Done) => held(record, *name, vec![runs(*name, true)]),
        (Step::Stop(name), Answer::Stopped { ran }) => stopped(record.asked_ns, *name, *ran),
        (Step::Resize { guest, cpus }, Answer::Done) => {
            let (name, cpus) = (*guest, *cpus);
            let seen = Moment::RunsSeen { name, runs: false };
            held(record, name, vec![seen, Moment::Resized { name, cpus }])
        }
        (Step::WriteFile(name), Answer::Done) => written(record, *name),
        (Step::Clone { .. } | Step::CloneSome { .. }, Answer::Cloned { version, guests }) => {
            cloned(&record.step, *version, guests)
        }
        (Step::Remove(name), Answer::Done) => removed(*name),
        (Step::RemoveStopped(names), Answer::Done) => removed_if_stopped(*names),
        (Step::Trash { guest, .. }, Answer::Done) => {
            held(record, *guest, vec![runs(*guest, false)])
        }
        (Step::BringBack(guest) | Step::Rename { guest, .. }, Answer::Done) => vec![
            claimed(&record.step, *guest),
            Moment::GuestsFree(vec![renamed(&record.step, *guest)]),
        ],
        (Step::Flatten(guest), Answer::Done) => vec![
            claimed(&record.step, *guest),
            Moment::RunsSeen {
                name: *guest,
                runs: false,
            },
            Moment::OwnDisk(*guest),
            Moment::Flattened(*guest),
        ],
        (
            Step::Import { .. },
            Answer::Version {
                number,
                life,
                image: Some(image),
            },
        ) => born(Moment::Begun(*number), *number, *life, *image),
        (
            Step::Seal(_),
            Answer::Version {
                life,
                image: Some(image),
                ..
            },
        ) => born(Moment::Sealing(number), number, *life, *image),
        (Step::Change { verb, .. }, Answer::Version { life, .. }) => changed(*verb, number, *life),
        (Step::Gc { now }, Answer::Collected(collected)) => collection(*now, collected),
        _ => vec![Moment::Never],
    }
}

impl Moment {
    /// The action that the audit has of it: the order of the audit is the order of these moments,
    /// since each is recorded in the transaction that makes the change.
    pub fn audited(&self) -> Option<&'static str> {
        Some(match self {
            Moment::Reserved { .. } => "clone",
            Moment::Claimed { step, .. } => match step {
                Step::Remove(_) => "remove",
                Step::Trash { .. } => "trash",
                Step::BringBack(_) => "restore_guest",
                Step::Rename { .. } => "rename",
                Step::Flatten(_) => "flatten",
                Step::Start(_) => "start",
                Step::Resize { .. } => "resize",
                Step::WriteFile(_) => "write_file",
                _ => return None,
            },
            Moment::Taken { .. } | Moment::Doomed(_) => "remove",
            Moment::Flattened(_) => "flatten",
            Moment::Noted(action) => action,
            Moment::Begun(_) => "import",
            Moment::Sealing(_) => "seal",
            Moment::Committed {
                life: Life::Draft, ..
            } => "import",
            Moment::Committed { .. } => "sealed",
            Moment::Changed { verb, .. } => verb.as_str(),
            _ => return None,
        })
    }
}

fn claimed(step: &Step, name: Name) -> Moment {
    Moment::Claimed {
        step: step.clone(),
        name,
    }
}

fn runs(name: Name, runs: bool) -> Moment {
    Moment::Runs { name, runs }
}

/// Claimed, these moments, let go.
fn held(record: &Record, name: Name, moments: Vec<Moment>) -> Vec<Moment> {
    let mut script = vec![claimed(&record.step, name)];
    script.extend(moments);
    script.push(Moment::GuestsFree(vec![name]));
    script
}

fn stopped(key: u64, name: Name, ran: bool) -> Vec<Moment> {
    vec![
        found(key, name, true),
        Moment::Stopped { key, name, ran },
        Moment::Noted("stop"),
    ]
}

fn found(key: u64, name: Name, ready: bool) -> Moment {
    Moment::Found { key, name, ready }
}

/// On the disk of a guest that does not run, or through the agent of one that does.
fn written(record: &Record, name: Name) -> Vec<Moment> {
    match record.claimed {
        true => {
            let seen = Moment::RunsSeen { name, runs: false };
            held(record, name, vec![seen])
        }
        false => through_agent(record.asked_ns, name, true),
    }
}

/// `runs`: it does so still when the agent is asked.
fn through_agent(key: u64, name: Name, runs: bool) -> Vec<Moment> {
    let power = |runs, last| Moment::Power {
        key,
        name,
        runs,
        last,
    };
    vec![
        found(key, name, true),
        power(true, false),
        Moment::Noted("write_file"),
        power(runs, true),
    ]
}

fn refused(record: &Record, refusal: &Refusal) -> Vec<Moment> {
    let key = record.asked_ns;
    match (&record.step, refusal) {
        (Step::Resize { guest: name, .. } | Step::Flatten(name), Refusal::Runs)
            if !record.claimed =>
        {
            let (name, runs, last) = (*name, true, true);
            let power = Moment::Power {
                key,
                name,
                runs,
                last,
            };
            vec![found(key, name, false), power]
        }
        (Step::RemoveStopped(names), Refusal::Runs) => vec![
            Moment::Held(*names),
            Moment::OneRuns(*names),
            Moment::GuestsFree(Name::in_order(*names)),
        ],
        // It was started before the claim.
        (
            Step::Resize { guest: name, .. } | Step::Flatten(name) | Step::WriteFile(name),
            Refusal::Runs,
        ) => {
            let seen = Moment::RunsSeen {
                name: *name,
                runs: true,
            };
            held(record, *name, vec![seen])
        }
        (Step::WriteFile(name), Refusal::NotRunning) => through_agent(key, *name, false),
        (Step::Stop(name), Refusal::NoGuest) => {
            let name = *name;
            vec![found(key, name, false), Moment::FoundGone { key, name }]
        }
        _ => vec![Moment::Refused {
            step: record.step.clone(),
            number: record.number,
            refusal: refusal.clone(),
        }],
    }
}

fn renamed(step: &Step, guest: Name) -> Name {
    match step {
        Step::Rename { to, .. } => *to,
        _ => guest,
    }
}

fn cloned(step: &Step, number: u32, guests: &[(Name, u64)]) -> Vec<Moment> {
    let mut script = vec![Moment::Reserved {
        step: step.clone(),
        number,
        guests: guests.to_vec(),
    }];
    for (name, _) in guests {
        script.extend([Moment::Made(*name), Moment::Ready(*name)]);
    }
    let names = guests.iter().map(|(name, _)| *name);
    script.push(Moment::GuestsFree(names.collect()));
    script
}

fn removed(name: Name) -> Vec<Moment> {
    vec![claimed(&Step::Remove(name), name), Moment::Gone(name)]
}

/// None can be started while it is held, so each is asked once.
fn removed_if_stopped(names: [Name; 2]) -> Vec<Moment> {
    let each = Name::in_order(names);
    let seen = each.iter().map(|name| Moment::RunsSeen {
        name: *name,
        runs: false,
    });
    let doomed = each.iter().copied().map(Moment::Doomed);
    let gone = each.iter().copied().map(Moment::Gone);
    let held = std::iter::once(Moment::Held(names));
    held.chain(seen).chain(doomed).chain(gone).collect()
}

fn born(begun: Moment, number: u32, life: Life, image: u64) -> Vec<Moment> {
    let committed = Moment::Committed {
        number,
        life,
        image,
    };
    vec![begun, committed, Moment::VersionFree(number)]
}

fn changed(verb: Verb, number: u32, life: Life) -> Vec<Moment> {
    let changed = Moment::Changed { verb, number, life };
    vec![changed, Moment::VersionFree(number)]
}

fn collection(now: bool, collected: &[Collected]) -> Vec<Moment> {
    let mut guests = BTreeMap::new();
    let mut versions = BTreeMap::new();
    let mut going = Vec::new();
    let mut taken = Vec::new();
    let mut gone = Vec::new();
    let mut readers = Vec::new();
    let mut removals = Vec::new();
    for subject in collected {
        match subject {
            Collected::Guest {
                name,
                id,
                trashed,
                fate,
            } => {
                let (name, id) = (*name, *id);
                let goes = matches!(fate, Fate::Went | Fate::Failed);
                guests.insert(name, (*trashed, goes));
                going.extend(goes.then_some(name));
                match fate {
                    Fate::Went => {
                        taken.push(Moment::Taken { now, name, id });
                        gone.push(Moment::Gone(name));
                    }
                    Fate::Failed => taken.push(Moment::Left { now, name, id }),
                    Fate::Stays | Fate::Read(_) => {}
                }
            }
            Collected::Version {
                number,
                retired,
                fate,
            } => {
                versions.insert(*number, *retired);
                match fate {
                    Fate::Went => removals.extend(changed(Verb::Purge, *number, Life::Purged)),
                    Fate::Read(names) => readers.push((*number, names.clone())),
                    Fate::Stays | Fate::Failed => {}
                }
            }
        }
    }
    let mut script = vec![
        Moment::GuestsSeen { now, seen: guests },
        Moment::VersionsSeen(versions),
    ];
    let read = readers
        .into_iter()
        .map(|(number, names)| Moment::ReadersSeen {
            number,
            names,
            going: going.clone(),
        });
    script.extend(read.chain(taken).chain(gone).chain(removals));
    script
}
