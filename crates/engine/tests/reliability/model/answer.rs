//! What a command said, reduced to what the model can judge, and the record of one step.
//!
//! A text that is not known here becomes [`Answer::Strange`], which nothing explains: a new message
//! or an error that no user should see fails the test until someone has looked at it.

use super::state::{Held, Phase, State, parse, short, short_id};
use super::step::{Name, Step};
use serde::{Deserialize, Serialize};
use stampo_core::guest::GuestState;
use stampo_core::lifecycle::{Refusal as Rule, State as Life, Verb};
use stampo_core::plan::PlanRefusal;
use stampo_driver::DriverError;
use stampo_engine::{EngineError, Subject, SubjectKind};
use stampo_store::{GuestRow, VersionRow};

/// One step of one process, as it happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What was asked.
    pub step: Step,
    /// The number of the version that it meant; 0 when it means none.
    pub number: u32,
    /// When it was asked, on the clock that all processes share, in nanoseconds.
    pub asked_ns: u64,
    /// When it was answered.
    pub answered_ns: u64,
    /// Whether it had claimed a guest.
    pub claimed: bool,
    /// The answer.
    pub answer: Answer,
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done, and there is nothing more to say.
    Done,
    /// These guests, with their ids, were made of this version.
    Cloned {
        /// Its number.
        version: u32,
        /// Names and ids.
        guests: Vec<(Name, u64)>,
    },
    /// This version is in this state now.
    Version {
        /// Its number.
        number: u32,
        /// Its state.
        life: Life,
        /// Its image.
        image: Option<u64>,
    },
    /// What collection looked at and what became of it.
    Collected(Vec<Collected>),
    /// It runs no more; whether it ran.
    Stopped {
        /// It did.
        ran: bool,
    },
    /// Everything that the catalog has, as one moment had it.
    Listed(State),
    /// Everything at the end, with which guests run.
    Ended(State),
    /// It was refused.
    Refused(Refusal),
    /// What no step should ever be told.
    Strange(String),
}

/// One subject of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Collected {
    /// A guest that was looked at, in this state (trashed or any other).
    Guest {
        name: Name,
        id: u64,
        trashed: bool,
        fate: Fate,
    },
    /// A version that was looked at; `retired` or any other state.
    Version {
        number: u32,
        retired: bool,
        fate: Fate,
    },
}

/// What became of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It was not to go.
    Stays,
    /// These guests read it.
    Read(Vec<Name>),
    /// It went.
    Went,
    /// It was to go, and something else came first.
    Failed,
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such guest.
    NoGuest,
    /// There is no such version, or none that may be cloned.
    NoVersion,
    /// An operation of this kind holds the guest or the version.
    Busy(Held),
    /// The guest is in this state, not in the one that was needed.
    Is(GuestPhase),
    /// The guest is not complete, or removed.
    Unready,
    /// It runs.
    Runs,
    /// It does not run, or is gone by now.
    NotRunning,
    /// It is a full clone already.
    Full,
    /// A guest has the name, or a renamed one has it inside.
    Taken(Name),
    /// The version may not be cloned.
    NotClonable(Life),
    /// The lifecycle has no such transition.
    NotInThisState(Verb, Life),
    /// These guests read its image.
    HasLinkedClones(Vec<Name>),
}

/// A guest's state in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestPhase {
    Ready,
    Trashed,
}

impl GuestPhase {
    /// As a refusal tells it.
    pub fn of(phase: Phase) -> Option<GuestPhase> {
        match phase {
            Phase::Ready => Some(GuestPhase::Ready),
            Phase::Trashed { .. } => Some(GuestPhase::Trashed),
            Phase::Making | Phase::Made | Phase::Destroying => None,
        }
    }
}

impl Answer {
    /// Of cloning.
    pub fn cloned(version: u32, rows: &[GuestRow]) -> Answer {
        let guests = rows.iter();
        let guests = guests.map(|row| (parse(row.name.as_str()).unwrap_or(Name(0)), short_id(row)));
        Answer::Cloned {
            version,
            guests: guests.collect(),
        }
    }

    /// Of whatever gives a version.
    pub fn version(row: &VersionRow) -> Answer {
        Answer::Version {
            number: row.number,
            life: row.state,
            image: row.image.as_ref().map(|image| short(image.as_str())),
        }
    }

    /// Of a collection. Images without a version are nothing that the model knows.
    pub fn collected(subjects: &[Subject]) -> Answer {
        let mut collected = Vec::new();
        for subject in subjects {
            let Some(fate) = fate(subject) else {
                return Answer::Strange(format!("gc: {}: {}", subject.name, subject.reason));
            };
            let stays = fate == Fate::Stays;
            match &subject.kind {
                SubjectKind::Guest(id) => collected.push(Collected::Guest {
                    name: parse(&subject.name).unwrap_or(Name(0)),
                    id: short(&id.to_string()),
                    trashed: !stays || subject.reason.starts_with("removed"),
                    fate,
                }),
                SubjectKind::Version(_) => collected.push(Collected::Version {
                    number: number(&subject.name),
                    retired: !stays || subject.reason.starts_with(Life::Retired.as_str()),
                    fate,
                }),
                SubjectKind::Image(_) | SubjectKind::Staging => {}
            }
        }
        Answer::Collected(collected)
    }

    /// Of whatever failed.
    pub fn failed(error: &EngineError) -> Answer {
        match refusal(error) {
            Some(refusal) => Answer::Refused(refusal),
            None => Answer::Strange(error.chain()),
        }
    }
}

fn fate(subject: &Subject) -> Option<Fate> {
    if subject.goes {
        return Some(Fate::Went);
    }
    if let Some(rest) = subject.reason.strip_prefix("read by ") {
        let names = rest.split_once(':').map_or(rest, |(names, _)| names);
        return names
            .split(", ")
            .map(parse)
            .collect::<Option<_>>()
            .map(Fate::Read);
    }
    let Some(why) = subject.reason.strip_prefix("it could not go: ") else {
        return Some(Fate::Stays);
    };
    let known = [
        "is going on",
        "find guest g-",
        "linked clones read it",
        "change web@",
        ", not ",
        "by now it is ",
    ];
    known
        .iter()
        .any(|part| why.contains(part))
        .then_some(Fate::Failed)
}

fn refusal(error: &EngineError) -> Option<Refusal> {
    match error {
        EngineError::NotFound { what: "guest", .. } => Some(Refusal::NoGuest),
        EngineError::NotFound {
            what: "version" | "template" | "a published version of",
            ..
        } => Some(Refusal::NoVersion),
        EngineError::Conflict { why, .. } => conflict(why),
        EngineError::Plan(PlanRefusal::NameTaken(name)) => parse(name.as_str()).map(Refusal::Taken),
        EngineError::Plan(PlanRefusal::NotClonable { state, .. }) => {
            Some(Refusal::NotClonable(*state))
        }
        EngineError::Refused {
            source: Rule::NotInThisState { verb, from },
            ..
        } => Some(Refusal::NotInThisState(*verb, *from)),
        EngineError::Driver(DriverError::NotRunning(_) | DriverError::NotFound(_)) => {
            Some(Refusal::NotRunning)
        }
        EngineError::HasLinkedClones { clones, .. } => {
            let names = clones.iter().map(|name| parse(name.as_str()));
            names.collect::<Option<_>>().map(Refusal::HasLinkedClones)
        }
        _ => None,
    }
}

/// The conflicts that steps can meet, by their text.
fn conflict(why: &str) -> Option<Refusal> {
    if let Some((before, _)) = why.split_once(" is going on;") {
        let kind = before.strip_prefix("its ");
        let kind = kind.or_else(|| before.strip_prefix("a ")?.strip_suffix(" of it"));
        return Held::named(kind?).map(Refusal::Busy);
    }
    if why == "it is a full clone already" {
        return Some(Refusal::Full);
    }
    if why.starts_with("it runs; stop it first") {
        return Some(Refusal::Runs);
    }
    if let Some(rest) = why.strip_prefix("a guest named ") {
        return parse(rest.strip_suffix(" exists")?).map(Refusal::Taken);
    }
    let is = why.strip_prefix("it is ")?;
    let Some((is, _)) = is.split_once(", not ") else {
        return is.parse::<GuestState>().ok().map(|_| Refusal::Unready);
    };
    match is.parse::<GuestState>().ok()? {
        GuestState::Ready => Some(Refusal::Is(GuestPhase::Ready)),
        GuestState::Trashed => Some(Refusal::Is(GuestPhase::Trashed)),
        _ => None,
    }
}

/// The number in `web@N`.
fn number(label: &str) -> u32 {
    let number = label.rsplit_once('@').and_then(|(_, n)| n.parse().ok());
    number.unwrap_or_default()
}
