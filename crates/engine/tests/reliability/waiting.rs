//! What is refused of a guest that waits in a pool, each with the command that helps.

use crate::home::*;
use crate::pools::{agreed, filled, pooled};
use libtest_mimic::Trial;
use stampo_core::lease::Ending;
use stampo_core::pool::Depth;
use stampo_engine::{Engine, EngineError, GuestCommand, Resize, Streams};
use std::io;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("nothing_is_done_with_a_waiting_member", || {
        refused();
        Ok(())
    })]
}

type Ask = fn(&Engine) -> Result<(), EngineError>;

const ASKED: [(&str, Ask); 9] = [
    ("rename", |e| {
        e.rename(&name("ci-1"), &name("mine")).map(drop)
    }),
    ("resize", |e| {
        let larger = Resize {
            cpus: Some(2),
            memory: None,
            disk_size: None,
        };
        e.resize(&name("ci-1"), larger).map(drop)
    }),
    ("flatten", |e| e.submit_flatten(&name("ci-1")).map(drop)),
    ("start", |e| e.start(&name("ci-1")).map(drop)),
    ("stop", |e| e.stop(&name("ci-1"), true).map(drop)),
    ("bring back", |e| e.restore_guest(&name("ci-1")).map(drop)),
    ("lease", |e| {
        let lease = agreed(60, Ending::Trash);
        e.set_lease(&name("ci-1"), lease).map(drop)
    }),
    ("write", |e| e.write_file(&name("ci-1"), "/etc/motd", b"x")),
    ("exec", |e| {
        let command = GuestCommand {
            argv: vec!["/bin/true".to_owned()],
            ..GuestCommand::default()
        };
        let streams = Streams {
            stdin: None,
            stdin_first: false,
            stdout: &mut io::sink(),
            stderr: &mut io::sink(),
            signal: &mut || None,
        };
        e.exec(&name("ci-1"), &command, streams).map(drop)
    }),
];

fn refused() {
    let home = filled(Depth::Warm);
    let engine = home.engine();
    let before = pooled(&engine);
    for (what, ask) in ASKED {
        let why = ask(&engine).expect_err(what).chain();
        assert!(why.contains("stampo pool take ci"), "{what}: {why}");
    }
    assert_eq!(pooled(&engine), before);
}
