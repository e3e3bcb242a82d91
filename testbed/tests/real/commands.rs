//! `stampo exec` in a real guest, through stampo's agent: whom a command runs as and where, what it is
//! given, how it ends, and what an interrupt does to it.
//!
//! Called by `web.rs`, which has a running guest. Not about QEMU's agent, and not about how long a
//! command may take: both are in `crates/agent/tests/commands` and the engine's tests.

use rustix::process::{Pid, Signal, kill_process};
use stampo_testbed::Stampo;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// More than a pipe holds, and more than one message carries.
const INPUT_BYTES: usize = 300_000;
/// How long anything may take. Emulated guests are slow.
const LIMIT: Duration = Duration::from_secs(60);

/// Everything; `user` is a user of the guest.
pub(crate) fn through_the_program(stampo: &Stampo, guest: &str, user: &str) {
    let begun = Instant::now();
    surroundings(stampo, guest, user);
    ends(stampo, guest);
    input(stampo, guest);
    an_interrupt_ends_the_program(stampo, guest);
    an_interrupt_is_the_programs_to_take(stampo, guest);
    eprintln!("commands: {:?} in all", begun.elapsed());
}

/// `exec` with these options, and a shell's script.
fn shell(stampo: &Stampo, guest: &str, options: &[&str], script: &str) -> Command {
    let words = [&["exec", guest], options, &["--", "/bin/sh", "-c", script]].concat();
    stampo.command(&words)
}

fn surroundings(stampo: &Stampo, guest: &str, user: &str) {
    stampo.agent(guest, &format!("usermod -aG adm,games {user}"));
    let options = ["-u", user, "-w", "/var/tmp", "-e", "GREETING=two  words=1"];
    let options = [&options[..], &["-e", "EMPTY="]].concat();
    let script = "id -un; id -Gn; pwd; echo \"$HOME $USER\"; echo \"$GREETING|${EMPTY-unset}\"; \
                  touch /root/not-mine 2>/dev/null || echo refused";
    let ran = shell(stampo, guest, &options, script).output();
    let ran = ran.expect("stampo starts");
    let groups = stampo.agent(guest, &format!("id -Gn {user}"));
    assert!(groups.contains("adm games"), "{groups}");
    let expected =
        format!("{user}\n{groups}\n/var/tmp\n/home/{user} {user}\ntwo  words=1|\nrefused\n");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected, "{ran:?}");
    // Without options.
    let script = "id -un; pwd; echo \"$HOME ${GREETING-unset}\"";
    assert_eq!(stampo.agent(guest, script), "root\n/\n/root unset");
    for wrong in [["-u", "nobody-here"], ["-w", "/not/there"]] {
        let ran = shell(stampo, guest, &wrong, "echo it ran").output();
        let ran = ran.expect("stampo starts");
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
    }
}

/// The command's exit code is ours, and so is the signal that ended it.
fn ends(stampo: &Stampo, guest: &str) {
    for (script, code) in [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)] {
        let ran = shell(stampo, guest, &[], script).status();
        assert_eq!(ran.expect("stampo starts").code(), Some(code), "{script}");
    }
}

/// What `cat` is given comes back, every byte of it.
fn input(stampo: &Stampo, guest: &str) {
    let bytes: Vec<u8> = (0..INPUT_BYTES).map(|_| rand::random()).collect();
    let mut client = stampo.command(&["exec", guest, "--", "cat"]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().expect("stampo starts");
    let mut to = client.stdin.take().expect("a pipe");
    let given = bytes.clone();
    let giving = std::thread::spawn(move || to.write_all(&given));
    let mut back = Vec::new();
    let mut from = client.stdout.take().expect("a pipe");
    from.read_to_end(&mut back).expect("readable");
    giving.join().expect("it ends").expect("all of it is taken");
    assert_eq!(client.wait().expect("it ends").code(), Some(0));
    assert_eq!(back.len(), bytes.len());
    assert!(back == bytes, "other bytes come back");
}

/// A client that runs a script, whose first line is the number of its process in the guest.
fn begun(stampo: &Stampo, guest: &str, script: &str) -> (Child, BufReader<ChildStdout>, String) {
    let mut client = shell(stampo, guest, &[], &format!("echo $$; {script}"));
    let mut client = client
        .stdout(Stdio::piped())
        .spawn()
        .expect("stampo starts");
    let mut output = BufReader::new(client.stdout.take().expect("a pipe"));
    let mut number = String::new();
    output.read_line(&mut number).expect("a line");
    let number = number.trim().to_owned();
    assert!(number.parse::<u32>().is_ok(), "{number:?}");
    (client, output, number)
}

/// What a terminal does at Ctrl-C; the client's exit code then.
fn interrupted(client: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(client), Signal::INT).expect("it runs");
    let sent = Instant::now();
    while sent.elapsed() < LIMIT {
        if let Some(status) = client.try_wait().expect("watched") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    client.kill().expect("killed");
    panic!("it goes on after an interrupt")
}

fn is_gone(stampo: &Stampo, guest: &str, number: &str) {
    let look = format!("test -e /proc/{number} && echo there || echo gone");
    assert_eq!(stampo.agent(guest, &look), "gone", "process {number}");
}

fn an_interrupt_ends_the_program(stampo: &Stampo, guest: &str) {
    // What the program has started, too: the signal is the whole group's.
    let script = "sh -c 'echo $$; exec sleep 1000'; true";
    let (mut client, mut output, shell) = begun(stampo, guest, script);
    let mut child = String::new();
    output.read_line(&mut child).expect("a line");
    assert_eq!(interrupted(&mut client), Some(130));
    is_gone(stampo, guest, &shell);
    is_gone(stampo, guest, child.trim());
}

fn an_interrupt_is_the_programs_to_take(stampo: &Stampo, guest: &str) {
    let script = "trap 'echo caught; exit 3' INT; while :; do sleep 0.1; done";
    let (mut client, mut output, number) = begun(stampo, guest, script);
    assert_eq!(interrupted(&mut client), Some(3));
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "caught\n");
    is_gone(stampo, guest, &number);
}
