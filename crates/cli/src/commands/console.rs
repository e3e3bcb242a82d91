//! `console` and `logs`.

use super::Session;
use crate::args::LogsArgs;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use stampo_api::{Kind, Problem, Reply};
use stampo_core::names::GuestName;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// Ctrl-], as telnet and virsh have it.
const LEAVE: u8 = 0x1d;

/// The terminal in raw mode, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing sensible is left to do when even this fails.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn failed(error: &io::Error) -> Problem {
    Problem::new(Kind::Failed, format!("use the console: {error}"))
}

/// `console`.
pub fn console(session: &Session, guest: &GuestName) -> Result<ExitCode, Problem> {
    let socket = session.api.console(guest)?;
    let stream = stampo_server::connect_unix(&socket)
        .map_err(|error| failed(&error).hint("only one console at a time can be open"))?;
    session.note("connected; Ctrl-] leaves, Enter wakes the login prompt");
    let raw = if io::stdin().is_terminal() {
        Some(Raw::enter().map_err(|error| failed(&error))?)
    } else {
        None
    };
    let result = relay(&stream);
    drop(raw);
    result.map_err(|error| failed(&error))?;
    session.note("\nleft the console");
    Ok(ExitCode::SUCCESS)
}

fn relay(stream: &UnixStream) -> io::Result<()> {
    let mut from_guest = stream.try_clone()?;
    std::thread::spawn(move || {
        let copied = io::copy(&mut from_guest, &mut io::stdout());
        // The guest is gone, or our output is: either way the session is over.
        drop(copied);
        let _ = from_guest.shutdown(std::net::Shutdown::Both);
    });
    let mut to_guest = stream;
    let mut buffer = [0; 1024];
    loop {
        let count = io::stdin().read(&mut buffer)?;
        let typed = &buffer[..count];
        let end = typed.iter().position(|byte| *byte == LEAVE);
        to_guest.write_all(&typed[..end.unwrap_or(count)])?;
        if end.is_some() || count == 0 {
            // With nothing to type, what the guest still says is waited for a moment.
            std::thread::sleep(Duration::from_millis(if end.is_some() { 0 } else { 1000 }));
            return Ok(());
        }
    }
}

/// `logs`.
pub fn logs(session: &Session, args: &LogsArgs) -> Result<ExitCode, Problem> {
    let path = session.api.console_log(&args.guest)?;
    let problem = |error: io::Error| {
        Problem::new(Kind::Failed, format!("read {}: {error}", path.display()))
            .hint(format!("stampo start {}", args.guest))
    };
    let mut file = File::open(&path).map_err(problem)?;
    crate::signals::install();
    loop {
        copy_text(&mut file)?;
        if !args.follow || crate::signals::interrupted() {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Prints what is new, without what a terminal would obey: a guest's words are hostile.
fn copy_text(file: &mut File) -> Reply<()> {
    let failed = |error: io::Error| Problem::new(Kind::Failed, format!("copy the log: {error}"));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let clean: String = text
        .chars()
        .filter(|c| matches!(c, '\n' | '\t') || !c.is_control())
        .collect();
    io::stdout().write_all(clean.as_bytes()).map_err(failed)
}
