//! Commands in running guests.
//!
//! stampo's own agent runs them where it listens: output is passed on as it comes, input as it is
//! taken, and signals reach the command. QEMU's agent is the second choice: it takes input before
//! it starts and gives output after the end, and knows no users, directories and variables.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_agent_protocol::{
    CHUNK_BYTES, Chunk, ExecOutput, ExecPoll, ExecSignal, ExecStart, Few, Request, Response,
};
use stampo_core::names::GuestName;
use stampo_driver::{DriverError, ExecRequest};
use stampo_store::{GuestRow, LeaseRow};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// How long an agent is waited for before a command.
const AGENT_WAIT: Duration = Duration::from_secs(10);
/// The pause between two looks whether one listens.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one answer of stampo's agent may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the agent waits for news of a command that may get input.
const SOON_MS: u32 = 50;
/// The same for one that gets none any more.
const LATER_MS: u32 = 250;
/// How much longer than its limit a command is waited for: the agent has to kill it.
const OVERTIME: Duration = Duration::from_secs(5);
/// What QEMU's agent is given where no limit was asked for.
const QEMU_AGENT_LIMIT: Duration = Duration::from_secs(60);
/// The most that is passed on to QEMU's agent, which takes it in one message.
const WHOLE_INPUT_BYTES: u64 = 16 << 20;
/// How often a killed command is asked for its end. A pipe holds no more than a few answers.
const LAST_ANSWERS: usize = 8;
/// Linux's number, on every architecture.
const SIGKILL: i32 = 9;

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestCommand {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// The directory that it starts in; `/` when not given.
    pub cwd: Option<String>,
    /// A user of the guest; root when not given.
    pub user: Option<String>,
    /// How long it may run.
    pub limit: Option<Duration>,
}

/// What a command is connected to on the host.
pub struct Streams<'a> {
    /// Its standard input; it has none when not given. Read by a thread of its own, which may
    /// outlive the command while it waits for more.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// All of the input is passed on also where that means to read it to its end first.
    pub stdin_first: bool,
    /// Takes its standard output.
    pub stdout: &'a mut dyn Write,
    /// Takes its standard error.
    pub stderr: &'a mut dyn Write,
    /// A signal to send to it now, by Linux's number. Asked several times a second.
    pub signal: &'a mut dyn FnMut() -> Option<i32>,
}

impl Engine {
    /// Runs a command in a running guest; its exit code, `128 + signal` when a signal ended it.
    pub fn exec(
        &self,
        name: &GuestName,
        command: &GuestCommand,
        streams: Streams<'_>,
    ) -> Result<i32, EngineError> {
        let row = self.ready_guest(name, "reach")?;
        let Some(program) = command.argv.first() else {
            return Err(usage(name, "name a program".to_owned()));
        };
        if command.limit.is_some_and(|limit| limit.is_zero()) {
            return Err(usage(name, "it needs more than no time at all".to_owned()));
        }
        let is_named = |variable: &&String| variable.find('=').is_some_and(|at| at > 0);
        if let Some(wrong) = command.env.iter().find(|variable| !is_named(variable)) {
            // Only its beginning: it may be a secret's.
            let shown: String = wrong.chars().take(3).collect();
            let why = format!("the variable {shown}… is not NAME=VALUE");
            return Err(usage(name, why));
        }
        self.store
            .write(|tx| self.audit(tx, "exec", name.as_str(), program))?;
        self.exec_in(&row, command, streams)
            .map_err(|error| self.or_gone(&row, error))
    }

    /// Runs a command in the guest of this row, by whichever agent answers.
    pub(crate) fn exec_in(
        &self,
        row: &GuestRow,
        command: &GuestCommand,
        streams: Streams<'_>,
    ) -> Result<i32, EngineError> {
        let plain = command.env.is_empty() && command.cwd.is_none() && command.user.is_none();
        if self.own_agent_listens(row, plain)? {
            let started = self.start_command(row, command)?;
            return self.attend(row, started, command, streams);
        }
        self.exec_whole(row, command, streams)
    }

    /// What it means that a command in this guest failed: one whose guest was taken away under it,
    /// because its time was over or somebody removed it, says so.
    fn or_gone(&self, row: &GuestRow, error: EngineError) -> EngineError {
        let now_ms = self.now_ms();
        let gone = self.store.read(|tx| {
            let is_over = |lease: LeaseRow| lease.lease.until_ms <= now_ms;
            let is_there = |row: GuestRow| row.state.is_complete();
            let is_left = tx.guest(row.id)?.is_some_and(is_there);
            Ok::<_, EngineError>(!is_left || tx.lease(row.id)?.is_some_and(is_over))
        });
        match gone {
            Ok(true) => EngineError::Conflict {
                act: format!("run a command in {}", row.name),
                why: "it was taken away meanwhile: its time was over, and a longer --ttl gives it \
                      more, or somebody removed it"
                    .to_owned(),
            },
            _ => error,
        }
    }

    /// Waits for an agent: true for stampo's own, false for QEMU's where that is enough.
    pub(crate) fn own_agent_listens(
        &self,
        row: &GuestRow,
        qemu_is_enough: bool,
    ) -> Result<bool, EngineError> {
        let begun = Instant::now();
        loop {
            let listening = self.driver.listening(row.id);
            let listening = listening.map_err(EngineError::in_guest(&row.name))?;
            if listening.own || (listening.qemu && qemu_is_enough) {
                return Ok(listening.own);
            }
            if begun.elapsed() > AGENT_WAIT {
                let (guest, waited) = (row.name.clone(), AGENT_WAIT);
                return Err(EngineError::Silent { guest, waited });
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn start_command(&self, row: &GuestRow, command: &GuestCommand) -> Result<u64, EngineError> {
        let too_many = |what: &str| usage(&row.name, format!("it has too many {what}"));
        let limit = command.limit.map(|limit| limit.as_millis());
        let start = ExecStart {
            argv: Few::new(command.argv.clone()).ok_or_else(|| too_many("arguments"))?,
            env: Few::new(command.env.clone()).ok_or_else(|| too_many("variables"))?,
            cwd: command.cwd.clone(),
            user: command.user.clone(),
            limit_ms: limit.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        };
        let asked = Request::ExecStart(start);
        match self.driver.ask_agent(row.id, &asked, ANSWER) {
            Ok(Response::Started { session }) => Ok(session),
            Ok(_) => Err(beside_the_point(row)),
            Err(DriverError::Refused(why)) => Err(EngineError::Conflict {
                act: format!("run a command in {}", row.name),
                why: format!(
                    "{why}; its program, directory (-w) and user (-u) have to be there in the guest: look \
                     there with the command ls"
                ),
            }),
            Err(error) => Err(EngineError::in_guest(&row.name)(error)),
        }
    }

    /// Passes everything on until the command ends. Where that fails, the command is ended.
    fn attend(
        &self,
        row: &GuestRow,
        session: u64,
        command: &GuestCommand,
        mut streams: Streams<'_>,
    ) -> Result<i32, EngineError> {
        let ended = self.pass_on(row, session, command.limit, &mut streams);
        match ended {
            Ok(output) if output.timed_out => Err(EngineError::Conflict {
                act: format!("run a command in {}", row.name),
                why: format!(
                    "it was killed: it ran for over {} s",
                    seconds(command.limit)
                ),
            }),
            Ok(output) => Ok(output.exit.unwrap_or_default()),
            Err(error) => {
                if let Err(error) = self.end_command(row, session) {
                    tracing::debug!(%error, "the command was not ended");
                }
                Err(error)
            }
        }
    }

    /// Kills a command and takes what it has written still, so that the agent forgets it.
    fn end_command(&self, row: &GuestRow, session: u64) -> Result<(), DriverError> {
        let signal = SIGKILL;
        let kill = Request::ExecSignal(ExecSignal { session, signal });
        self.driver.ask_agent(row.id, &kill, ANSWER)?;
        for _ in 0..LAST_ANSWERS {
            let poll = Request::ExecPoll(ExecPoll {
                session,
                stdin: Chunk::default(),
                close_stdin: true,
                wait_ms: LATER_MS,
            });
            match self.driver.ask_agent(row.id, &poll, ANSWER)? {
                Response::ExecOutput(output) if output.exit.is_none() => {}
                _ => break,
            }
        }
        Ok(())
    }

    fn ask(&self, row: &GuestRow, request: &Request) -> Result<Response, EngineError> {
        let answer = self.driver.ask_agent(row.id, request, ANSWER);
        answer.map_err(EngineError::in_guest(&row.name))
    }

    fn pass_on(
        &self,
        row: &GuestRow,
        session: u64,
        limit: Option<Duration>,
        streams: &mut Streams<'_>,
    ) -> Result<ExecOutput, EngineError> {
        let begun = Instant::now();
        let mut input = Input::begin(streams.stdin.take());
        let mut kept = 0;
        loop {
            if let Some(signal) = (streams.signal)() {
                let send = Request::ExecSignal(ExecSignal { session, signal });
                self.ask(row, &send)?;
            }
            let stdin = if kept == 0 {
                input.next()
            } else {
                Chunk::default()
            };
            let poll = Request::ExecPoll(ExecPoll {
                session,
                stdin,
                close_stdin: input.is_over(),
                wait_ms: if input.is_over() { LATER_MS } else { SOON_MS },
            });
            let answer = self.ask(row, &poll)?;
            let Response::ExecOutput(output) = answer else {
                return Err(beside_the_point(row));
            };
            let write = |to: &mut dyn Write, chunk: &Chunk| {
                to.write_all(chunk.bytes()).and_then(|()| to.flush())
            };
            write(streams.stdout, &output.stdout)
                .and_then(|()| write(streams.stderr, &output.stderr))
                .map_err(EngineError::room("pass on what the command wrote"))?;
            if output.exit.is_some() {
                return Ok(output);
            }
            // The agent ends it in time; one that does not is not waited for.
            if limit.is_some_and(|limit| begun.elapsed() > limit.saturating_add(OVERTIME)) {
                return Err(EngineError::Conflict {
                    act: format!("run a command in {}", row.name),
                    why: format!("its agent did not end it after {} s", seconds(limit)),
                });
            }
            kept = output.stdin_kept;
            if output.stdin_closed {
                input.end();
            }
        }
    }

    /// Through QEMU's agent: everything before, and everything after.
    fn exec_whole(
        &self,
        row: &GuestRow,
        command: &GuestCommand,
        streams: Streams<'_>,
    ) -> Result<i32, EngineError> {
        let mut input = Vec::new();
        if let Some(stdin) = streams.stdin.filter(|_| streams.stdin_first) {
            stdin
                .take(WHOLE_INPUT_BYTES)
                .read_to_end(&mut input)
                .map_err(EngineError::room("read what the command is given"))?;
        }
        let request = ExecRequest {
            argv: command.argv.clone(),
            input,
            timeout: command.limit.unwrap_or(QEMU_AGENT_LIMIT),
        };
        let outcome = self.driver.agent_exec(row.id, &request);
        let outcome = outcome.map_err(EngineError::in_guest(&row.name))?;
        let written = streams
            .stdout
            .write_all(&outcome.stdout)
            .and_then(|()| streams.stderr.write_all(&outcome.stderr));
        written.map_err(EngineError::room("pass on what the command wrote"))?;
        Ok(outcome.exit_code)
    }
}

/// What a command is given, read ahead by one piece: reading may wait for ever.
struct Input {
    pieces: Option<Receiver<Vec<u8>>>,
}

impl Input {
    fn begin(stdin: Option<Box<dyn Read + Send>>) -> Self {
        let pieces = stdin.map(|mut stdin| {
            let (sender, receiver) = sync_channel(1);
            std::thread::spawn(move || {
                let mut buffer = vec![0; CHUNK_BYTES];
                // One that can't be read any more is over.
                while let Ok(count @ 1..) = stdin.read(&mut buffer) {
                    if sender.send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
            receiver
        });
        Input { pieces }
    }

    /// What is there now.
    fn next(&mut self) -> Chunk {
        match self.pieces.as_ref().map(Receiver::try_recv) {
            Some(Ok(piece)) => Chunk::first(&piece),
            Some(Err(TryRecvError::Disconnected)) => {
                self.end();
                Chunk::default()
            }
            Some(Err(TryRecvError::Empty)) | None => Chunk::default(),
        }
    }

    fn end(&mut self) {
        self.pieces = None;
    }

    fn is_over(&self) -> bool {
        self.pieces.is_none()
    }
}

fn usage(name: &GuestName, why: String) -> EngineError {
    let act = format!("run a command in {name}");
    EngineError::Usage { act, why }
}

fn beside_the_point(row: &GuestRow) -> EngineError {
    EngineError::Conflict {
        act: format!("run a command in {}", row.name),
        why: "its agent answered something else".to_owned(),
    }
}

fn seconds(limit: Option<Duration>) -> u64 {
    limit.unwrap_or_default().as_secs()
}
