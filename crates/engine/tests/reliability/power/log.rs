//! The log of a run: what it changed below its directory, in order, and what it made durable.
//!
//! `follow.rs` makes it from system calls.

use super::disk::{Disk, Inode, Node};
use std::sync::Arc;

/// One change, or one wait for durability.
#[derive(Clone)]
pub enum Op {
    Write {
        inode: Inode,
        at: u64,
        bytes: Arc<[u8]>,
    },
    /// A new size.
    Size {
        inode: Inode,
        size: u64,
    },
    /// A range becomes zeros; the size stays.
    Zero {
        inode: Inode,
        at: u64,
        length: u64,
    },
    Mode {
        inode: Inode,
        mode: u32,
    },
    /// A name in a directory appears, or stands for another inode.
    Link {
        dir: Inode,
        name: String,
        inode: Inode,
    },
    Unlink {
        dir: Inode,
        name: String,
    },
    Rename {
        from: (Inode, String),
        to: (Inode, String),
        inode: Inode,
    },
    /// Everything before `begun` that was done to this inode is durable; the mode only when `full`.
    Sync {
        inode: Inode,
        begun: usize,
        full: bool,
    },
    /// The same for all inodes.
    SyncAll {
        begun: usize,
    },
    /// The command returned: its caller has been told that it is done.
    Acknowledged,
}

/// An [`Op`] with the words that a person reads.
#[derive(Clone)]
pub struct Entry {
    pub op: Op,
    pub words: String,
}

/// The directory before a run, and what the run did.
pub struct Log {
    /// As it was before; the inodes that are made later are in it, without a name.
    pub before: Disk,
    pub entries: Vec<Entry>,
}

impl Op {
    /// Whether it only changes bytes.
    pub fn is_write(&self) -> bool {
        matches!(self, Op::Write { .. })
    }

    /// Does it, as the running processes see it.
    pub fn apply(&self, disk: &mut Disk) {
        match self {
            Op::Write { inode, at, bytes } => disk.content_mut(*inode).write(*at, bytes),
            Op::Size { inode, size } => disk.content_mut(*inode).truncate(*size),
            Op::Zero { inode, at, length } => disk.content_mut(*inode).zero(*at, *length),
            Op::Mode { inode, mode: new } => match &mut disk.nodes[*inode] {
                Node::File { mode, .. } | Node::Directory { mode, .. } => *mode = *new,
            },
            Op::Link { dir, name, inode } => {
                disk.entries_mut(*dir).insert(name.clone(), *inode);
            }
            Op::Unlink { dir, name } => {
                disk.entries_mut(*dir).remove(name);
            }
            Op::Rename { from, to, inode } => {
                disk.entries_mut(from.0).remove(&from.1);
                disk.entries_mut(to.0).insert(to.1.clone(), *inode);
            }
            Op::Sync { .. } | Op::SyncAll { .. } | Op::Acknowledged => {}
        }
    }
}

impl Entry {
    /// The same in a log in which `entries` others come before.
    pub fn later(mut self, entries: usize) -> Entry {
        if let Op::Sync { begun, .. } | Op::SyncAll { begun } = &mut self.op {
            *begun += entries;
        }
        self
    }
}

impl Log {
    /// Where it is decided what lasts: the entries that do more than write bytes.
    pub fn turning(&self) -> Vec<usize> {
        let numbers = 0..self.entries.len();
        numbers
            .filter(|at| !self.entries[*at].op.is_write())
            .collect()
    }
}
