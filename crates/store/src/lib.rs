//! The catalog: what exists and what is under way. One file per table.
//!
//! The catalog is SQLite in one file that only its owner may read. Several processes use it at
//! once: every writing transaction takes the write lock at its start and waits for it, so nothing
//! ever fails half-way for a lock. Rows are types of their own ([`GuestRow`], [`VersionRow`]…);
//! conversions from and to text live beside them.
//!
//! What this room does *not* do: decide anything. State changes are computed by `stampo_core` and
//! only recorded here.

mod approvals;
mod audit;
mod audit_checkpoints;
mod channel_moves;
mod channels;
mod check;
mod connection;
mod convert;
mod exceptions;
mod facts;
mod guests;
mod inside;
mod leases;
mod needs;
mod operations;
mod policies;
mod pools;
mod reserve;
mod schema;
mod scrubs;
mod settings;
mod sql_error;
mod sums;
mod templates;
mod version_images;
mod versions;

pub use approvals::ApprovalRow;
pub use audit::{AuditEntry, AuditFilter, AuditRow};
pub use audit_checkpoints::CheckpointRow;
pub use channel_moves::ChannelMoveRow;
pub use channels::ChannelRow;
pub use connection::{Store, StoreError, Tx};
pub use exceptions::ExceptionRow;
pub use facts::FactRow;
pub use guests::{GuestRow, NicRow};
pub use inside::{
    AdvisoryRow, AvailableRow, ExploitedRow, Holding, Inside, InsideError, InsideTx, PackageRow,
    SourceRow, SystemRow,
};
pub use leases::{LeaseRow, Leases};
pub use operations::{EventRow, OperationRow, OperationState};
pub use policies::{Conclusion, PolicyExceptionRow, PolicyReportRow};
pub use pools::PoolRow;
pub use settings::SALT;
pub use sql_error::{SqlError, TransactionError};
pub use sums::DamagedRow;
pub use templates::TemplateRow;
pub use version_images::VersionImage;
pub use versions::VersionRow;
