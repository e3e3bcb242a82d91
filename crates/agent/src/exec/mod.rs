//! Commands that the host runs here: which there are, and when one is given up.
//!
//! Nothing runs in the background: a command's pipes are read when the host asks, and what it
//! writes in between waits in them. How one is started and asked is in `session.rs`. A command that
//! has ended is kept until its end was told.

mod rights;
mod session;

use crate::outcome::{Doing, Failure};
use crate::random;
use rustix::process::Signal;
use session::Session;
use stampo_agent_protocol::{
    ABANDONED_MS, ExecOutput, ExecPoll, ExecSignal, ExecStart, MOST_SESSIONS,
};
use std::process::Child;
use std::time::{Duration, Instant};

/// The commands that run.
#[derive(Default)]
pub(crate) struct Commands {
    sessions: Vec<(u64, Session)>,
    /// Killed, and not gone yet.
    ending: Vec<Child>,
}

impl Commands {
    /// Starts a command; what it is asked about by.
    pub fn start(&mut self, request: &ExecStart) -> Result<u64, Failure> {
        self.give_up_late(Instant::now());
        if self.sessions.len() >= MOST_SESSIONS {
            return Err(Failure(format!("{MOST_SESSIONS} commands run already")));
        }
        // Not to be guessed: one host's late question must not reach another's command.
        let number = u64::from_ne_bytes(random::bytes()?);
        let session = Session::start(request)?;
        self.sessions.push((number, session));
        Ok(number)
    }

    /// What a command did since the last time.
    pub fn poll(&mut self, request: &ExecPoll) -> Result<ExecOutput, Failure> {
        let output = self.find(request.session)?.poll(request)?;
        if output.exit.is_some() {
            self.sessions
                .retain(|(number, _)| *number != request.session);
        }
        Ok(output)
    }

    /// Sends a command a signal.
    pub fn signal(&mut self, request: &ExecSignal) -> Result<(), Failure> {
        let signal = Signal::from_named_raw(request.signal)
            .ok_or_else(|| Failure("there is no such signal".into()))?;
        self.find(request.session)?.signal(signal);
        Ok(())
    }

    fn find(&mut self, session: u64) -> Result<&mut Session, Failure> {
        let mut all = self.sessions.iter_mut();
        let found = all.find(|(number, _)| *number == session);
        let found = found.map(|(_, session)| session);
        found.ok_or_else(|| Failure("no such command: it has ended, or was given up".into()))
    }

    /// When something is to be done about a command that nobody asks about.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.sessions.iter().map(|(_, session)| session.deadline());
        deadlines.min()
    }

    /// Ends what has run too long, and what no host has asked about for too long.
    pub fn give_up_late(&mut self, now: Instant) {
        for (_, session) in &mut self.sessions {
            session.end_late(now);
        }
        let abandoned = Duration::from_millis(ABANDONED_MS);
        let late = self
            .sessions
            .extract_if(.., |(_, session)| now >= session.asked() + abandoned);
        self.ending.extend(late.map(|(_, session)| session.end()));
        self.ending
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// Ends every command: those of a machine that was frozen are not its fork's.
    pub fn end_all(&mut self) {
        let all = std::mem::take(&mut self.sessions);
        self.ending
            .extend(all.into_iter().map(|(_, session)| session.end()));
    }
}

/// A pipe of a command without a wait.
fn without_waiting(pipe: impl std::os::fd::AsFd) -> Result<(), Failure> {
    rustix::io::ioctl_fionbio(pipe, true).doing("prepare its pipes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use stampo_agent_protocol::Few;

    #[test]
    fn a_command_that_nobody_asks_about_is_killed() {
        let mut commands = Commands::default();
        let start = ExecStart {
            argv: Few::first(["sleep".to_owned(), "1000".to_owned()]),
            env: Few::default(),
            cwd: None,
            user: None,
            limit_ms: None,
        };
        let session = commands.start(&start).expect("started");
        let deadline = commands.next_deadline().expect("one runs");
        commands.give_up_late(deadline - Duration::from_millis(1));
        commands.find(session).expect("it has time still");
        commands.give_up_late(deadline);
        assert!(commands.find(session).is_err());
        assert_eq!(commands.next_deadline(), None);
        let end = Instant::now() + Duration::from_secs(10);
        while !commands.ending.is_empty() {
            assert!(Instant::now() < end, "it was not killed");
            std::thread::sleep(Duration::from_millis(5));
            commands.give_up_late(Instant::now());
        }
    }
}
