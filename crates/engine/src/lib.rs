//! The engine: one file per operation, the runner that carries it out, and recovery.
//!
//! There is no saga engine. An operation is a row and each guest is a row. The intent, with every
//! id, name, MAC and path, is committed before any side effect. Each step is an `ensure_…` that can
//! be repeated, followed by one row update. A failure only moves a row to *destroying*, which walks
//! by the names in the row. Starting up *is* recovery: [`Engine::recover`] runs the same steps
//! for whatever a dead process left.

mod approval;
mod audit;
mod boot;
mod born;
mod build;
mod capture;
mod change;
mod channel;
mod clone;
mod download_lock;
mod drift;
mod edit;
mod engine;
mod error;
mod evidence;
mod exec;
mod fault;
mod flatten;
mod freeze;
mod gc;
mod govern;
mod guest_io;
mod guest_op;
mod images;
mod import;
mod inside;
mod instant;
mod lease;
mod parallel;
mod passport;
mod policy;
mod pool;
mod power;
mod reconcile;
mod remove;
mod replace;
mod rescan;
mod retention;
mod scrub;
mod seal;
mod sidecar;
mod tend;
mod turns;
mod verify;
mod version;
mod work;

pub use approval::{
    ApprovalStanding, SaidOf, Spoken, ToSay, in_words as decision_in_words, verify_bundle,
};
pub use audit::{AuditFault, AuditVerified, Checkpoint};
pub use boot::{Boot, Teller};
pub use build::Build;
pub use capture::Capture;
pub use change::Resize;
pub use drift::{Blocks, DriftOptions, DriftVerdict, GuestDrift};
pub use engine::{Engine, Settings};
pub use error::EngineError;
pub use exec::{GuestCommand, Streams};
pub use fault::Faults;
pub use flatten::Flatten;
pub use freeze::{Freeze, Frozen};
pub use gc::{Subject, SubjectKind};
pub use govern::{Enforced, Governed, Mark, MovedBack};
pub use guest_io::FILE_LIMIT_BYTES;
pub use import::{Import, ImportSource};
pub use inside::{
    BomForm, CveReport, Difference, Loaded, PackageVerdict, Scanned, Updates, VersionVerdict,
};
pub use lease::{GuestLeases, LeaseWarning, LeasesTended, TRASH_GRACE};
pub use passport::{PassportOf, Source};
pub use policy::{PolicyReport, Rechecked, Replay};
pub use pool::{Agreed, PoolChange, PoolStatus, Taken};
pub use reconcile::Recovered;
pub use remove::Removal;
pub use rescan::Rescanned;
pub use retention::Retained;
pub use scrub::{Damage, DamageOutcome, DamagedThing, Scrub, ScrubOptions, ScrubReport};
pub use seal::Seal;
#[doc(hidden)]
pub use sidecar::rewritten_sidecars;
pub use stampo_guest::drift::{Class as DriftClass, Finding as DriftFound};
pub use stampo_inventory::advisories::Verdict;
pub use stampo_inventory::end_of_life::{Dates, EndOfLife};
pub use tend::Tending;
pub use verify::Verify;
pub use work::{Unwatched, Watch, Work};
