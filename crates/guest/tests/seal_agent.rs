//! Sealing installs the guest agent where it can run, once, and says why where it can't.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{FileKind, GuestRead};
use stampo_guest::seal::{SealPlan, Selection, agent, apply, plan};

/// The start of a systemd for this machine (System V ABI: `e_machine` at offset 18).
fn guest(machine: char) -> TreeFixture {
    let header = format!(
        "\u{7f}ELF\u{2}\u{1}\u{1}{}\u{2}\0{machine}\0",
        "\0".repeat(9)
    );
    TreeFixture::new().file("/usr/lib/systemd/systemd", &header)
}

const X86_64: char = '\u{3e}';
const S390X: char = '\u{16}';

fn choose(only: &[&str], except: &[&str]) -> Selection {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Selection {
        only: list(only),
        except: list(except),
        ..Selection::default()
    }
}

fn planned(tree: &TreeFixture, selection: &Selection) -> SealPlan {
    plan(tree, selection).expect("readable")
}

fn changes(plan: &SealPlan) -> usize {
    let ours = plan
        .changes
        .iter()
        .filter(|change| change.item == agent::ITEM);
    ours.count()
}

#[test]
fn it_is_installed_and_enabled_and_only_once() {
    let mut tree = guest(X86_64);
    let first = planned(&tree, &Selection::default());
    assert_eq!(changes(&first), 3, "{first}");
    apply(&mut tree, &first).expect("applies");
    let program = tree.read(agent::PROGRAM_PATH, 2 << 20).expect("installed");
    assert!(program == agent::PROGRAM, "the whole program");
    let metadata = tree.metadata(agent::PROGRAM_PATH).expect("installed");
    assert_eq!(
        (metadata.kind, metadata.mode & 0o7777),
        (FileKind::File, 0o755)
    );
    let link = tree.read_link(agent::WANTS_PATH).expect("enabled");
    assert_eq!(link, agent::UNIT_PATH.as_bytes());
    let again = planned(&tree, &Selection::default());
    assert!(again.is_empty(), "{again}");
}

#[test]
fn an_older_agent_is_replaced() {
    let mut tree = guest(X86_64).file(agent::PROGRAM_PATH, "old");
    let plan = planned(&tree, &Selection::default());
    apply(&mut tree, &plan).expect("applies");
    let program = tree.read(agent::PROGRAM_PATH, 2 << 20).expect("there");
    assert!(program == agent::PROGRAM);
}

#[test]
fn a_user_may_leave_it_out() {
    let tree = guest(X86_64);
    assert_eq!(changes(&planned(&tree, &choose(&[], &["guest-agent"]))), 0);
    assert_eq!(changes(&planned(&tree, &choose(&["machine-id"], &[]))), 0);
    assert_eq!(changes(&planned(&tree, &choose(&["guest-agent"], &[]))), 3);
}

#[test]
fn guests_that_can_not_run_it_are_told_about() {
    let reason = |tree: TreeFixture| {
        let plan = planned(&tree, &Selection::default());
        assert_eq!(changes(&plan), 0, "{plan}");
        let skipped = plan.skipped.iter().find(|one| one.item == agent::ITEM);
        skipped.expect("a reason").why
    };
    assert!(reason(guest(S390X)).contains("another processor"));
    assert!(reason(TreeFixture::new()).contains("no systemd"));
    let unknown = TreeFixture::new().file("/lib/systemd/systemd", "#!/bin/sh");
    assert!(reason(unknown).contains("not known"));
}

#[test]
fn the_unit_names_the_program_the_port_and_the_device_that_wants_it() {
    let unit = agent::UNIT_CONTENT;
    assert!(unit.contains(&format!("ExecStart={}\n", agent::PROGRAM_PATH)));
    let text = String::from_utf8_lossy(agent::PROGRAM);
    assert!(text.contains("dev.stampo.agent.0"));
    assert!(unit.contains("ConditionPathExists=/dev/virtio-ports/dev.stampo.agent.0\n"));
    let wanted = unit.split("WantedBy=").nth(1).expect("it is wanted").trim();
    let directory = format!("/etc/systemd/system/{wanted}.wants/stampo-agent.service");
    assert_eq!(directory, agent::WANTS_PATH);
}
