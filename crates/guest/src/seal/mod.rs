//! Sealing a guest disk: taking away everything that two clones must not share.
//!
//! ```text
//! items (a table) ──┐
//! guest (read once) ├─ planner ─→ plan (data, printable) ─→ apply ─→ discard ─→ residue
//! selection ────────┘
//! ```
//!
//! The table says what is looked for and what is done with it; the planner only reads; `apply`
//! decides nothing. What a guest does not make again by itself, a small unit makes at its first
//! boot (`firstboot.rs`). What forks of a frozen machine need, the agent does (`agent.rs`). The proof (`proof/`) judges the result with knowledge of its own.

pub mod agent;
mod apply;
mod decide;
mod disk;
pub mod firstboot;
mod guest;
pub mod items;
mod needles;
mod pattern;
mod plan;
mod planner;
pub mod proof;
mod rewrite;
mod selection;

pub use apply::apply;
pub use disk::{Leftover, SealError, SealOptions, SealOutcome, SealTimes, plan_disk, seal_disk};
pub use guest::Guest;
pub use items::{Action, Area, SealItem, items};
pub use needles::{NEEDLE_BYTES, Needle, needles};
pub use plan::{Change, Notice, SealPlan, Skipped, State};
pub use planner::{PlanError, plan};
pub use selection::{Selection, SelectionError};
