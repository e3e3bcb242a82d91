//! Calls that change the bytes or the size of a file.

use super::super::disk::Inode;
use super::super::log::Op;
use super::super::record::MARK;
use super::super::trace::{self, Call};
use super::Reader;
use std::os::unix::fs::FileExt;

impl Reader {
    pub(super) fn written(&mut self, call: &Call<'_>) {
        if call.args[0].starts_with("2<") && trace::bytes(&call.args[1]).starts_with(MARK) {
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

    pub(super) fn push_write(&mut self, inode: Inode, at: u64, bytes: Vec<u8>, path: &str) {
        let words = format!("write {path} [{at}, +{}]", bytes.len());
        let bytes = bytes.into();
        self.push(Op::Write { inode, at, bytes }, words);
    }

    pub(super) fn sized(&mut self, call: &Call<'_>) {
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

    pub(super) fn allocated(&mut self, call: &Call<'_>) {
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

    pub(super) fn copied(&mut self, call: &Call<'_>) {
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
                file.read_exact_at(&mut bytes, from_at)
                    .expect("a source that is as it was");
                bytes
            }
        };
        self.push_write(inode, at, bytes, &path);
    }

    pub(super) fn controlled(&mut self, call: &Call<'_>) {
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

    pub(super) fn mapped(&mut self, call: &Call<'_>) {
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
