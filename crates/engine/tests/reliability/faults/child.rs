//! The child whose calls meet faults: one ordinary command, from opening the home to its end.

use crate::cases::by_name;
use crate::seed::is_long;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::unistd::alarm;
use stampo_engine::{Engine, EngineError, Settings};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

const CASE: &str = "STAMPO_FAULT_CASE";
const HOME: &str = "STAMPO_FAULT_HOME";
/// Instead of a case's name: only open and recover, as every command does first.
pub const RECOVER: &str = "recover";
/// A command takes a tenth of a second; what takes so long hangs, and ends with SIGALRM. A long run
/// is one beside other work, which it lets go first.
const LIMIT_SECONDS: u32 = 120;
const LIMIT_SECONDS_LONG: u32 = 1200;

/// The command of a child that carries out a case on a home. It has to be traced.
pub fn command(case: &str, home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .env(CASE, case)
        .env(HOME, home)
        .env(crate::home::SOURCE, crate::home::source());
    command
}

/// As a child: lets itself be traced and carries out the case's command.
pub fn run_if_asked() -> Option<ExitCode> {
    let case = std::env::var(CASE).ok()?;
    let home = std::env::var_os(HOME).expect("a home is given");
    // Not for the processes that it starts: the sandboxed reader is this program, too.
    let filter = super::calls::filter();
    ptrace::traceme().expect("the parent traces");
    raise(Signal::SIGSTOP).expect("it may stop itself");
    alarm::set(if is_long() {
        LIMIT_SECONDS_LONG
    } else {
        LIMIT_SECONDS
    });
    if !rustix::process::geteuid().is_root() {
        // Only root may filter without it (seccomp(2)).
        rustix::thread::set_no_new_privs(true).expect("it is allowed");
    }
    seccompiler::apply_filter(&filter).expect("a filter may be installed");
    match command_of(&case, Path::new(&home)) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {}", error.chain());
            Some(ExitCode::FAILURE)
        }
    }
}

/// As `stampo` does it: open, recover, work.
fn command_of(case: &str, home: &Path) -> Result<(), EngineError> {
    let engine = open(home)?;
    for recovered in engine.recover()? {
        if let Some(error) = recovered.error {
            eprintln!("note: {} {}: {error}", recovered.kind, recovered.subject);
        }
    }
    if case == RECOVER {
        return Ok(());
    }
    (by_name(case).act)(&engine)
}

fn open(home: &Path) -> Result<Engine, EngineError> {
    let failed = |act: &str, error: Box<dyn std::error::Error + Send + Sync>| EngineError::Room {
        act: act.to_owned(),
        source: error,
    };
    stampo_image::durable::ensure_dir(home, 0o700)
        .map_err(|error| failed("make the home directory", error.into()))?;
    let driver =
        crate::home::driver(home).map_err(|error| failed("open the driver", error.into()))?;
    let settings = Settings {
        // One after the other, so that the calls come in nearly the same order each time.
        parallel: 1,
        actor: "local:test".to_owned(),
        ..Settings::default()
    };
    let engine = Engine::open(home, driver, settings)?;
    Ok(engine.with_installer(Arc::new(crate::system::SmallSystem)))
}
