//! Opening the service over a home directory, and tidying up after processes that died.

use crate::govern;
use crate::local::Local;
use crate::problem::problem;
use crate::tender;
use stampo_api::{Api, Kind, Problem};
use stampo_driver::Driver;
use stampo_driver_qemu::{Options, QemuDriver};
use stampo_engine::{Engine, EngineError, MovedBack, Rechecked, Recovered, Retained, Settings};
use stampo_store::OperationState;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The API, and what was tidied up, for the user to know.
pub struct Opened {
    /// The API.
    pub api: Box<dyn Api>,
    /// Notes.
    pub notes: Vec<String>,
}

/// What the service is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Anything.
    Work,
    /// Looking for damage: a recovery that damage stops is no reason to stop.
    Scrub,
    /// Bringing back what the catalog does not know.
    Rescan,
    /// As that, with a new catalog in place of a damaged one.
    ReplaceCatalog,
}

/// Opens the service over `home`, or over the user's own directory.
pub fn open(home: Option<PathBuf>, purpose: Purpose) -> Result<Opened, Problem> {
    let (engine, mut notes) = engine(home, purpose)?;
    let is_needed =
        purpose == Purpose::Work && engine.needs_tending().map_err(|error| problem(&error))?;
    // No reason to refuse a command: it may be the one that makes room, or ends what is to be tended.
    if is_needed && let Err(failed) = tender::ensure(engine.home()) {
        notes.push(format!("note: failed to {}", failed.message));
    }
    Ok(Opened {
        api: Box::new(Local::new(engine)),
        notes,
    })
}

/// Tends pools and leases of `home` for as long as there are any, unless another process does.
pub fn tend(home: Option<PathBuf>) -> Result<(), Problem> {
    let (engine, _) = engine(home, Purpose::Work)?;
    tender::stay(&Arc::new(engine))
}

/// An engine over `home`, and notes of what was tidied up.
fn engine(home: Option<PathBuf>, purpose: Purpose) -> Result<(Engine, Vec<String>), Problem> {
    let home = absolute(&home.map_or_else(default_home, Ok)?)?;
    let failed = |act: &str, error: &(dyn std::error::Error + 'static)| {
        let mut found = Problem::from_error(Kind::Failed, error);
        found.message = format!("{act}: {}", found.message);
        found
    };
    let guests = home.join("guests");
    let made = |error| failed("make the home directory", &error).hint("stampo --home DIR …");
    stampo_image::durable::ensure_dir(&home, 0o700).map_err(made)?;
    crate::home::check(&home)?;
    stampo_image::durable::ensure_dir(&guests, 0o700).map_err(made)?;
    let options = Options {
        cache_dir: Some(home.clone()),
        ..Options::default()
    };
    let driver =
        QemuDriver::open(&guests, options).map_err(|error| failed("open the driver", &error))?;
    let driver: Arc<dyn Driver> = Arc::new(driver);
    let settings = Settings {
        actor: actor(),
        ..Settings::default()
    };
    let mut notes = Vec::new();
    if purpose == Purpose::ReplaceCatalog {
        let moved = Engine::move_damaged_catalog(&home).map_err(|error| problem(&error))?;
        notes.push(format!("note: the damaged catalog is {}", moved.display()));
    }
    let engine = Engine::open(&home, driver, settings).map_err(|error| problem(&error))?;
    notes.extend(full_disk(&engine));
    match engine.recover() {
        Ok(recovered) => notes.extend(recovered.iter().map(note)),
        Err(EngineError::Store(error)) if purpose == Purpose::Scrub && error.is_damage() => {
            notes.push(format!("note: nothing was tidied up: {error}"));
        }
        Err(error) => return Err(problem(&error)),
    }
    if purpose == Purpose::Work {
        notes.extend(lost_catalog(&engine));
        notes.extend(enforce(&engine)?);
    }
    Ok((engine, notes))
}

/// Does what dates ask for, and moves channels away from what can't be used: what was done.
pub(crate) fn enforce(engine: &Engine) -> Result<Vec<String>, Problem> {
    let mut notes = Vec::new();
    for done in engine.enforce().map_err(|error| problem(&error))? {
        let version = &done.governed.version;
        let label = version.label();
        notes.push(format!(
            "note: {label} is {} now, as its date said",
            version.state
        ));
        notes.extend(done.governed.channels.into_iter().map(moved_back));
    }
    // No reason to refuse a command: the next one comes by, and the records are there.
    if let Err(error) = engine.checkpoint_if_due() {
        notes.push(format!("note: failed to {}", problem(&error).message));
    }
    let settled = engine.settle_channels().map_err(|error| problem(&error))?;
    notes.extend(settled.into_iter().map(moved_back));
    // No reason to refuse a command: it may be the one that sets other rules.
    match engine.apply_retention_when_due() {
        Ok(done) => notes.extend(done.into_iter().map(retained)),
        Err(error) => {
            let why = problem(&error).message;
            notes.push(format!("note: retention was not applied: {why}"));
        }
    }
    // No reason to refuse a command: it may be the one that sets another pack.
    match engine.recheck_when_due() {
        Ok(rechecked) => notes.extend(rechecked.into_iter().map(come_out_otherwise)),
        Err(error) => {
            let why = problem(&error).message;
            notes.push(format!("note: versions were not judged anew: {why}"));
        }
    }
    Ok(notes)
}

fn retained(one: Retained) -> String {
    let Retained {
        label,
        state,
        fate,
        failed,
    } = one;
    let why = fate.why();
    match failed {
        Some(failed) => format!("note: {label} could not {}: {failed}", fate.what()),
        None => format!("note: {label} is {state}: {why}; see: stampo retention apply --dry-run"),
    }
}

fn come_out_otherwise(one: Rechecked) -> String {
    let what = one.failed.unwrap_or_else(|| one.changes.join(", "));
    let label = one.label;
    format!("note: {label} comes out otherwise today: {what}; see: stampo policy reports {label}")
}

fn moved_back(channel: MovedBack) -> String {
    format!("note: {}", govern::moved(channel))
}

/// A note for a disk that is full.
fn full_disk(engine: &Engine) -> Option<String> {
    let home = engine.home().display();
    engine.store().is_short().then(|| {
        format!(
            "note: no space is left at {home}; the room that was kept for that is given up, so that \
             some can be made: stampo rm, stampo gc --now, stampo template purge"
        )
    })
}

/// A note for a catalog that is new or was emptied, while there is something to bring back.
fn lost_catalog(engine: &Engine) -> Option<String> {
    let is_lost = engine.is_catalog_lost().unwrap_or(false);
    is_lost.then(|| {
        "note: the catalog is empty, and templates or guests lie beside it; bring them back: \
         stampo store rescan"
            .to_owned()
    })
}

fn note(recovered: &Recovered) -> String {
    let Recovered {
        kind,
        subject,
        state,
        error,
    } = recovered;
    match (state, error) {
        (OperationState::Done, None) => {
            format!("note: {kind} {subject}, which was interrupted, is done now")
        }
        (OperationState::Done, Some(error)) => {
            format!(
                "note: {kind} {subject}, which was interrupted, is done now but for this: {error}"
            )
        }
        (_, Some(error)) => format!("note: {kind} {subject} was interrupted: {error}"),
        _ => format!("note: {kind} {subject} was interrupted{}", left_by(kind)),
    }
}

/// What an interrupted operation of this kind leaves, when recovery did not finish it.
fn left_by(kind: &str) -> &'static str {
    match kind {
        "scrub" => "; what it had mended or put into quarantine stays so: stampo store scrub",
        "start" => "; whether the guest runs is shown by: stampo ps",
        "write_file" => "; the file is the old one or the new one, and whole",
        _ => ", and what it had made is gone",
    }
}

fn absolute(home: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(home).map_err(|error| {
        Problem::new(
            Kind::Usage,
            format!("use {} as home: {error}", home.display()),
        )
    })
}

/// `/var/lib/stampo` for root; for others the data directory of the XDG base directory
/// specification.
fn default_home() -> Result<PathBuf, Problem> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/stampo"));
    }
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    match data.or_else(home) {
        Some(dir) => Ok(dir.join("stampo")),
        None => {
            let what = "find a directory to keep things in: HOME is not set";
            Err(Problem::new(Kind::Usage, what).hint("stampo --home DIR …"))
        }
    }
}

/// Who acts, for the audit: the login name, which is a claim, with the user id, which is a fact.
fn actor() -> String {
    let uid = rustix::process::getuid().as_raw();
    let name = std::env::var("USER").unwrap_or_default();
    let clean: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(32)
        .collect();
    if clean.is_empty() {
        format!("local:{uid}")
    } else {
        format!("local:{clean}({uid})")
    }
}

/// An engine error as a problem, recorded in the audit.
pub(crate) fn refused(
    engine: &Engine,
    action: &str,
    resource: &str,
    error: &EngineError,
) -> Problem {
    let found = problem(error);
    let outcome = if found.kind == Kind::Failed {
        "failed"
    } else {
        "refused"
    };
    engine.audit_failure(action, resource, outcome, &error.chain());
    found
}
