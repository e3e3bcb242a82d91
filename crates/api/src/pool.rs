//! Pools and leases.

use crate::{Guest, Reply};
use serde::{Deserialize, Serialize};
use stampo_core::lease::{Ending, Span};
use stampo_core::names::{GuestName, PoolName, VersionRef};
use stampo_core::plan::CloneSpec;
use stampo_core::pool::Depth;

/// What a client can ask about pools and leases.
pub trait PoolApi {
    /// Declares a pool; its members are made in the background.
    fn create_pool(&self, request: PoolRequest) -> Reply<Pool>;
    /// Changes a pool.
    fn change_pool(&self, request: PoolChange) -> Reply<Pool>;
    /// Removes a pool and the members that nobody has taken.
    fn remove_pool(&self, pool: &PoolName) -> Reply<()>;
    /// Every pool.
    fn pools(&self) -> Reply<Vec<Pool>>;
    /// One pool.
    fn pool(&self, pool: &PoolName) -> Reply<Pool>;
    /// Takes a member. `None` when no pool that was asked for has one ready.
    fn take(&self, request: TakeRequest) -> Reply<Option<Taken>>;
    /// Every lease.
    fn leases(&self) -> Reply<Leases>;
    /// Gives a guest a lease from now on.
    fn set_lease(&self, guest: &GuestName, lease: LeaseRequest) -> Reply<Lease>;
    /// Lets a guest live on. Whether it had a lease.
    fn clear_lease(&self, guest: &GuestName) -> Reply<bool>;
    /// Looks once at every pool and lease, and does what is due: what otherwise a process in the
    /// background does.
    fn tend(&self) -> Reply<Tending>;
}

/// Declare a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRequest {
    /// Its name.
    pub name: PoolName,
    /// What its members are clones of. A bare name follows the newest published version.
    pub from: VersionRef,
    /// How many members are kept ready.
    pub warm: u32,
    /// How far each is brought.
    pub depth: Depth,
    /// What every member is given.
    pub spec: CloneSpec,
}

/// Change a pool; what is not given stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChange {
    /// The pool.
    pub name: PoolName,
    /// What its members are clones of.
    pub from: Option<VersionRef>,
    /// How many members are kept ready.
    pub warm: Option<u32>,
    /// How far each is brought.
    pub depth: Option<Depth>,
}

/// A pool and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// What its members are clones of, as it was given.
    pub from: String,
    /// The version that this means now, `name@N`; `None` when there is none to clone.
    pub version: Option<String>,
    /// How far each member is brought.
    pub depth: Depth,
    /// How many are kept ready.
    pub warm: u32,
    /// Members that can be taken, the longest waiting first.
    pub ready: Vec<String>,
    /// How many are being made.
    pub coming: usize,
    /// Members that will go.
    pub going: Vec<Going>,
    /// Why no member could be made last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// A member that will go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Going {
    /// The guest.
    pub guest: String,
    /// Why.
    pub why: String,
}

/// Take a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeRequest {
    /// From where.
    pub from: TakeFrom,
    /// The lease that it is given.
    pub lease: Option<LeaseRequest>,
}

/// Where a member is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeFrom {
    /// This pool.
    Pool(PoolName),
    /// Any pool whose members are clones of what this means.
    Version(VersionRef),
}

/// A member that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The guest.
    #[serde(flatten)]
    pub guest: Guest,
    /// How long it took until it was proven to be a machine of its own, in milliseconds.
    pub took_ms: u64,
}

/// The lease that a guest is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// How long it has.
    pub span: Span,
    /// What becomes of it then.
    pub ending: Ending,
    /// It also ends when the process that asks does.
    pub tied: bool,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest.
    pub guest: String,
    /// When it ends, in milliseconds since 1970.
    pub until_ms: i64,
    /// The same from now on, in milliseconds; less than 0 when it is over.
    pub left_ms: i64,
    /// How long it was given last.
    pub span: Span,
    /// What becomes of the guest.
    pub ending: Ending,
    /// Whether somebody was warned.
    pub warned: bool,
    /// It also ends when the process does that asked for it.
    pub tied: bool,
}

/// Every lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// Those that can be relied on, the one that ends first at the front.
    pub leases: Vec<Lease>,
    /// The guests whose lease is damaged in the catalog. They stay.
    pub damaged: Vec<String>,
}

/// What one look at everything did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tending {
    /// Members of pools that were made.
    pub made: usize,
    /// Members of pools that went.
    pub drained: usize,
    /// Members that are missing still.
    pub missing: u32,
    /// What failed, for each pool.
    pub failures: Vec<String>,
}
