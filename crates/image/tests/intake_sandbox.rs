//! The walls are real: a child that tries to get out is killed, one that stays inside lives.

mod intake_support;

use intake_support::CHILD;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

/// SIGSYS on every architecture that has a filter.
const SIGSYS: i32 = 31;

/// A child that puts up its walls and then tries this.
fn attempt(what: &str) -> Output {
    let source = intake_support::file_of(b"the source");
    let destination = intake_support::file_of(b"");
    let parent = std::process::id();
    Command::new(CHILD)
        .args(["__attempt", what, &parent.to_string()])
        .stdin(source)
        .stdout(destination)
        .stderr(Stdio::piped())
        .output()
        .expect("the tests' child")
}

#[test]
fn what_leads_out_is_deadly() {
    let attempts = [
        "open",
        "open_in_early_thread",
        "create",
        "connect",
        "listen",
        "spawn",
        "thread",
        "signal_group",
        "signal_init",
        "other_call",
        "read_destination",
        "sync",
        "write_source",
    ];
    for what in attempts {
        let output = attempt(what);
        assert_eq!(output.status.signal(), Some(SIGSYS), "{what}: {output:?}");
    }
}

#[test]
fn what_the_parser_needs_is_allowed() {
    let output = attempt("work");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "the source");
}

#[test]
fn a_child_without_its_parent_does_not_start() {
    let output = Command::new(CHILD)
        .args(["__attempt", "work", "1"])
        .output()
        .expect("the tests' child");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the parent is gone"),
        "{output:?}"
    );
}
