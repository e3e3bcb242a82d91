//! Why an operation failed or was refused.

use stampo_core::names::{GuestName, NameError};
use stampo_core::plan::PlanRefusal;
use stampo_driver::DriverError;
use std::path::PathBuf;

/// Why an operation failed or was refused. Display is a fragment that fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Something named in the request does not exist.
    #[error("find {what} {name}")]
    NotFound {
        /// `template`, `version`, `guest` or `operation`.
        what: &'static str,
        /// As the user wrote it.
        name: String,
    },
    /// The version that a channel pointed to can't be used any more, and there was none before.
    #[error("find a version in {channel}: it points to none, since {why}")]
    EmptyChannel {
        /// `web:stable`.
        channel: String,
        /// What happened.
        why: String,
    },
    /// A rule of the lifecycle forbids it.
    #[error("change {label}")]
    Refused {
        /// `name@N`.
        label: String,
        /// The rule.
        source: stampo_core::lifecycle::Refusal,
    },
    /// The site's policy forbids it.
    #[error("use {label}: the site's policy forbids it: {why}")]
    Policy {
        /// `name@N`.
        label: String,
        /// The checks.
        why: String,
    },
    /// The site's approval settings forbid it.
    #[error("{act} {label}: {why}")]
    Approval {
        /// What was tried.
        act: &'static str,
        /// `name@N`, or what else it is about.
        label: String,
        /// Who or what is missing, and what to do.
        why: String,
    },
    /// The plan was refused; nothing was reserved.
    #[error("plan the clones")]
    Plan(#[from] PlanRefusal),
    /// It does not fit the present state.
    #[error("{act}: {why}")]
    Conflict {
        /// What was tried.
        act: String,
        /// What stands in the way, and what to do.
        why: String,
    },
    /// The request makes no sense.
    #[error("{act}: {why}")]
    Usage {
        /// What was tried.
        act: String,
        /// What is wrong with it.
        why: String,
    },
    /// Linked clones read these bytes.
    #[error("remove the image of {label}: {} linked clones read it: {}", clones.len(), names(clones))]
    HasLinkedClones {
        /// `name@N`.
        label: String,
        /// The clones.
        clones: Vec<GuestName>,
    },
    /// The clone is not proven unique; it was destroyed.
    #[error("prove {guest} unique: {what}")]
    Duplicate {
        /// The guest.
        guest: GuestName,
        /// The items and who else holds them.
        what: String,
    },
    /// An instant clone did not become what it was told; it was destroyed.
    #[error("prove {guest} to be a machine of its own: {what}")]
    Unproven {
        /// The guest.
        guest: GuestName,
        /// What is missing.
        what: String,
    },
    /// It was done to some guests, and not to others.
    #[error("{act} {failed} of {all} guests: {first}")]
    Partial {
        /// A verb.
        act: &'static str,
        /// How many failed.
        failed: usize,
        /// How many were asked for.
        all: usize,
        /// The first failure.
        first: String,
    },
    /// It was cancelled; nothing of it remains.
    #[error("finish: it was cancelled, and what it had made is gone")]
    Cancelled,
    /// A scrub was cancelled. It makes nothing that could be taken back.
    #[error("finish: it was cancelled; what was mended or put into quarantine until then stays so")]
    ScrubCancelled,
    /// The bytes on disk are not what was recorded.
    #[error("trust the image of {label}: {why}")]
    Rot {
        /// `name@N`.
        label: String,
        /// What was found.
        why: String,
    },
    /// Something of the store is not as it was written.
    #[error("find the store whole: {found}")]
    Damage {
        /// What was found, with the versions and the clones.
        found: String,
    },
    /// A file of the host.
    #[error("{act} {}", path.display())]
    Io {
        /// A verb.
        act: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another room failed.
    #[error("{act}")]
    Room {
        /// What was tried.
        act: String,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No agent in a running guest answers.
    #[error("reach an agent in {guest} within {} s", waited.as_secs())]
    Silent {
        /// The guest.
        guest: GuestName,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
    /// The driver failed.
    #[error("run the guest")]
    Driver(#[from] DriverError),
    /// The catalog failed.
    #[error(transparent)]
    Store(#[from] stampo_store::StoreError),
    /// What is known of the inside of images failed.
    #[error(transparent)]
    Inside(#[from] stampo_store::InsideError),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl stampo_store::TransactionError for EngineError {
    fn in_catalog(self, path: &std::path::Path) -> Self {
        match self {
            EngineError::Store(error) => EngineError::Store(error.in_catalog(path)),
            other => other,
        }
    }
}

fn names(guests: &[GuestName]) -> String {
    let shown: Vec<&str> = guests.iter().take(10).map(GuestName::as_str).collect();
    let rest = guests.len().saturating_sub(shown.len());
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

impl EngineError {
    /// How a cancelled operation of this kind ends.
    pub(crate) fn cancelled(kind: &str) -> EngineError {
        match kind {
            "scrub" => EngineError::ScrubCancelled,
            _ => EngineError::Cancelled,
        }
    }

    /// What it means that `failures` came of `act` on `all` guests.
    pub(crate) fn of_some(
        act: &'static str,
        failures: Vec<EngineError>,
        all: usize,
    ) -> Result<(), EngineError> {
        let failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(()),
            Some(first) if failed == all => Err(first),
            Some(first) => Err(EngineError::Partial {
                act,
                failed,
                all,
                first: first.chain(),
            }),
        }
    }

    /// Wraps another room's error with what was tried.
    pub(crate) fn room<E>(act: impl Into<String>) -> impl FnOnce(E) -> EngineError
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let act = act.into();
        move |source| EngineError::Room {
            act,
            source: source.into(),
        }
    }

    /// Wraps an error of the host's file system.
    pub(crate) fn io(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> EngineError {
        let path = path.into();
        move |source| EngineError::Io { act, path, source }
    }

    /// Names the guest that a driver's error is about as its users know it, and the next command.
    pub(crate) fn in_guest(guest: &GuestName) -> impl FnOnce(DriverError) -> EngineError {
        let guest = guest.clone();
        move |error| match error {
            DriverError::NotRunning(_) => EngineError::Conflict {
                act: format!("reach {guest}"),
                why: format!("it is not running; start it: stampo start {guest}"),
            },
            DriverError::AgentSilent { waited, .. } => EngineError::Silent { guest, waited },
            DriverError::Refused(why) => EngineError::Conflict {
                act: format!("have the agent in {guest} do it"),
                why,
            },
            error => EngineError::Driver(error),
        }
    }

    /// Whether a rule forbids it, or somebody was faster: nothing was tried.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            EngineError::NotFound { .. }
                | EngineError::EmptyChannel { .. }
                | EngineError::Conflict { .. }
                | EngineError::Refused { .. }
                | EngineError::HasLinkedClones { .. }
        )
    }

    /// Names the file of the host that was being edited when something inside of it failed.
    pub(crate) fn editing(path: &std::path::Path) -> impl FnOnce(EngineError) -> EngineError {
        EngineError::room(format!("edit {}", path.display()))
    }

    /// The error and its sources as one line, for a row of the catalog.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its sources as one line. A source that its error already ends with is not repeated.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
