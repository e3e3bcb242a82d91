//! What an agent writes down of what it has stopped, and what the next one makes of it. That the programs
//! themselves go on is tested on a booted guest (`testbed/tests/real/agent_ends.rs`).

use crate::commands::{run, shell};
use crate::machine::Machine;
use stampo_agent_protocol::*;

const MARK: &str = "if test -e /run/stampo/held; then echo \"held:$(cat /run/stampo/held)\"; fi";

fn mark(machine: &mut Machine) -> String {
    run(machine, shell(MARK)).0
}

fn connect(machine: &mut Machine, wait_ms: u32) {
    let answer = machine.ask(&Request::Connect(ConnectRequest { wait_ms }));
    assert!(matches!(answer, Response::Connected(_)), "{answer:?}");
}

#[test]
fn what_is_held_is_written_down_until_it_is_told() {
    let mut machine = Machine::start(&[]);
    assert_eq!(mark(&mut machine), "");
    // Nothing is held, so nothing is remembered.
    connect(&mut machine, 1);
    assert_eq!(mark(&mut machine), "");
    for wait_ms in [1, 0] {
        assert_eq!(machine.ask(&Request::Prepare), Response::Prepared);
        assert_eq!(mark(&mut machine), "held:\n");
        assert_eq!(machine.ask(&Request::Prepare), Response::Prepared);
        connect(&mut machine, wait_ms);
        assert_eq!(mark(&mut machine), "", "after {wait_ms} ms");
    }
}

#[test]
fn the_next_agent_waits_for_the_host_or_goes_on_where_it_was_asked_to() {
    let mut machine = Machine::start_again("");
    assert_eq!(mark(&mut machine), "held:\n", "nobody has asked for it");
    connect(&mut machine, 1);
    assert_eq!(mark(&mut machine), "");
    let mut machine = Machine::start_again("connect");
    assert_eq!(mark(&mut machine), "", "it was asked for");
}

/// Asked again to prepare or to fork, it must not trust that the one before had come to the end.
#[test]
fn the_next_agent_holds_again_what_may_not_be_held() {
    let mut machine = Machine::start_again("");
    let lease = "ls /var/lib/dhcp";
    assert_ne!(run(&mut machine, shell(lease)).0, "", "a lease is stored");
    assert_eq!(machine.ask(&Request::Prepare), Response::Prepared);
    assert_eq!(run(&mut machine, shell(lease)).0, "");
}
