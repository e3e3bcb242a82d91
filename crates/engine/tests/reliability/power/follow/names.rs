//! Calls that change names, modes and descriptors, and those that wait for durability.

use super::super::disk::{Content, Node};
use super::super::log::Op;
use super::super::trace::{self, Call};
use super::{Open, Reader};

impl Reader {
    pub(super) fn opened(&mut self, call: &Call<'_>) {
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

    pub(super) fn duplicated(&mut self, call: &Call<'_>) {
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

    pub(super) fn sought(&mut self, call: &Call<'_>) {
        if let Some(found) = trace::descriptor(&call.args[0]) {
            let key = self.key(call, found.number);
            if let Some(open) = self.open.get_mut(&key) {
                open.at = call.result as u64;
            }
        }
    }

    pub(super) fn made_directory(&mut self, call: &Call<'_>) {
        let at = usize::from(call.name == "mkdirat");
        if let Some(path) = self.path_argument(call, at) {
            let mode = u32::from_str_radix(&call.args[at + 1], 8).expect("octal") & !0o022;
            let entries = Default::default();
            self.born(&path, Node::Directory { entries, mode });
        }
    }

    pub(super) fn renamed(&mut self, call: &Call<'_>) {
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

    pub(super) fn linked(&mut self, call: &Call<'_>) {
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

    pub(super) fn unlinked(&mut self, call: &Call<'_>) {
        let at = usize::from(call.name == "unlinkat");
        if let Some(path) = self.path_argument(call, at) {
            let inode = self.now.find(&path).expect("what is removed is known");
            self.gone.insert(path.clone(), inode);
            let (dir, name) = self.place(&path);
            self.push(Op::Unlink { dir, name }, format!("remove {path}"));
        }
    }

    pub(super) fn changed_mode(&mut self, call: &Call<'_>) {
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

    pub(super) fn synced(&mut self, call: &Call<'_>) {
        let Some((inode, path)) = self.behind_argument(call, 0) else {
            return;
        };
        let (begun, full) = (self.length_at(call.begun), call.name == "fsync");
        self.push(
            Op::Sync { inode, begun, full },
            format!("{} {path}", call.name),
        );
    }
}
