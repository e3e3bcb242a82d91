//! The log of a run: what it changed below its directory, in order, and what it made durable.
//!
//! Made from system calls, so nothing goes around it: the engine, SQLite, the overlay's library
//! and every child process are in it. What this can't follow (a write through a mapping or through
//! io_uring, a splice) ends the test, and after the last call the log must lead to exactly what is
//! on disk: [`Log::of`] compares them. So a log is never short of a write.

use super::disk::{Content, Disk, Inode, Node};
use super::trace::{self, Call, Descriptor};
use std::collections::HashMap;
use std::path::Path;
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

    /// How many entries there were before the call with this number.
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

    /// The path below the root; `None` for one that is elsewhere.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.root)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// The inode behind a descriptor; `None` for one that is elsewhere or never had a name.
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

    /// The path in argument `at`, which the directory in the argument before may begin. The path
    /// below the root; `None` when it is elsewhere.
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

    /// The directory of a path, and the name in it.
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

    fn opened(&mut self, call: &Call<'_>) {
        let key = self.key(call, call.result as i32);
        self.open.remove(&key);
        let Some(found) = trace::descriptor(&call.returned).filter(|found| !found.is_deleted)
        else {
            return; // Elsewhere, or without a name from the beginning.
        };
        let Some(path) = self.below(&found.path).map(str::to_owned) else {
            return;
        };
        let has = |flag: &str| {
            call.args
                .iter()
                .any(|arg| arg.split('|').any(|f| f == flag))
        };
        let inode = match self.now.find(&path) {
            Some(inode) => inode,
            None => {
                let asked = call.args.last().expect("a mode");
                let mode = u32::from_str_radix(asked, 8).expect("octal") & !0o022;
                let content = Content::default();
                self.born(&path, Node::File { content, mode })
            }
        };
        if has("O_TRUNC") && self.now.content(inode).size > 0 {
            self.push(Op::Size { inode, size: 0 }, format!("truncate {path} to 0"));
        }
        let open = Open {
            inode,
            at: 0,
            appends: has("O_APPEND"),
        };
        self.open.insert(key, open);
    }

    fn written(&mut self, call: &Call<'_>) {
        if call.args[0].starts_with("2<")
            && trace::bytes(&call.args[1]).starts_with(super::record::MARK)
        {
            return self.push(Op::Acknowledged, "the command returned".to_owned());
        }
        let Some((inode, path)) = self.behind_argument(call, 0) else {
            return;
        };
        let mut bytes = match call.name.as_str() {
            "write" | "pwrite64" => trace::bytes(&call.args[1]),
            _ => trace::vector(&call.args[1]),
        };
        bytes.truncate(call.result as usize);
        let key = self.key(call, trace::descriptor(&call.args[0]).expect("open").number);
        let at = match call.name.as_str() {
            "pwrite64" | "pwritev" | "pwritev2" => trace::number(&call.args[3]),
            _ => {
                let size = self.now.content(inode).size;
                let open = self.open.get_mut(&key);
                let open = open.unwrap_or_else(|| panic!("the position in {path} is not known"));
                let at = if open.appends { size } else { open.at };
                open.at = at + bytes.len() as u64;
                at
            }
        };
        self.push_write(inode, at, bytes, &path);
    }

    fn push_write(&mut self, inode: Inode, at: u64, bytes: Vec<u8>, path: &str) {
        let words = format!("write {path} [{at}, +{}]", bytes.len());
        let bytes = bytes.into();
        self.push(Op::Write { inode, at, bytes }, words);
    }

    fn sought(&mut self, call: &Call<'_>) {
        if let Some(found) = trace::descriptor(&call.args[0]) {
            let key = self.key(call, found.number);
            if let Some(open) = self.open.get_mut(&key) {
                open.at = call.result as u64;
            }
        }
    }

    fn duplicated(&mut self, call: &Call<'_>) {
        if call.name == "fcntl" && !call.args[1].starts_with("F_DUPFD") {
            return;
        }
        let to = self.key(call, call.result as i32);
        let found = trace::descriptor(&call.args[0]);
        let from = found.and_then(|found| self.open.get(&self.key(call, found.number)).copied());
        match from {
            Some(open) => self.open.insert(to, open),
            None => self.open.remove(&to),
        };
    }

    fn sized(&mut self, call: &Call<'_>) {
        let found = match call.name.as_str() {
            "ftruncate" => self.behind_argument(call, 0),
            _ => self.path_argument(call, 0).map(|path| {
                let inode = self.now.find(&path).expect("a file");
                (inode, path)
            }),
        };
        let Some((inode, path)) = found else { return };
        let size = trace::number(&call.args[1]);
        if size != self.now.content(inode).size {
            self.push(
                Op::Size { inode, size },
                format!("truncate {path} to {size}"),
            );
        }
    }

    fn allocated(&mut self, call: &Call<'_>) {
        let Some((inode, path)) = self.behind_argument(call, 0) else {
            return;
        };
        let (flags, at, length) = (
            &call.args[1],
            trace::number(&call.args[2]),
            trace::number(&call.args[3]),
        );
        let other = ["COLLAPSE", "INSERT", "UNSHARE"];
        assert!(
            !other.iter().any(|f| flags.contains(f)),
            "fallocate {flags} can't be followed"
        );
        let end = at + length;
        if !flags.contains("KEEP_SIZE") && end > self.now.content(inode).size {
            let words = format!("allocate {path} to {end}");
            self.push(Op::Size { inode, size: end }, words);
        }
        if flags.contains("PUNCH_HOLE") || flags.contains("ZERO_RANGE") {
            let words = format!("punch {path} [{at}, +{length}]");
            self.push(Op::Zero { inode, at, length }, words);
        }
    }

    fn copied(&mut self, call: &Call<'_>) {
        let Some((inode, path)) = self.behind_argument(call, 2) else {
            return;
        };
        let mut offset = |at: usize| match &*call.args[at] {
            "NULL" => {
                let found = trace::descriptor(&call.args[at - 1]).expect("a file");
                let key = self.key(call, found.number);
                let open = self.open.get_mut(&key).expect("a position that is known");
                open.at += call.result as u64;
                open.at - call.result as u64
            }
            piece => trace::number(piece.split(" => ").next().unwrap_or(piece)),
        };
        let (from_at, at) = (offset(1), offset(3));
        let length = call.result as u64;
        let bytes = match self.behind_argument(call, 0) {
            Some((from, _)) => self.now.content(from).read(from_at, length),
            None => {
                let found = trace::descriptor(&call.args[0]).expect("a file");
                let mut bytes = vec![0; length as usize];
                let file = std::fs::File::open(&found.path).expect("a source that is still there");
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, from_at)
                    .expect("a source that is as it was");
                bytes
            }
        };
        self.push_write(inode, at, bytes, &path);
    }

    fn controlled(&mut self, call: &Call<'_>) {
        assert!(
            !call.args[1].contains("FICLONERANGE"),
            "FICLONERANGE can't be followed"
        );
        if !call.args[1].contains("FICLONE") {
            return;
        }
        let Some((inode, path)) = self.behind_argument(call, 0) else {
            return;
        };
        let number = call.args[2].parse().expect("a descriptor");
        let source = self.open.get(&self.key(call, number));
        let from = source
            .expect("the source of a reflink is of the home")
            .inode;
        let from = self.now.content(from).clone();
        self.push(Op::Size { inode, size: 0 }, format!("truncate {path} to 0"));
        for (at, bytes) in from.data() {
            self.push_write(inode, at, bytes.to_vec(), &path);
        }
        let words = format!("truncate {path} to {}", from.size);
        let size = from.size;
        self.push(Op::Size { inode, size }, words);
    }

    fn made_directory(&mut self, call: &Call<'_>) {
        let at = usize::from(call.name == "mkdirat");
        if let Some(path) = self.path_argument(call, at) {
            let mode = u32::from_str_radix(&call.args[at + 1], 8).expect("octal") & !0o022;
            let entries = Default::default();
            self.born(&path, Node::Directory { entries, mode });
        }
    }

    fn renamed(&mut self, call: &Call<'_>) {
        let (from, to) = match call.name.as_str() {
            "rename" => (0, 1),
            _ => (1, 3),
        };
        let exchanges = call
            .args
            .last()
            .is_some_and(|flags| flags.contains("EXCHANGE"));
        assert!(!exchanges, "RENAME_EXCHANGE can't be followed");
        let (from, to) = (self.path_argument(call, from), self.path_argument(call, to));
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return,
            (from, to) => panic!("{from:?} and {to:?}: a rename into or out of the home"),
        };
        let inode = self.now.find(&from).expect("what is renamed is known");
        if let Some(replaced) = self.now.find(&to) {
            self.gone.insert(to.clone(), replaced);
        }
        let words = format!("rename {from} to {to}");
        let (from, to) = (self.place(&from), self.place(&to));
        self.push(Op::Rename { from, to, inode }, words);
    }

    fn linked(&mut self, call: &Call<'_>) {
        let (from, to) = match call.name.as_str() {
            "link" => (0, 1),
            _ => (1, 3),
        };
        let Some(path) = self.path_argument(call, to) else {
            return;
        };
        let from = self.path_argument(call, from).expect("a name of the home");
        let inode = self.now.find(&from).expect("what is linked is known");
        let (dir, name) = self.place(&path);
        self.push(
            Op::Link { dir, name, inode },
            format!("link {from} to {path}"),
        );
    }

    fn unlinked(&mut self, call: &Call<'_>) {
        let at = usize::from(call.name == "unlinkat");
        if let Some(path) = self.path_argument(call, at) {
            let inode = self.now.find(&path).expect("what is removed is known");
            self.gone.insert(path.clone(), inode);
            let (dir, name) = self.place(&path);
            self.push(Op::Unlink { dir, name }, format!("remove {path}"));
        }
    }

    fn changed_mode(&mut self, call: &Call<'_>) {
        let found = match call.name.as_str() {
            "fchmod" => self.behind_argument(call, 0),
            name => self
                .path_argument(call, usize::from(name == "fchmodat"))
                .map(|path| (self.now.find(&path).expect("a known file"), path)),
        };
        let Some((inode, path)) = found else { return };
        let at = if call.name == "fchmodat" { 2 } else { 1 };
        let mode = u32::from_str_radix(&call.args[at], 8).expect("octal");
        self.push(Op::Mode { inode, mode }, format!("mode {path} {mode:o}"));
    }

    fn synced(&mut self, call: &Call<'_>) {
        let Some((inode, path)) = self.behind_argument(call, 0) else {
            return;
        };
        let (begun, full) = (self.length_at(call.begun), call.name == "fsync");
        self.push(
            Op::Sync { inode, begun, full },
            format!("{} {path}", call.name),
        );
    }

    fn mapped(&mut self, call: &Call<'_>) {
        let shared = call.args[3].contains("MAP_SHARED") && call.args[2].contains("PROT_WRITE");
        if let Some((_, path)) = shared.then(|| self.behind_argument(call, 4)).flatten() {
            // SQLite's index of the log, which is built anew after a power loss.
            assert!(
                path.ends_with("-shm"),
                "writes through the mapping of {path} are not seen"
            );
        }
    }
}
