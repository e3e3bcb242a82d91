//! `ssh` and `exec`.

use super::Session;
use crate::args::{ExecArgs, SshArgs};
use stampo_api::{ExecRequest, Kind, Problem};
use stampo_core::names::GuestName;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The most that is passed on as standard input.
const INPUT_LIMIT_BYTES: u64 = 16 << 20;

/// Where the driver cuts what a command prints.
const OUTPUT_LIMIT_BYTES: usize = 16 << 20;

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
    _user: Option<&str>,
    _interactive: bool,
    timeout_s: u64,
) -> Result<i32, Problem> {
    let reply = session.api.exec(ExecRequest {
        guest: guest.clone(),
        argv: command.to_vec(),
        input: Vec::new(),
        timeout_s,
    })?;
    let failed =
        |error: std::io::Error| Problem::new(Kind::Failed, format!("pass data on: {error}"));
    std::io::stdout().write_all(&reply.stdout).map_err(failed)?;
    std::io::stderr().write_all(&reply.stderr).map_err(failed)?;
    Ok(reply.exit_code)
}

/// `exec`: the guest's exit code is ours.
pub fn exec(session: &Session, args: &ExecArgs) -> Result<ExitCode, Problem> {
    let failed =
        |error: std::io::Error| Problem::new(Kind::Failed, format!("pass data on: {error}"));
    let mut input = Vec::new();
    if args.interactive {
        std::io::stdin()
            .take(INPUT_LIMIT_BYTES)
            .read_to_end(&mut input)
            .map_err(failed)?;
    }
    let request = ExecRequest {
        guest: args.guest.clone(),
        argv: args.command.clone(),
        input,
        timeout_s: args.timeout,
    };
    let reply = session.api.exec(request)?;
    if reply.stdout.len().max(reply.stderr.len()) >= OUTPUT_LIMIT_BYTES {
        session.note("note: the agent passes on 16 MiB at most, and this was cut; use stampo ssh");
    }
    std::io::stdout().write_all(&reply.stdout).map_err(failed)?;
    std::io::stderr().write_all(&reply.stderr).map_err(failed)?;
    Ok(ExitCode::from(u8::try_from(reply.exit_code).unwrap_or(1)))
}
