//! `ssh` and `exec`.

use super::Session;
use crate::args::{ExecArgs, SshArgs};
use stampo_api::{ExecRequest, ExecStreams, Kind, Problem};
use stampo_core::names::GuestName;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Linux's number, on every architecture.
const SIGINT: i32 = 2;

/// `ssh`: becomes the ssh program, with the guest's host keys pinned.
pub fn ssh(session: &Session, args: &SshArgs) -> Result<ExitCode, Problem> {
    let (user, name) = args
        .target
        .split_once('@')
        .unwrap_or(("root", &args.target));
    let name: GuestName = name
        .parse()
        .map_err(|error| Problem::from_error(Kind::Usage, &error))?;
    let guest = session.api.guest(&name)?;
    if guest.power != "running" {
        let problem = Problem::new(
            Kind::Conflict,
            format!("log in to {name}: it is {}", guest.power),
        );
        return Err(problem.hint(format!("stampo start --wait {name}")));
    }
    let address = guest
        .address
        .as_deref()
        .and_then(|address| address.rsplit_once(':'));
    let Some((host, port)) = address else {
        let what = format!("log in to {name}: its address comes from a DHCP server");
        return Err(Problem::new(Kind::Conflict, what).hint(format!("stampo console {name}")));
    };
    let mut ssh = Command::new("ssh");
    if guest.host_keys.is_empty() {
        // The guest made its own keys: ssh asks, once, and remembers them for this guest.
        ssh.arg("-o")
            .arg(format!("HostKeyAlias=stampo-{}", guest.id));
    } else {
        let known = session.api.known_hosts(&name)?;
        ssh.arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()));
        ssh.arg("-o").arg(format!("HostKeyAlias={name}"));
        ssh.args([
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
        ]);
    }
    if let Some(identity) = &args.identity {
        ssh.arg("-i")
            .arg(identity)
            .args(["-o", "IdentitiesOnly=yes"]);
    }
    ssh.args(["-p", port, "-l", user, "--", host.trim_matches(['[', ']'])])
        .args(&args.command);
    let error = ssh.exec();
    Err(Problem::new(Kind::Failed, format!("run ssh: {error}")).hint("apt install openssh-client"))
}

/// Runs a command in a guest; its exit code.
pub(super) fn run_in(
    session: &Session,
    guest: &GuestName,
    command: &[String],
    user: Option<&str>,
    interactive: bool,
    timeout_s: u64,
) -> Result<i32, Problem> {
    let request = ExecRequest {
        guest: guest.clone(),
        argv: command.to_vec(),
        env: Vec::new(),
        cwd: None,
        user: user.map(str::to_owned),
        timeout_s: Some(timeout_s),
        stdin_first: interactive,
    };
    connected(session, request)
}

/// Refuses a command without a program before anything is done for it.
pub(super) fn check_command(command: &[String]) -> Result<(), Problem> {
    match command.first().is_some_and(|program| !program.is_empty()) {
        true => Ok(()),
        false => Err(Problem::new(
            Kind::Usage,
            "run a command: the name of its program is empty",
        )),
    }
}

/// `exec`: the guest's exit code is ours.
pub fn exec(session: &Session, args: &ExecArgs) -> Result<ExitCode, Problem> {
    check_command(&args.command)?;
    let request = ExecRequest {
        guest: args.guest.clone(),
        argv: args.command.clone(),
        env: args.env.clone(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        timeout_s: args.timeout,
        stdin_first: args.interactive,
    };
    let code = connected(session, request)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Runs a command that is connected to our own input, output and interrupts.
fn connected(session: &Session, request: ExecRequest) -> Result<i32, Problem> {
    crate::signals::install();
    let stdin = std::io::stdin();
    let pass_on = request.stdin_first || !stdin.is_terminal();
    let mut told = false;
    let mut interrupt = || {
        let first = crate::signals::interrupted() && !std::mem::replace(&mut told, true);
        first.then_some(SIGINT)
    };
    let streams = ExecStreams {
        stdin: pass_on.then(|| Box::new(stdin) as _),
        stdout: &mut std::io::stdout(),
        stderr: &mut std::io::stderr(),
        signal: &mut interrupt,
    };
    session.api.exec(request, streams)
}
