//! From the engine's errors to problems: the kind decides the exit code, the hint the next command.

use stampo_api::{Kind, Problem};
use stampo_core::lifecycle::{Refusal, State};
use stampo_core::plan::PlanRefusal;
use stampo_driver::DriverError;
use stampo_engine::EngineError;
use stampo_store::StoreError;

/// The problem that an error describes.
pub(crate) fn problem(error: &EngineError) -> Problem {
    let mut problem = Problem::from_error(kind(error), error);
    problem.hints = hints(error);
    problem
}

fn kind(error: &EngineError) -> Kind {
    match error {
        EngineError::NotFound { .. } => Kind::NotFound,
        EngineError::Refused { .. }
        | EngineError::Policy { .. }
        | EngineError::Approval { .. }
        | EngineError::Duplicate { .. }
        | EngineError::Unproven { .. }
        | EngineError::Rot { .. }
        | EngineError::EmptyChannel { .. }
        | EngineError::Damage { .. } => Kind::Denied,
        EngineError::Store(error) if error.is_damage() => Kind::Denied,
        EngineError::Plan(refusal) => plan_kind(refusal),
        EngineError::Conflict { .. } | EngineError::HasLinkedClones { .. } => Kind::Conflict,
        EngineError::Usage { .. } | EngineError::Name(_) => Kind::Usage,
        EngineError::Partial { .. } => Kind::Partial,
        EngineError::Cancelled | EngineError::ScrubCancelled => Kind::Cancelled,
        EngineError::Driver(error) => driver_kind(error),
        EngineError::Io { .. }
        | EngineError::Room { .. }
        | EngineError::Silent { .. }
        | EngineError::Store(_)
        | EngineError::Inside(_) => Kind::Failed,
    }
}

fn plan_kind(refusal: &PlanRefusal) -> Kind {
    match refusal {
        PlanRefusal::NotClonable { .. } => Kind::Denied,
        PlanRefusal::NameTaken(_)
        | PlanRefusal::NoSpace { .. }
        | PlanRefusal::NoPorts(_)
        | PlanRefusal::NotFrozen(_)
        | PlanRefusal::MemoryUnfit { .. }
        | PlanRefusal::NoMemory { .. } => Kind::Conflict,
        _ => Kind::Usage,
    }
}

fn driver_kind(error: &DriverError) -> Kind {
    match error {
        DriverError::NotFound(_) => Kind::NotFound,
        DriverError::NotRunning(_) | DriverError::Busy { .. } => Kind::Conflict,
        _ => Kind::Failed,
    }
}

fn hints(error: &EngineError) -> Vec<String> {
    let one = |hint: &str| vec![hint.to_owned()];
    match error {
        EngineError::NotFound { what: "guest", .. } => one("stampo ps --all"),
        EngineError::NotFound {
            what: "operation", ..
        } => one("stampo operation ls"),
        EngineError::NotFound {
            what: "finding", ..
        } => one("stampo template verify NAME@N"),
        EngineError::NotFound { what: "pool", .. } => one("stampo pool ls"),
        EngineError::NotFound {
            what: "channel", ..
        } => one("stampo template channel ls"),
        EngineError::NotFound { what: "report", .. } => one("stampo policy reports"),
        EngineError::NotFound {
            what: "exception", ..
        } => one("stampo policy exceptions"),
        EngineError::NotFound { .. } => one("stampo template ls --all"),
        EngineError::Policy { label, .. } => vec![
            format!("stampo policy check {label}"),
            "stampo policy accept CHECK --version NAME@N --owner WHO --reason TEXT --until DATE"
                .to_owned(),
        ],
        EngineError::Approval { act, label, .. } => match *act {
            "trust" => Vec::new(),
            _ if label.contains('@') => vec![
                format!("stampo template show {label}"),
                "stampo approval show".to_owned(),
            ],
            _ => one("stampo approval show"),
        },
        EngineError::Refused { label, source } => refusal_hints(label, source),
        EngineError::Plan(PlanRefusal::NotClonable { label, state, .. }) => match state {
            State::Draft => vec![format!("stampo template seal {label}")],
            State::Sealed => vec![format!("stampo template publish {label}")],
            State::Deprecated | State::Obsolete | State::Revoked => {
                vec![
                    format!("stampo template show {label}"),
                    "stampo template ls".to_owned(),
                ]
            }
            _ => one("stampo template ls"),
        },
        EngineError::EmptyChannel { channel, .. } => vec![
            format!("stampo template channel history {channel}"),
            format!("stampo template channel set {channel} NAME@N"),
        ],
        EngineError::Plan(PlanRefusal::NameTaken(name)) => {
            vec![
                format!("stampo show {name}"),
                "use a pattern, as in 'app-{n}'".to_owned(),
            ]
        }
        EngineError::Plan(PlanRefusal::NoSpace { .. }) => {
            vec!["use --linked".to_owned(), "stampo gc --dry-run".to_owned()]
        }
        EngineError::Plan(PlanRefusal::NotFrozen(label)) => {
            vec![format!("stampo template freeze {label}")]
        }
        EngineError::Plan(PlanRefusal::MemoryUnfit { label, .. }) => vec![
            format!("stampo template freeze {label}, which makes its memory image anew"),
            "--instant, which makes linked clones that boot where there can be no others"
                .to_owned(),
        ],
        EngineError::Plan(PlanRefusal::NoMemory { .. }) => {
            vec!["stampo ps".to_owned(), "use --overcommit-memory".to_owned()]
        }
        EngineError::HasLinkedClones { clones, .. } => {
            let names: Vec<&str> = clones.iter().map(|name| name.as_str()).collect();
            vec![format!("stampo clone flatten {}", names.join(" "))]
        }
        EngineError::Partial { act: "remove", .. } => {
            one("stampo ps --all, which goes on with the rest")
        }
        EngineError::Partial { .. } => one("stampo ps, and the same command for the missing ones"),
        EngineError::Store(error) if error.is_damage() => damage_hints(error),
        EngineError::Store(StoreError::NotWritable { .. }) => {
            one("make the home writable for you, or name another one with --home DIR")
        }
        EngineError::Silent { guest, .. } => vec![
            format!("stampo logs {guest}"),
            format!("stampo console {guest}"),
        ],
        EngineError::Driver(_) => one("stampo doctor"),
        _ => Vec::new(),
    }
}

fn damage_hints(error: &StoreError) -> Vec<String> {
    let replace = "stampo store rescan --replace-damaged, which moves catalog.db away and \
                   rebuilds it";
    let scrub = "stampo store scrub, which mends single rows";
    // A scrub refuses a file whose pages do not fit together.
    match error {
        StoreError::Open { .. } | StoreError::Corrupt { .. } => vec![replace.to_owned()],
        error if error.is_damage_of_file() => vec![replace.to_owned()],
        _ => vec![scrub.to_owned(), replace.to_owned()],
    }
}

fn refusal_hints(label: &str, refusal: &Refusal) -> Vec<String> {
    match refusal {
        Refusal::NoProof => vec![format!("stampo template verify {label}")],
        Refusal::OpenFindings(_) => vec![
            format!("stampo template verify {label}"),
            format!("stampo template accept {label} FINDING --reason TEXT"),
        ],
        Refusal::NotInThisState {
            from: State::Draft, ..
        } => vec![format!("stampo template seal {label}")],
        Refusal::Held => vec![format!("stampo template release {label}")],
        Refusal::EndOfLife => vec![format!("stampo template end-of-life {label} DATE")],
        Refusal::RevokedAncestor => vec![
            format!("stampo template show {label}"),
            "build it again from a version that is not revoked".to_owned(),
        ],
        Refusal::NotApproved => vec![
            format!("stampo template show {label}"),
            format!("stampo template submit {label}, and stampo template approve {label}"),
        ],
        Refusal::NotInThisState { .. } | Refusal::HasLinkedClones(_) => {
            vec![format!("stampo template show {label}")]
        }
    }
}
