//! The rules of `legal.rs` on logs made by hand: what has to be possible, and what must not be.
//!
//! A rule that is too strict hides defects, one that is too loose finds some that no file system
//! has. So each test asks for both over many seeds.

use super::disk::{Content, Disk, Inode, Node, ROOT, SECTOR_BYTES};
use super::legal::{State, state};
use super::log::{Entry, Log, Op};
use super::trace;
use libtest_mimic::Trial;
use std::collections::BTreeMap;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("power_rules_{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("what_was_synced_is_there", synced),
        trial("a_rename_may_come_before_its_bytes", rename_first),
        trial("a_name_needs_its_directory_to_be_synced", name_lost),
        trial("a_move_is_there_once", moved_once),
        trial("names_come_in_order", in_order),
        trial("a_torn_write_leaves_whole_sectors", torn),
        trial("a_removal_may_come_back", removal_undone),
        trial("fdatasync_leaves_the_mode_behind", mode_behind),
        trial("traces_are_read", traces),
    ]
}

const SEEDS: std::ops::Range<u64> = 0..400;
const OTHER: Inode = 1;
const FILE: Inode = 2;

/// A log in a directory with an empty directory `other`, and a file that has no name yet.
fn log(ops: Vec<Op>) -> Log {
    let directory = |entries| Node::Directory {
        entries,
        mode: 0o700,
    };
    let other = BTreeMap::from([("other".to_owned(), OTHER)]);
    let file = || Node::File {
        content: Content::default(),
        mode: 0o600,
    };
    let nodes = vec![directory(other), directory(BTreeMap::new()), file(), file()];
    let entry = |op| Entry {
        op,
        words: String::new(),
    };
    Log {
        before: Disk { nodes },
        entries: ops.into_iter().map(entry).collect(),
    }
}

fn create(name: &str, inode: Inode) -> Op {
    Op::Link {
        dir: ROOT,
        name: name.to_owned(),
        inode,
    }
}

fn write(bytes: &[u8]) -> Op {
    Op::Write {
        inode: FILE,
        at: 0,
        bytes: bytes.into(),
    }
}

fn sync(inode: Inode, begun: usize) -> Op {
    Op::Sync {
        inode,
        begun,
        full: true,
    }
}

fn rename(to: Inode, name: &str) -> Op {
    Op::Rename {
        from: (ROOT, "a".to_owned()),
        to: (to, name.to_owned()),
        inode: FILE,
    }
}

/// The states of all seeds in which the power went at the end.
fn at_the_end(log: &Log) -> Vec<State> {
    let states = SEEDS.map(|seed| state(log, seed));
    let states: Vec<State> = states.filter(|s| s.cut == log.entries.len()).collect();
    assert!(states.len() > 20, "too few seeds: {}", states.len());
    states
}

fn bytes(state: &State, path: &str) -> Option<Vec<u8>> {
    let inode = state.disk.find(path)?;
    let content = state.disk.content(inode);
    Some(content.read(0, content.size))
}

fn synced() {
    let log = log(vec![
        create("a", FILE),
        write(b"kept"),
        sync(FILE, 2),
        sync(ROOT, 3),
        write(b"lost"),
    ]);
    let found: Vec<_> = at_the_end(&log).iter().map(|s| bytes(s, "a")).collect();
    for text in [b"kept", b"lost"] {
        assert!(found.contains(&Some(text.to_vec())), "{text:?} is possible");
    }
    let only = |found: &Option<Vec<u8>>| {
        [b"kept".to_vec(), b"lost".to_vec()].contains(found.as_ref().expect("synced"))
    };
    assert!(found.iter().all(only));
}

fn rename_first() {
    let ops = |synced: bool| {
        let sync = if synced {
            sync(FILE, 2)
        } else {
            sync(OTHER, 2)
        };
        log(vec![
            create("a", FILE),
            write(b"new"),
            sync,
            rename(ROOT, "b"),
        ])
    };
    let half = |log: &Log| {
        let states = at_the_end(log);
        let found: Vec<_> = states.iter().filter_map(|s| bytes(s, "b")).collect();
        assert!(found.contains(&b"new".to_vec()));
        found.iter().any(|bytes| bytes != b"new")
    };
    assert!(half(&ops(false)), "nothing was synced");
    assert!(!half(&ops(true)), "it was synced before the rename");
}

fn name_lost() {
    let unsynced = log(vec![create("a", FILE), sync(FILE, 1)]);
    let states = at_the_end(&unsynced);
    assert!(states.iter().any(|s| bytes(s, "a").is_none()));
    assert!(states.iter().any(|s| bytes(s, "a").is_some()));
    let synced = log(vec![create("a", FILE), sync(ROOT, 1)]);
    assert!(at_the_end(&synced).iter().all(|s| bytes(s, "a").is_some()));
    // A sync that began before the change covers nothing of it.
    let early = log(vec![create("a", FILE), sync(ROOT, 0)]);
    assert!(at_the_end(&early).iter().any(|s| bytes(s, "a").is_none()));
}

fn moved_once() {
    let start = [create("a", FILE), sync(ROOT, 1), rename(OTHER, "b")];
    for (end, may_stay) in [
        (create("c", 3), true),
        (sync(ROOT, 3), false),
        (sync(OTHER, 3), false),
    ] {
        let states = at_the_end(&log([&start[..], &[end]].concat()));
        let places = |s: &State| (bytes(s, "a").is_some(), bytes(s, "other/b").is_some());
        let found: Vec<_> = states.iter().map(places).collect();
        assert!(found.iter().all(|(here, there)| here != there), "{found:?}");
        assert_eq!(found.contains(&(true, false)), may_stay);
    }
}

fn in_order() {
    let log = log(vec![create("a", FILE), create("b", 3)]);
    let states = at_the_end(&log);
    let found = |name: &str| {
        states
            .iter()
            .filter(|s| s.disk.find(name).is_some())
            .count()
    };
    assert!(found("a") > found("b"), "the second may be missing alone");
    let second_alone = |s: &&State| s.disk.find("b").is_some() && s.disk.find("a").is_none();
    assert_eq!(states.iter().filter(second_alone).count(), 0);
}

fn torn() {
    let (old, new) = (vec![1; 4096], vec![2; 4096]);
    let log = log(vec![
        create("a", FILE),
        write(&old),
        sync(FILE, 2),
        sync(ROOT, 2),
        write(&new),
    ]);
    let mut mixed = 0;
    for state in SEEDS.map(|seed| state(&log, seed)).filter(|s| s.cut == 5) {
        let bytes = bytes(&state, "a").expect("synced");
        let mut sectors = bytes.chunks(SECTOR_BYTES as usize);
        assert!(sectors.all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        let is_mixed = bytes.contains(&1) && bytes.contains(&2);
        assert_eq!(
            is_mixed,
            state.lost.iter().any(|words| words.ends_with("(in part)"))
        );
        mixed += usize::from(is_mixed);
    }
    assert!(mixed > 0, "no write was torn");
}

fn removal_undone() {
    let unlink = || Op::Unlink {
        dir: ROOT,
        name: "a".to_owned(),
    };
    let comes_back = |log: &Log| at_the_end(log).iter().any(|s| bytes(s, "a").is_some());
    let start = || vec![create("a", FILE), sync(ROOT, 1), unlink()];
    let mut synced = start();
    synced.push(sync(ROOT, 3));
    assert!(comes_back(&log(start())));
    assert!(!comes_back(&log(synced)));
}

fn mode_behind() {
    let mode = |full: bool| {
        let change = Op::Mode {
            inode: FILE,
            mode: 0o444,
        };
        let sync_file = Op::Sync {
            inode: FILE,
            begun: 2,
            full,
        };
        let log = log(vec![create("a", FILE), change, sync_file, sync(ROOT, 2)]);
        let is_old = |s: &State| matches!(s.disk.nodes[FILE], Node::File { mode: 0o600, .. });
        at_the_end(&log).iter().any(is_old)
    };
    assert!(mode(false), "fdatasync");
    assert!(!mode(true), "fsync");
}

fn traces() {
    let text = "7 openat(AT_FDCWD<\\x2f\\x61>, \"\\x62\", O_RDWR|O_CREAT, 0600) = 3<\\x2f\\x61\\x2f\\x62>\n\
        7 fsync(3<\\x2f\\x61\\x2f\\x62> <unfinished ...>\n\
        8 pwrite64(3<\\x2f\\x61\\x2f\\x62>, \"\\x2c\\x22\", 2, 5) = 2\n\
        7 <... fsync resumed>) = 0\n\
        8 rename(\"\\x2f\\x61\", \"\\x2f\\x62\") = -1 ENOENT (No such file or directory)\n\
        8 write(4<pipe:[1]>, \"\\x78\", 1) = 1\n\
        8 exit_group(0) = ?\n\
        8 +++ exited with 0 +++\n";
    let calls = trace::parse(text);
    let brief: Vec<_> = calls
        .iter()
        .map(|c| (c.name.as_str(), c.thread, c.begun, c.result))
        .collect();
    // The sync began before the write and returned after it: it does not cover it.
    let expected = [
        ("openat", 7, 0, 3),
        ("pwrite64", 8, 1, 2),
        ("fsync", 7, 1, 0),
        ("write", 8, 3, 1),
    ];
    assert_eq!(brief, expected);
    assert_eq!(trace::bytes(&calls[1].args[1]), b",\"");
    let opened = trace::descriptor(&calls[0].returned).expect("a file");
    assert_eq!((opened.number, opened.path.as_str()), (3, "/a/b"));
    assert!(
        trace::descriptor(&calls[3].args[0]).is_none(),
        "a pipe has no path"
    );
}
