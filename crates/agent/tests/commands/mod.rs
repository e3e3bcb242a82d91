//! Commands that the agent runs: what they write comes as they write it, what they are given
//! arrives whole, and nothing of them outlives whoever asked for it.

use crate::machine::Machine;
use stampo_agent_protocol::*;
use std::time::{Duration, Instant};

fn command(words: &[&str]) -> ExecStart {
    ExecStart {
        argv: Few::first(words.iter().map(|word| (*word).to_owned())),
        env: Few::default(),
        cwd: None,
        user: None,
        limit_ms: None,
    }
}

pub fn shell(script: &str) -> ExecStart {
    command(&["sh", "-c", script])
}

fn start(machine: &mut Machine, command: ExecStart) -> u64 {
    match machine.ask(&Request::ExecStart(command)) {
        Response::Started { session } => session,
        other => panic!("{other:?}"),
    }
}

fn poll_with(machine: &mut Machine, session: u64, stdin: &[u8], close_stdin: bool) -> ExecOutput {
    let poll = ExecPoll {
        session,
        stdin: Chunk::first(stdin),
        close_stdin,
        wait_ms: 1_000,
    };
    match machine.ask(&Request::ExecPoll(poll)) {
        Response::ExecOutput(output) => output,
        other => panic!("{other:?}"),
    }
}

fn poll(machine: &mut Machine, session: u64) -> ExecOutput {
    poll_with(machine, session, b"", true)
}

/// All that it writes, and how it ends.
pub fn run(machine: &mut Machine, command: ExecStart) -> (String, String, ExecOutput) {
    let session = start(machine, command);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let output = poll(machine, session);
        stdout.extend_from_slice(output.stdout.bytes());
        stderr.extend_from_slice(output.stderr.bytes());
        if output.exit.is_some() {
            let text = |bytes| String::from_utf8(bytes).expect("text");
            return (text(stdout), text(stderr), output);
        }
    }
}

fn refusal(response: Response) -> String {
    match response {
        Response::Refused(refusal) => refusal.why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_command_says_what_it_says_and_how_it_ended() {
    let mut machine = Machine::start(&[]);
    let (out, err, last) = run(&mut machine, shell("echo out; echo err >&2; exit 7"));
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    assert_eq!((last.exit, last.timed_out), (Some(7), false));
    let (.., last) = run(&mut machine, shell("kill -TERM $$"));
    assert_eq!(last.exit, Some(128 + 15));
    let mut placed = shell("pwd; echo $HOME $PATH; echo $EXTRA");
    placed.cwd = Some("/etc".to_owned());
    placed.env = Few::first(["EXTRA=a=b c".to_owned()]);
    let (out, ..) = run(&mut machine, placed);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(out, format!("/etc\n/root {path}\na=b c\n"));
    let missing = Request::ExecStart(command(&["/no/such/program"]));
    let why = refusal(machine.ask(&missing));
    assert!(why.contains("/no/such/program"), "{why}");
    let mut stranger = command(&["true"]);
    stranger.user = Some("nobody-here".to_owned());
    let why = refusal(machine.ask(&Request::ExecStart(stranger)));
    assert!(why.contains("no such user"), "{why}");
}

#[test]
fn output_comes_while_the_command_still_runs_and_others_have_their_turn() {
    let mut machine = Machine::start(&[]);
    let session = start(
        &mut machine,
        shell("echo one; read line; echo \"got $line\""),
    );
    let first = poll_with(&mut machine, session, b"", false);
    assert_eq!((first.stdout.bytes(), first.exit), (&b"one\n"[..], None));
    assert!(matches!(machine.ask(&Request::Hello), Response::Hello(_)));
    let other = run(&mut machine, shell("echo other"));
    assert_eq!(other.0, "other\n");
    let taken = poll_with(&mut machine, session, b"two\n", false);
    assert_eq!(taken.stdin_kept, 0);
    let mut said = taken.stdout.bytes().to_vec();
    let mut exit = taken.exit;
    while exit.is_none() {
        let output = poll_with(&mut machine, session, b"", false);
        said.extend_from_slice(output.stdout.bytes());
        exit = output.exit;
    }
    assert_eq!((said.as_slice(), exit), (&b"got two\n"[..], Some(0)));
    let gone = Request::ExecSignal(ExecSignal { session, signal: 2 });
    assert!(refusal(machine.ask(&gone)).contains("no such command"));
}

#[test]
fn much_goes_through_whole_in_both_directions_and_a_full_pipe_waits() {
    let mut machine = Machine::start(&[]);
    let given: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let session = start(&mut machine, command(&["cat"]));
    let (mut rest, mut got, mut kept) = (given.as_slice(), Vec::new(), 0);
    let output = loop {
        let step = if kept == 0 {
            rest.len().min(CHUNK_BYTES)
        } else {
            0
        };
        let (now, later) = rest.split_at(step);
        let output = poll_with(&mut machine, session, now, later.is_empty());
        rest = later;
        kept = output.stdin_kept;
        got.extend_from_slice(output.stdout.bytes());
        if output.exit.is_some() {
            break output;
        }
    };
    assert_eq!(output.exit, Some(0));
    assert!(got == given, "{} of {} bytes", got.len(), given.len());
    // Nobody reads this one: what it writes waits in its pipe, and nothing grows.
    let session = start(&mut machine, command(&["yes"]));
    std::thread::sleep(Duration::from_millis(100));
    let full = poll(&mut machine, session);
    assert_eq!(full.stdout.bytes().len(), CHUNK_BYTES);
    machine.ask(&Request::ExecSignal(ExecSignal { session, signal: 9 }));
    let exit = std::iter::from_fn(|| Some(poll(&mut machine, session).exit)).find_map(|exit| exit);
    assert_eq!(exit, Some(128 + 9));
}

#[test]
fn input_that_nobody_takes_is_kept_and_no_more_is_taken() {
    let mut machine = Machine::start(&[]);
    let session = start(&mut machine, command(&["sleep", "1000"]));
    // The pipe takes one chunk; the next is kept.
    let first = poll_with(&mut machine, session, &[1; CHUNK_BYTES], false);
    assert_eq!(first.stdin_kept, 0);
    let second = poll_with(&mut machine, session, &[2; CHUNK_BYTES], false);
    assert_eq!(second.stdin_kept as usize, CHUNK_BYTES);
    let third = ExecPoll {
        session,
        stdin: Chunk::first(b"3"),
        close_stdin: false,
        wait_ms: 0,
    };
    let why = refusal(machine.ask(&Request::ExecPoll(third)));
    assert!(why.contains("not taken yet"), "{why}");
    // One that closes its input says so.
    let session = start(&mut machine, shell("exec <&-; echo closed; sleep 1000"));
    assert_eq!(
        poll_with(&mut machine, session, b"", false).stdout.bytes(),
        b"closed\n"
    );
    let output = poll_with(&mut machine, session, b"lost", false);
    assert!(output.stdin_closed && output.stdin_kept == 0);
    // Neither ends by itself soon.
    assert_eq!(machine.hang_up(), Some(0));
}

#[test]
fn a_signal_a_limit_and_the_end_of_the_line_reach_everything_that_it_started() {
    let mut machine = Machine::start(&[]);
    let tree = "sh -c 'trap \"\" TERM; echo ready; sleep 1000; true' & wait";
    let session = start(&mut machine, shell(tree));
    assert_eq!(poll(&mut machine, session).stdout.bytes(), b"ready\n");
    machine.ask(&Request::ExecSignal(ExecSignal { session, signal: 9 }));
    let output = poll(&mut machine, session);
    assert_eq!(output.exit, Some(128 + 9));

    let mut limited = shell("echo $$; sleep 1000 & sleep 1000");
    limited.limit_ms = Some(300);
    let begun = Instant::now();
    let (pid, _, last) = run(&mut machine, limited);
    assert_eq!((last.exit, last.timed_out), (Some(128 + 9), true));
    assert!(begun.elapsed() < Duration::from_secs(20));
    await_gone(&pid, "its limit");

    let session = start(&mut machine, shell("echo $$; sleep 1000 & sleep 1000"));
    let output = poll(&mut machine, session);
    let pid = String::from_utf8(output.stdout.bytes().to_vec()).expect("a number");
    assert!(group_lives(pid.trim()), "it runs");
    assert_eq!(machine.hang_up(), Some(0));
    await_gone(&pid, "its agent");
}

/// A killed process is there until it has had its turn.
fn await_gone(group: &str, what: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    while group_lives(group.trim()) {
        assert!(Instant::now() < end, "it outlived {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process of this group runs. The machine shares its process ids with the test.
fn group_lives(group: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("listed").flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .any(|stat| {
            // After the name: state, parent, group (proc_pid_stat(5)).
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            let fields: Vec<&str> = fields.split(' ').collect();
            fields.first() != Some(&"Z") && fields.get(2) == Some(&group)
        })
}

#[test]
fn no_more_than_some_run_at_once_and_a_fork_has_none_of_them() {
    let mut machine = Machine::start(&[]);
    let sessions: Vec<u64> = (0..MOST_SESSIONS)
        .map(|_| start(&mut machine, command(&["sleep", "1000"])))
        .collect();
    let one_more = Request::ExecStart(command(&["true"]));
    let why = refusal(machine.ask(&one_more));
    assert!(why.contains("run already"), "{why}");
    let fork = ForkRequest {
        clock_unix_ns: 1_790_000_000_000_000_000,
        seed: Secret::new(vec![0xA5; 64]),
        nonce: Hex32([7; 32]),
        identity: Identity {
            hostname: "ci-1".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
        },
        nics: Few::default(),
        ssh_keys: SshKeys::Keep,
        logins: Few::default(),
        run_hooks: false,
        hook_limit_ms: 0,
    };
    machine.fork(&fork);
    for session in sessions {
        let signal = Request::ExecSignal(ExecSignal { session, signal: 2 });
        assert!(refusal(machine.ask(&signal)).contains("no such command"));
    }
    start(&mut machine, command(&["true"]));
}
