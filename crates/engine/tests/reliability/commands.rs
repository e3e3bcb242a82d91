//! Commands in guests, through either agent, with their input, output, signals and ends.

use crate::home::*;
use stampo_agent_protocol::{CHUNK_BYTES, MOST_SESSIONS};
use stampo_driver::ExecOutcome;
use stampo_driver::sim::{ForkManners, SimDriver};
use stampo_engine::{Engine, EngineError, GuestCommand, Streams};
use std::io::{self, Cursor, Read, Write};

struct Ran {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: Result<i32, EngineError>,
}

fn run(engine: &Engine, program: &str, stdin: Option<Box<dyn Read + Send>>) -> Ran {
    run_with(engine, program, stdin, &mut || None)
}

fn run_with(
    engine: &Engine,
    program: &str,
    stdin: Option<Box<dyn Read + Send>>,
    signal: &mut dyn FnMut() -> Option<i32>,
) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let streams = Streams {
        stdin,
        stdin_first: true,
        stdout: &mut stdout,
        stderr: &mut stderr,
        signal,
    };
    let ended = engine.exec(&name("app"), &command(program), streams);
    Ran {
        stdout,
        stderr,
        ended,
    }
}

fn command(program: &str) -> GuestCommand {
    GuestCommand {
        argv: vec![program.to_owned()],
        ..GuestCommand::default()
    }
}

/// A running guest, its simulation, and the engine.
fn running() -> (Home, SimDriver, Engine) {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", &spec()).expect("cloned");
    engine.start(&name("app")).expect("started");
    let sim = SimDriver::open(&home.path().join("guests")).expect("a simulated driver");
    (home, sim, engine)
}

/// More than fits into one answer, in both directions.
fn much() -> Vec<u8> {
    (0..=CHUNK_BYTES).map(|at| (at % 251) as u8).collect()
}

pub fn what_a_command_is_given_and_writes_is_passed_on_whole() {
    let (_home, sim, engine) = running();
    let outcome = ExecOutcome {
        exit_code: 7,
        stdout: much(),
        stderr: b"complaint".to_vec(),
    };
    let id = engine.guest_row(&name("app")).expect("a guest").id;
    sim.script_exec(id, "/bin/report", &outcome).expect("kept");
    for manners in [ForkManners::Honest, ForkManners::Silent] {
        // With stampo's agent, and with QEMU's alone.
        sim.set_fork_manners(manners).expect("kept");
        let ran = run(&engine, "/bin/report", None);
        assert_eq!(ran.ended.expect("it ran"), 7, "{manners:?}");
        assert!(ran.stdout == outcome.stdout, "{manners:?}");
        assert_eq!(ran.stderr, outcome.stderr, "{manners:?}");
    }
    sim.set_fork_manners(ForkManners::Honest).expect("kept");
    let ran = run(&engine, "/bin/cat", Some(Box::new(Cursor::new(much()))));
    assert_eq!(ran.ended.expect("it ran"), 0);
    assert!(ran.stdout == much(), "{} bytes", ran.stdout.len());
}

/// Input that never ends, as that of a terminal.
struct Endless;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(5));
        buffer[0] = b'x';
        Ok(1)
    }
}

pub fn a_signal_ends_a_command_that_waits_for_input() {
    let (_home, _sim, engine) = running();
    let mut asked = 0;
    let mut interrupt = || {
        asked += 1;
        (asked == 3).then_some(2)
    };
    let ran = run_with(&engine, "/bin/cat", Some(Box::new(Endless)), &mut interrupt);
    assert_eq!(ran.ended.expect("it ended"), 128 + 2);
}

/// Nobody reads what is written there, as of a pipe whose reader has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn a_command_whose_output_nobody_takes_is_ended() {
    let (_home, sim, engine) = running();
    let id = engine.guest_row(&name("app")).expect("a guest").id;
    let outcome = ExecOutcome {
        exit_code: 0,
        stdout: b"report".to_vec(),
        stderr: Vec::new(),
    };
    sim.script_exec(id, "/bin/report", &outcome).expect("kept");
    // If they were left, the agent would soon take no more.
    for _ in 0..=MOST_SESSIONS {
        let streams = Streams {
            stdin: None,
            stdin_first: false,
            stdout: &mut Gone,
            stderr: &mut io::sink(),
            signal: &mut || None,
        };
        let ended = engine.exec(&name("app"), &command("/bin/report"), streams);
        let error = ended.expect_err("nobody takes it").chain();
        assert!(error.contains("broken pipe"), "{error}");
    }
    assert_eq!(run(&engine, "/bin/true", None).ended.expect("it ran"), 0);
}

/// Input that never comes and never ends.
struct Never;

impl Read for Never {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        loop {
            std::thread::park();
        }
    }
}

/// The simulated agent knows no limits, like one that lies.
pub fn a_command_that_its_agent_does_not_end_in_time_is_not_waited_for() {
    let (_home, _sim, engine) = running();
    let streams = Streams {
        stdin: Some(Box::new(Never)),
        stdin_first: false,
        stdout: &mut io::sink(),
        stderr: &mut io::sink(),
        signal: &mut || None,
    };
    let limited = GuestCommand {
        limit: Some(std::time::Duration::from_millis(1)),
        ..command("/bin/cat")
    };
    let ended = engine.exec(&name("app"), &limited, streams);
    let error = ended.expect_err("its time is over").chain();
    assert!(error.contains("did not end it"), "{error}");
}

/// What a user sees names the guest and the next command, and blames nobody for what was asked.
pub fn what_can_not_be_run_is_refused_in_words() {
    let (_home, _sim, engine) = running();
    let said = |ended: Result<i32, EngineError>| ended.expect_err("refused").to_string();
    let missing = said(run(&engine, "/bin/missing", None).ended);
    assert!(
        missing.contains("run a command in app: start it: No such file"),
        "{missing}"
    );
    assert!(
        missing.contains("look there with the command ls"),
        "{missing}"
    );
    let usage = |command: GuestCommand| {
        let streams = Streams {
            stdin: None,
            stdin_first: false,
            stdout: &mut io::sink(),
            stderr: &mut io::sink(),
            signal: &mut || None,
        };
        let error = engine
            .exec(&name("app"), &command, streams)
            .expect_err("refused");
        assert!(matches!(error, EngineError::Usage { .. }), "{error:?}");
        error.to_string()
    };
    let env = vec!["HUNTER2".to_owned()];
    let unnamed = usage(GuestCommand {
        env,
        ..command("/bin/cat")
    });
    assert!(
        unnamed.contains("NAME=VALUE") && !unnamed.contains("HUNTER2"),
        "{unnamed}"
    );
    let limit = Some(std::time::Duration::ZERO);
    usage(GuestCommand {
        limit,
        ..command("/bin/cat")
    });
    engine.stop(&name("app"), true).expect("stopped");
    let stopped = said(run(&engine, "/bin/cat", None).ended);
    assert!(
        stopped.contains("reach app: it is not running; start it: stampo start app"),
        "{stopped}"
    );
}
