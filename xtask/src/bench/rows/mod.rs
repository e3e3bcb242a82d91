//! One file per row of the table. Each prepares its ways to do the work and says what is wanted.

mod full;
mod import;
mod inspect;
mod linked;
mod many;
mod overlay;
mod seal;
mod ssh;
mod start;

use super::lab::Lab;
pub use linked::personal as linked_options;

use super::row::Row;
use anyhow::Result;

/// What a file of this directory makes.
pub enum Made<'a> {
    /// Rows, ready to be measured.
    Rows(Vec<Row<'a>>),
    /// Nothing: why.
    Skipped(String),
}

/// A file's function.
pub type Make = for<'a> fn(&'a Lab) -> Result<Made<'a>>;

/// Every row, in the order of the table.
pub const ALL: [(&str, Make); 11] = [
    ("start", start::make),
    ("linked", linked::make),
    ("many", many::personalised),
    ("many-plain", many::plain),
    ("overlay", overlay::make),
    ("seal", seal::make),
    ("inspect", inspect::make),
    ("import", import::make),
    ("full-xfs", full::xfs),
    ("full-btrfs", full::btrfs),
    ("ssh", ssh::make),
];
