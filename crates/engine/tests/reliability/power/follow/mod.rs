//! From system calls to the log of what they changed.
//!
//! Nothing goes around system calls: the engine, SQLite, the overlay's library and every child
//! process are in the log. What this can't follow (a write through a mapping, a splice) ends the
//! test, and after the last call the log must lead to exactly what is on disk: [`Log::of`] compares
//! them. So a log is never short of a write. What each call does is in `bytes.rs` and
//! `names.rs`.

mod bytes;
mod names;

use super::disk::{Disk, Inode, Node};
use super::log::{Entry, Log, Op};
use super::trace::{self, Call, Descriptor};
use std::collections::HashMap;
use std::path::Path;

impl Log {
    /// The log of the run that strace wrote down in `text`, from `before` to what `dir` holds now.
    pub fn of(before: Disk, dir: &Path, text: &str) -> Log {
        let root = dir.to_str().expect("UTF-8").to_owned();
        let calls = trace::parse(text);
        let mut reader = Reader {
            root,
            now: before.clone(),
            before,
            entries: Vec::new(),
            open: HashMap::new(),
            gone: HashMap::new(),
            parents: parents(&calls),
            // How many entries there were when each call returned.
            lengths: Vec::with_capacity(calls.len()),
        };
        for call in &calls {
            reader.take(call);
            reader.lengths.push(reader.entries.len());
        }
        let difference = reader.now.difference(&Disk::load(dir));
        assert!(
            difference.is_none(),
            "the log does not lead to what is on disk: {difference:?}"
        );
        Log {
            before: reader.before,
            entries: reader.entries,
        }
    }
}

/// Each thread's process.
fn parents(calls: &[Call<'_>]) -> HashMap<u32, u32> {
    let mut parents = HashMap::new();
    for call in calls.iter().filter(|c| c.name.starts_with("clone")) {
        let is_thread = call.args.iter().any(|arg| arg.contains("CLONE_THREAD"));
        if is_thread {
            parents.insert(call.result as u32, call.thread);
        }
    }
    parents
}

/// An open file as far as its position counts.
#[derive(Clone, Copy)]
struct Open {
    inode: Inode,
    at: u64,
    appends: bool,
}

struct Reader {
    root: String,
    before: Disk,
    now: Disk,
    entries: Vec<Entry>,
    open: HashMap<(u32, i32), Open>,
    /// What stood last under a path that is gone.
    gone: HashMap<String, Inode>,
    parents: HashMap<u32, u32>,
    lengths: Vec<usize>,
}

impl Reader {
    fn take(&mut self, call: &Call<'_>) {
        match call.name.as_str() {
            "open" | "openat" | "creat" => self.opened(call),
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => self.written(call),
            "lseek" => self.sought(call),
            "dup" | "dup2" | "dup3" | "fcntl" => self.duplicated(call),
            "ftruncate" | "truncate" => self.sized(call),
            "fallocate" => self.allocated(call),
            "copy_file_range" => self.copied(call),
            "ioctl" => self.controlled(call),
            "mkdir" | "mkdirat" => self.made_directory(call),
            "rename" | "renameat" | "renameat2" => self.renamed(call),
            "link" | "linkat" => self.linked(call),
            "unlink" | "unlinkat" | "rmdir" => self.unlinked(call),
            "chmod" | "fchmod" | "fchmodat" => self.changed_mode(call),
            "fsync" | "fdatasync" => self.synced(call),
            "sync" | "syncfs" => {
                let begun = self.length_at(call.begun);
                self.push(Op::SyncAll { begun }, "sync".to_owned());
            }
            "mmap" => self.mapped(call),
            // io_uring: QEMU's programs wait for events with it. A write through it would be missing
            // in the comparison at the end.
            "clone" | "clone3" | "fork" | "vfork" | "io_uring_setup" => {}
            other => {
                let touches = call.args.iter().any(|arg| self.is_ours(arg));
                assert!(!touches, "{other} on a file of the home can't be followed");
            }
        }
    }

    fn length_at(&self, calls: usize) -> usize {
        calls.checked_sub(1).map_or(0, |last| self.lengths[last])
    }

    fn push(&mut self, op: Op, words: String) {
        op.apply(&mut self.now);
        self.entries.push(Entry { op, words });
    }

    fn is_ours(&self, piece: &str) -> bool {
        trace::descriptor(piece).is_some_and(|d| self.below(&d.path).is_some())
    }

    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.root)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    fn behind(&self, found: &Descriptor) -> Option<Inode> {
        let path = self.below(&found.path)?;
        if found.is_deleted {
            return self.gone.get(path).copied();
        }
        let inode = self.now.find(path);
        Some(inode.unwrap_or_else(|| panic!("{path} is open and has no name")))
    }

    fn behind_argument(&self, call: &Call<'_>, at: usize) -> Option<(Inode, String)> {
        let found = trace::descriptor(&call.args[at])?;
        let path = self.below(&found.path)?.to_owned();
        Some((self.behind(&found)?, path))
    }

    fn path_argument(&self, call: &Call<'_>, at: usize) -> Option<String> {
        let path = trace::path(&call.args[at]);
        let path = match path.strip_prefix('/') {
            Some(_) => path,
            None => {
                let dir = call.args[..at].last().and_then(|d| trace::descriptor(d));
                let Some(dir) = dir else {
                    assert!(!call.name.ends_with("at"), "{} from where?", call.name);
                    return None; // Below the working directory, which is not ours.
                };
                format!("{}/{path}", dir.path)
            }
        };
        self.below(&path).map(str::to_owned)
    }

    fn place(&self, path: &str) -> (Inode, String) {
        let (dir, name) = path.rsplit_once('/').expect("a path with a name");
        let dir = self.now.find(dir);
        let dir = dir.unwrap_or_else(|| panic!("the directory of {path} is not known"));
        (dir, name.to_owned())
    }

    fn born(&mut self, path: &str, node: Node) -> Inode {
        let inode = self.now.nodes.len();
        self.now.nodes.push(node.clone());
        self.before.nodes.push(node);
        let (dir, name) = self.place(path);
        self.push(Op::Link { dir, name, inode }, format!("create {path}"));
        inode
    }

    fn key(&self, call: &Call<'_>, number: i32) -> (u32, i32) {
        let mut process = call.thread;
        while let Some(parent) = self.parents.get(&process) {
            process = *parent;
        }
        (process, number)
    }
}
