//! Why no plan was made: each reason with what was asked for, in words for the user.
//!
//! Apart from planning because every room above shows them. What to do about one is the server's to
//! say.

use crate::hardware::HardwareError;
use crate::lifecycle::State;
use crate::names::{GuestName, NameError};
use crate::network::AddressError;
use crate::personalisation::PersonalisationError;
use crate::size::ByteSize;

/// Why no plan was made. Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// The version's state forbids it.
    #[error("clone {label}: it is {state}, not published{}{advice}", if advice.is_empty() { "" } else { ": " })]
    NotClonable {
        /// `name@N`.
        label: String,
        /// Its state.
        state: State,
        /// Why, and what to use instead; may be empty.
        advice: String,
    },
    /// Zero or too many.
    #[error("make {0} guests: ask for 1 to 1000")]
    Count(u32),
    /// A name is in use.
    #[error("name a guest {0}: a guest of that name exists")]
    NameTaken(GuestName),
    /// Names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Hardware.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// Personalisation.
    #[error(transparent)]
    Personalisation(#[from] PersonalisationError),
    /// Addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A disk can't shrink.
    #[error("make a disk of {asked}: the version's is {least}, and a disk can't shrink")]
    DiskTooSmall {
        /// What was asked for.
        asked: ByteSize,
        /// The version's size.
        least: ByteSize,
    },
    /// A disk size that is not whole sectors or out of bounds.
    #[error("make a disk of {0}: sizes are whole MiB up to 64 TiB")]
    DiskSize(ByteSize),
    /// Not enough space for what is copied.
    #[error("make room for {needed}: only {free} are free where guests are kept")]
    NoSpace {
        /// What the copies would write.
        needed: ByteSize,
        /// What is free.
        free: ByteSize,
    },
    /// The version has no memory image.
    #[error("make instant clones of {0}: it has no memory image")]
    NotFrozen(String),
    /// Instant clones and nothing else were asked for, and there can be none.
    #[error("make instant clones of {label}: {why}")]
    MemoryUnfit {
        /// `name@N`.
        label: String,
        /// Why the memory image is of no use here.
        why: String,
    },
    /// An option that an instant clone can't have.
    #[error("make instant clones with {option}: {why}")]
    NotInstant {
        /// The option, as the user wrote it.
        option: &'static str,
        /// Why not, and what else to do.
        why: &'static str,
    },
    /// The host could come to lack memory.
    #[error(
        "start guests that may come to use {asked}: those that run may use {promised}, and the \
         host has {total}"
    )]
    NoMemory {
        /// What the new guests may use, all their memory and what their processes take.
        asked: ByteSize,
        /// What the guests that run may use.
        promised: ByteSize,
        /// What the host has.
        total: ByteSize,
    },
    /// No free port for ssh.
    #[error("forward ssh of {0} guests: not enough free ports between 22000 and 29999")]
    NoPorts(usize),
    /// QEMU's user-mode network has a gateway of its own, or no room for one.
    #[error("give {address} on a user-mode network: {why}")]
    UserNetwork {
        /// The guest's address.
        address: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A gateway or DNS server without an address.
    #[error("use a gateway or name servers without a static address: give --address too")]
    NetworkWithoutAddress,
}
