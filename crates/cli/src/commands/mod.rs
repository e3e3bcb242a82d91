//! One file per verb. Each turns its arguments into a request and prints the reply.

mod approval;
mod audit;
mod channel;
mod clone;
mod console;
mod diff;
mod doctor;
mod drift;
mod evidence;
mod files;
mod gc;
mod govern;
mod guests;
mod inside;
mod login;
mod manual;
mod operations;
mod passport;
mod policy;
mod pool;
mod power;
mod retention;
mod run;
mod sign;
mod store;
mod template;
mod wait;

use crate::args::{Cli, Command, EvidenceCommand, Global, StoreCommand};
use crate::progress::Show;
use stampo_api::{Api, Operation, Outcome, Problem, Reply};
use stampo_server::Purpose;
use std::process::ExitCode;

/// What every verb works with.
struct Session {
    api: Box<dyn Api>,
    global: Global,
}

impl Session {
    /// Follows an operation to its end and shows it.
    fn follow(&self, operation: &Operation) -> Reply<Outcome> {
        self.api
            .follow(&operation.id, &Show::new(self.global.quiet))
    }

    /// Prints a note for people to standard error.
    fn note(&self, text: &str) {
        if !self.global.quiet {
            crate::output::say(text);
        }
    }
}

/// Runs the verb. `Ok` holds the exit code of verbs that have codes of their own.
pub fn run(cli: Cli) -> Result<ExitCode, Problem> {
    let Cli { global, command } = cli;
    match &command {
        Command::Completions(args) => return manual::completions(args),
        Command::Man(args) => return manual::pages(args),
        Command::VerifyBundle(args) => return approval::verify(global.output, args),
        Command::Evidence(args) => {
            if let Some(EvidenceCommand::Verify { bundle, key }) = &args.command {
                return evidence::verify(global.output, bundle, key);
            }
        }
        Command::Tend(args) if args.stay => {
            stampo_server::tend(global.home)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let purpose = match &command {
        Command::Store(StoreCommand::Scrub(_)) => Purpose::Scrub,
        Command::Store(StoreCommand::Rescan(args)) if args.replace_damaged => {
            Purpose::ReplaceCatalog
        }
        Command::Store(StoreCommand::Rescan(_)) => Purpose::Rescan,
        _ => Purpose::Work,
    };
    let opened = stampo_server::open(global.home.clone(), purpose)?;
    let session = Session {
        api: opened.api,
        global,
    };
    for note in opened.notes {
        session.note(&note);
    }
    dispatch(&session, command)
}

fn dispatch(session: &Session, command: Command) -> Result<ExitCode, Problem> {
    match command {
        Command::Clone(args) => clone::run(session, &args),
        Command::Run(args) => run::run(session, &args),
        Command::Pool(command) => pool::run(session, command),
        Command::Lease(command) => pool::lease(session, command),
        Command::Tend(_) => pool::tend(session),
        Command::Ps(args) => guests::ps(session, &args),
        Command::Show(args) => guests::show(session, &args.guest),
        Command::Start(args) => power::start(session, &args),
        Command::Stop(args) => power::stop(session, &args),
        Command::Restart(args) => power::restart(session, &args),
        Command::Rm(args) => guests::rm(session, &args),
        Command::Undelete(args) => guests::undelete(session, &args.guest),
        Command::Ssh(args) => login::ssh(session, &args),
        Command::Exec(args) => login::exec(session, &args),
        Command::Cp(args) => files::cp(session, &args),
        Command::Console(args) => console::console(session, &args.guest),
        Command::Logs(args) => console::logs(session, &args),
        Command::Rename(args) => guests::rename(session, &args),
        Command::Resize(args) => guests::resize(session, &args),
        Command::Passport(args) => passport::run(session, &args),
        Command::Drift(args) => drift::run(session, &args),
        Command::Policy(command) => policy::run(session, command),
        Command::Approval(command) => approval::run(session, &command),
        Command::VerifyBundle(args) => approval::verify(session.global.output, &args),
        Command::Template(command) => template::run(session, command),
        Command::Sbom(args) => inside::sbom(session, &args),
        Command::Cve(args) => inside::cve(session, &args),
        Command::Vulndb(command) => inside::vulndb(session, command),
        Command::Evidence(args) => evidence::run(session, &args),
        Command::Retention(command) => retention::run(session, &command),
        Command::Gc(args) => gc::gc(session, &args),
        Command::Store(StoreCommand::Rescan(_)) => store::rescan(session),
        Command::Store(StoreCommand::Scrub(args)) => store::scrub(session, &args),
        Command::Operation(command) => operations::run(session, command),
        Command::Audit(args) => audit::run(session, args),
        Command::Doctor => doctor::run(session),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::pages(&args),
    }
}
