//! Forks whose agent is killed before they are connected. It has stopped the ssh server and the DHCP
//! client, and with it ends what it knew of that: the one that systemd starts in its place has to let
//! them go on all the same, and not before the host wants it.
//!
//! Called by `frozen.rs`, which has the frozen machine. With `STAMPO_LONG=1` also one that had promised to
//! connect and could not.

use super::frozen::Ground;
use stampo_agent_protocol::{
    ConnectRequest, Connected, Evidence, Few, Login, Request, Response, unmet,
};
use stampo_driver::{Driver, ExecRequest, GuestDefinition, Link};
use stampo_testbed::Stampo;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a step may take. Emulated guests are slow.
const LIMIT: Duration = Duration::from_secs(90);
/// Kills the agent and waits for the next one. Its unit waits a second before that.
const KILL: &str = "of() { systemctl show -p MainPID --value stampo-agent; }; old=$(of); \
    kill -9 $old; for n in $(seq 300); do new=$(of); \
    [ $new != 0 ] && [ $new != $old ] && exit; sleep 0.1; done; exit 1";
/// Where the agent asks systemd to restart what it has stopped.
const SYSTEMD: &str = "/run/systemd/private";

/// Everything.
pub(super) fn what_it_stopped_goes_on(ground: &Ground, stampo: &Stampo) {
    let begun = Instant::now();
    killed_between_identify_and_connect(ground, stampo);
    if std::env::var_os("STAMPO_LONG").is_some_and(|value| value == "1") {
        killed_after_it_promised_to_connect(ground, stampo);
    }
    eprintln!("agents that end: {:?} in all", begun.elapsed());
}

/// The next agent is asked to connect, and knows of what the one before has stopped.
fn killed_between_identify_and_connect(ground: &Ground, stampo: &Stampo) {
    let (guest, evidence) = told(ground, stampo);
    shell(ground, &guest, KILL);
    hello(ground, &guest);
    ground.nobody_speaks_for_it(&guest);
    ground.driver.set_links(guest.id, true).expect("plugged in");
    assert!(
        connect(ground, &guest, 150_000).complete,
        "it has an address"
    );
    logs_in(stampo, &guest, &evidence);
    // Nobody is stopped for good who comes later: what was held is told.
    shell(ground, &guest, "test ! -e /run/stampo/held");
}

/// The host was answered that it will be connected, and asks no more. What was promised can't be done, as
/// systemd does not answer; then the agent is killed, and the next one does it.
fn killed_after_it_promised_to_connect(ground: &Ground, stampo: &Stampo) {
    let (guest, evidence) = told(ground, stampo);
    shell(ground, &guest, &format!("mv {SYSTEMD} {SYSTEMD}.away"));
    ground.driver.set_links(guest.id, true).expect("plugged in");
    connect(ground, &guest, 0);
    // Answered after what it had put off.
    hello(ground, &guest);
    let state = "cut -d' ' -f3 /proc/$(pgrep -xo sshd)/stat";
    assert_eq!(shell(ground, &guest, state), "T\n", "nobody was told");
    shell(ground, &guest, &format!("mv {SYSTEMD}.away {SYSTEMD}"));
    shell(ground, &guest, KILL);
    logs_in(stampo, &guest, &evidence);
    assert!(
        connect(ground, &guest, 150_000).complete,
        "it has an address"
    );
}

/// A fork that was told who it is, and whom root's key may log in to; its links are down.
fn told(ground: &Ground, stampo: &Stampo) -> (GuestDefinition, Evidence) {
    let guest = ground.fork_with(Link::User {
        ssh_port: Some(free_port()),
        guest_address: None,
    });
    ground.driver.ensure_running(guest.id).expect("resumed");
    let mut request = ground.request(&guest);
    let key = std::fs::read_to_string(stampo.key().with_extension("pub")).expect("a key");
    request.logins = Few::first([Login {
        user: "root".to_owned(),
        keys: Few::first([key.trim().to_owned()]),
    }]);
    let asked = Request::Fork(Box::new(request.clone()));
    let Response::Forked(report) = ground.ask(&guest, &asked) else {
        panic!("no report of a fork")
    };
    assert_eq!(unmet(&request, &report, super::frozen::now_ns()), []);
    (guest, report.evidence)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// A script's output; it must succeed. Through QEMU's agent: ours is what ends.
fn shell(ground: &Ground, guest: &GuestDefinition, script: &str) -> String {
    let request = ExecRequest {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        input: Vec::new(),
        timeout: LIMIT,
    };
    let ran = ground.driver.agent_exec(guest.id, &request).expect("ran");
    assert_eq!(ran.exit_code, 0, "{script}: {ran:?}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Until the agent answers: it may just begin.
fn hello(ground: &Ground, guest: &GuestDefinition) {
    let begun = Instant::now();
    let second = Duration::from_secs(1);
    while ground
        .driver
        .ask_agent(guest.id, &Request::Hello, second)
        .is_err()
    {
        assert!(begun.elapsed() < LIMIT, "the agent never answers");
    }
}

fn connect(ground: &Ground, guest: &GuestDefinition, wait_ms: u32) -> Connected {
    match ground.ask(guest, &Request::Connect(ConnectRequest { wait_ms })) {
        Response::Connected(connected) => connected,
        other => panic!("{other:?}"),
    }
}

/// The ssh server answers with the fork's own key, and lets the right key in.
fn logs_in(stampo: &Stampo, guest: &GuestDefinition, evidence: &Evidence) {
    let Link::User {
        ssh_port: Some(port),
        ..
    } = guest.nics[0].link
    else {
        panic!("no port");
    };
    let known = stampo.path(&format!("known-{port}"));
    let line = format!("[127.0.0.1]:{port} {}\n", evidence.host_keys[0].public);
    std::fs::write(&known, line).expect("written");
    let port = port.to_string();
    let begun = Instant::now();
    loop {
        let ran = Command::new("ssh")
            .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "ConnectTimeout=5", "-F", "none", "-p", &port, "-i"])
            .arg(stampo.key())
            .arg(format!("-oUserKnownHostsFile={}", known.display()))
            .args(["root@127.0.0.1", "hostname"])
            .output()
            .expect("ssh can't be started: apt install openssh-client");
        if ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
            assert_eq!(said, guest.name);
            return;
        }
        assert!(begun.elapsed() < LIMIT, "ssh: {ran:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
