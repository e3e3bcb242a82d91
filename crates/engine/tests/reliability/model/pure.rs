//! Tests of the oracle itself: the search, the rules and the shrinking, without any process.

use super::answer::{Answer, Collected, Fate, Record, Refusal};
use super::script::script;
use super::search::{Effect, Model, Operation, Timed, Verdict, search};
use super::shrink::{Begun, Smaller};
use super::state::{Guest, Phase, State, Version};
use super::step::{Name, Step};
use libtest_mimic::Trial;
use proptest::strategy::ValueTree;
use stampo_core::lifecycle::State as Life;

/// The tests.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("the_model::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("knows_a_register", knows_a_register),
        trial("sees_a_stale_read", sees_a_stale_read),
        trial("orders_moments_of_a_script", orders_moments_of_a_script),
        trial("keeps_turns", keeps_turns),
        trial("explains_what_may_be", explains_what_may_be),
        trial("finds_a_name_given_twice", finds_a_name_given_twice),
        trial("finds_a_wrong_refusal", finds_a_wrong_refusal),
        trial("finds_a_lost_base", finds_a_lost_base),
        trial(
            "finds_a_guest_that_was_collected_and_brought_back",
            finds_a_guest_that_was_collected_and_brought_back,
        ),
        trial(
            "finds_a_running_guest_that_was_removed",
            finds_a_running_guest_that_was_removed,
        ),
        trial("finds_a_wrong_power", finds_a_wrong_power),
        trial("finds_a_lost_size", finds_a_lost_size),
        trial("follows_a_found_guest", follows_a_found_guest),
        trial("shrinks_to_what_fails", shrinks_to_what_fails),
        trial(
            "tries_without_what_had_not_begun",
            tries_without_what_had_not_begun,
        ),
        trial(
            "gives_up_when_nothing_is_needed",
            gives_up_when_nothing_is_needed,
        ),
    ]
}

/// A number that is written and read.
#[derive(Debug, Clone, PartialEq, Hash)]
struct Register(u8);

enum Act {
    Write(u8),
    Read(u8),
}

impl Model for Register {
    type Moment = Act;

    fn apply(&self, act: &Act) -> Option<Effect<Register>> {
        match act {
            Act::Write(value) => Some(Effect::Next(Register(*value))),
            Act::Read(value) => (*value == self.0).then_some(Effect::Same),
        }
    }

    fn is_rival(&self, _changing: &Act, _other: &Act) -> bool {
        true
    }
}

fn during(asked: u64, answered: u64, script: Vec<Act>) -> Operation<Act> {
    let untimed = |moment| Timed { moment, turn: None };
    Operation {
        asked,
        answered,
        script: script.into_iter().map(untimed).collect(),
    }
}

fn is_explained(processes: &[Vec<Operation<Act>>]) -> bool {
    matches!(search(Register(0), processes, 1000), Verdict::Explained(_))
}

fn knows_a_register() {
    // The write is answered late: a read meanwhile may see either.
    for seen in [0, 1] {
        let writer = vec![during(0, 10, vec![Act::Write(1)])];
        let reader = vec![during(3, 5, vec![Act::Read(seen)])];
        assert!(is_explained(&[writer, reader]), "{seen}");
    }
    // Seen, it is not unseen again.
    let writer = || vec![during(0, 10, vec![Act::Write(1)])];
    let reads = |first, second| {
        vec![
            during(1, 2, vec![Act::Read(first)]),
            during(3, 4, vec![Act::Read(second)]),
        ]
    };
    assert!(is_explained(&[writer(), reads(0, 1)]));
    assert!(!is_explained(&[writer(), reads(1, 0)]));
}

fn sees_a_stale_read() {
    let writer = vec![during(0, 1, vec![Act::Write(1)])];
    let reader = vec![during(2, 3, vec![Act::Read(0)])];
    assert!(!is_explained(&[writer, reader]));
}

fn orders_moments_of_a_script() {
    let writer = || vec![during(0, 10, vec![Act::Write(1), Act::Write(2)])];
    let reads = |first, second| vec![during(0, 10, vec![Act::Read(first), Act::Read(second)])];
    assert!(is_explained(&[writer(), reads(1, 2)]));
    assert!(!is_explained(&[writer(), reads(2, 1)]));
}

fn keeps_turns() {
    let write = |value, turn| {
        let mut operation = during(0, 10, vec![Act::Write(value)]);
        operation.script[0].turn = Some(turn);
        vec![operation]
    };
    let last = || vec![during(11, 12, vec![Act::Read(1)])];
    assert!(is_explained(&[write(1, 1), write(2, 0), last()]));
    assert!(!is_explained(&[write(1, 0), write(2, 1), last()]));
}

/// A published `web@1` and the guest `g-1`, which is linked to it.
fn one_guest() -> State {
    let mut state = State::default();
    let version = Version {
        life: Life::Published,
        image: Some(7),
        held: None,
    };
    state.versions.insert(1, version);
    let guest = Guest {
        id: 1,
        host_name: None,
        full: false,
        phase: Phase::Ready,
        version: 1,
        image: 7,
        cpus: 1,
        runs: false,
        held: None,
    };
    state.guests.insert(Name(1), guest);
    state
}

fn record(asked_ns: u64, answered_ns: u64, step: Step, answer: Answer) -> Record {
    Record {
        step,
        number: 1,
        asked_ns,
        answered_ns,
        claimed: false,
        answer,
    }
}

/// A step that claimed a guest before it was answered.
fn claiming(asked_ns: u64, answered_ns: u64, step: Step, answer: Answer) -> Record {
    Record {
        claimed: true,
        ..record(asked_ns, answered_ns, step, answer)
    }
}

fn is_possible(records: Vec<Record>) -> bool {
    let process = |record: &Record| {
        vec![Operation {
            asked: record.asked_ns,
            answered: record.answered_ns,
            script: script(record)
                .into_iter()
                .map(|moment| Timed { moment, turn: None })
                .collect(),
        }]
    };
    let processes: Vec<_> = records.iter().map(process).collect();
    matches!(
        search(one_guest(), &processes, 10_000),
        Verdict::Explained(_)
    )
}

fn clone(guest: u16, id: u64) -> (Step, Answer) {
    let step = Step::Clone {
        guest: Name(guest),
        full: false,
        version: None,
    };
    let guests = vec![(Name(guest), id)];
    (step, Answer::Cloned { version: 1, guests })
}

fn explains_what_may_be() {
    let (step, cloned) = clone(1, 2);
    // Removed first, although it was asked later.
    assert!(is_possible(vec![
        record(0, 10, step, cloned),
        record(2, 8, Step::Remove(Name(1)), Answer::Done),
    ]));
    let taken = Answer::Refused(Refusal::Taken(Name(1)));
    let (step, _) = clone(1, 2);
    assert!(is_possible(vec![record(0, 1, step, taken)]));
}

fn finds_a_name_given_twice() {
    let (step, cloned) = clone(1, 2);
    assert!(!is_possible(vec![record(0, 10, step, cloned)]));
    let (one, cloned_one) = clone(2, 2);
    let (two, cloned_two) = clone(2, 3);
    assert!(!is_possible(vec![
        record(0, 10, one, cloned_one),
        record(0, 10, two, cloned_two),
    ]));
}

fn finds_a_wrong_refusal() {
    let missing = || Answer::Refused(Refusal::NoGuest);
    // Nobody removed it.
    assert!(!is_possible(vec![record(
        0,
        9,
        Step::Flatten(Name(1)),
        missing()
    )]));
    // Somebody did, meanwhile; or only later.
    for (asked, is_right) in [(5, true), (20, false)] {
        let possible = is_possible(vec![
            record(0, 9, Step::Flatten(Name(1)), missing()),
            record(asked, asked + 2, Step::Remove(Name(1)), Answer::Done),
        ]);
        assert_eq!(possible, is_right, "asked at {asked}");
    }
}

/// `g-1` is trashed, and a collection finds it so and then this becomes of it.
fn trashed_and_collected(fate: Fate, id: u64) -> Vec<Record> {
    let trash = Step::Trash {
        guest: Name(1),
        due: false,
    };
    let guest = Collected::Guest {
        name: Name(1),
        id,
        trashed: true,
        fate,
    };
    let version = Collected::Version {
        number: 1,
        retired: false,
        fate: Fate::Stays,
    };
    let collected = Answer::Collected(vec![guest, version]);
    vec![
        record(0, 1, trash, Answer::Done),
        record(2, 20, Step::Gc { now: true }, collected),
    ]
}

fn finds_a_guest_that_was_collected_and_brought_back() {
    let possible = |fate, id, is_brought_back: bool| {
        let back = record(5, 6, Step::BringBack(Name(1)), Answer::Done);
        let mut records = trashed_and_collected(fate, id);
        records.extend(is_brought_back.then_some(back));
        is_possible(records)
    };
    assert!(possible(Fate::Went, 1, false));
    assert!(!possible(Fate::Went, 2, false), "it was another guest");
    assert!(!possible(Fate::Failed, 1, false), "nobody was faster");
    assert!(!possible(Fate::Went, 1, true), "one of them only");
    assert!(possible(Fate::Failed, 1, true));
}

fn finds_a_running_guest_that_was_removed() {
    let step = || Step::RemoveStopped([Name(1), Name(1)]);
    let remove = |asked| record(asked, asked + 2, step(), Answer::Done);
    let runs = |asked| claiming(asked, asked + 2, step(), Answer::Refused(Refusal::Runs));
    assert!(is_possible(vec![remove(0)]));
    assert!(!is_possible(vec![runs(0)]), "nobody started it");
    assert!(!is_possible(vec![start(0, 1), remove(2)]));
    assert!(is_possible(vec![start(0, 1), runs(2)]));
    let stopped = vec![start(0, 1), runs(2), stop(5, 6, 1, true), remove(7)];
    assert!(is_possible(stopped));
}

fn finds_a_lost_base() {
    use super::step::Back;
    use stampo_core::lifecycle::Verb;
    let change = |at, verb, life| {
        let step = Step::Change {
            verb,
            version: Back(0),
        };
        let answer = Answer::Version {
            number: 1,
            life,
            image: Some(7),
        };
        record(at, at + 1, step, answer)
    };
    let purge = || {
        vec![
            change(0, Verb::Retire, Life::Retired),
            change(10, Verb::Purge, Life::Purged),
        ]
    };
    assert!(!is_possible(purge()), "g-1 reads it");
    for freed in [Step::Remove(Name(1)), Step::Flatten(Name(1))] {
        let mut records = purge();
        records.push(record(5, 6, freed.clone(), Answer::Done));
        assert!(is_possible(records), "{freed}");
    }
    let mut records = purge();
    let trash = Step::Trash {
        guest: Name(1),
        due: true,
    };
    records.push(record(5, 6, trash, Answer::Done));
    assert!(!is_possible(records), "a trashed guest can come back");
}

fn stop(asked: u64, answered: u64, guest: u16, ran: bool) -> Record {
    record(
        asked,
        answered,
        Step::Stop(Name(guest)),
        Answer::Stopped { ran },
    )
}

fn start(asked: u64, answered: u64) -> Record {
    claiming(asked, answered, Step::Start(Name(1)), Answer::Done)
}

fn finds_a_wrong_power() {
    assert!(is_possible(vec![start(0, 1), stop(2, 3, 1, true)]));
    assert!(!is_possible(vec![start(0, 1), stop(2, 3, 1, false)]));
    assert!(!is_possible(vec![stop(0, 1, 1, true)]), "nobody started it");
    // A running guest is neither flattened nor resized; its file is written through its agent.
    let flatten = |at| claiming(at, at + 1, Step::Flatten(Name(1)), Answer::Done);
    assert!(is_possible(vec![flatten(0), start(5, 6)]));
    assert!(!is_possible(vec![start(0, 1), flatten(5)]));
    assert!(is_possible(vec![
        start(0, 1),
        stop(2, 3, 1, true),
        flatten(5)
    ]));
    let write = |claimed| Record {
        claimed,
        ..record(5, 6, Step::WriteFile(Name(1)), Answer::Done)
    };
    for is_running in [false, true] {
        let before = is_running.then(|| start(0, 1));
        let with = |claimed| before.clone().into_iter().chain([write(claimed)]).collect();
        assert_eq!(is_possible(with(true)), !is_running);
        assert_eq!(is_possible(with(false)), is_running);
    }
    // What was refused because it runs did run at that time.
    let refused = |claimed| Record {
        claimed,
        ..record(5, 6, Step::Flatten(Name(1)), Answer::Refused(Refusal::Runs))
    };
    for claimed in [false, true] {
        assert!(!is_possible(vec![refused(claimed)]));
        assert!(is_possible(vec![start(0, 1), refused(claimed)]));
    }
}

fn finds_a_lost_size() {
    let resize = |at, cpus| {
        let step = Step::Resize {
            guest: Name(1),
            cpus,
        };
        claiming(at, at + 1, step, Answer::Done)
    };
    let seen = |cpus| {
        let mut state = one_guest();
        state.guests.get_mut(&Name(1)).expect("a guest").cpus = cpus;
        record(50, 51, Step::List, Answer::Listed(state))
    };
    assert!(is_possible(vec![resize(0, 2), resize(5, 3), seen(3)]));
    assert!(!is_possible(vec![resize(0, 2), resize(5, 3), seen(2)]));
}

/// A guest is stopped that had another name when it was looked up.
fn follows_a_found_guest() {
    let rename = Step::Rename {
        guest: Name(1),
        to: Name(2),
    };
    let rename = |at| claiming(at, at + 1, rename.clone(), Answer::Done);
    assert!(is_possible(vec![
        start(0, 1),
        stop(2, 9, 1, true),
        rename(4)
    ]));
    assert!(!is_possible(vec![
        start(0, 1),
        rename(2),
        stop(4, 9, 1, true)
    ]));
    // It runs only since it has its other name.
    let start_other = |at| claiming(at, at + 1, Step::Start(Name(2)), Answer::Done);
    for (answered, is_right) in [(20, true), (5, false)] {
        let records = vec![stop(0, answered, 1, true), rename(2), start_other(7)];
        assert_eq!(is_possible(records), is_right, "answered at {answered}");
    }
    // It is gone by the time it is to be stopped.
    let missing = || record(2, 9, Step::Stop(Name(1)), Answer::Refused(Refusal::NoGuest));
    let remove = |at| claiming(at, at + 1, Step::Remove(Name(1)), Answer::Done);
    assert!(is_possible(vec![missing(), remove(4)]));
    assert!(!is_possible(vec![missing(), remove(20)]));
}

/// Shrinks eight programs of twenty steps until only what `is_needed` is left.
fn shrunk(is_failing: impl Fn(&[Vec<Step>]) -> bool) -> Vec<Vec<Step>> {
    let program = |process: u16| (0..20).map(move |step| Step::Remove(Name(process * 100 + step)));
    let programs = (0..8).map(|process| program(process).collect()).collect();
    let mut smaller = Smaller::of(&programs, Begun::default());
    assert_eq!(smaller.current(), programs);
    // As proptest's runner does.
    let mut goes_on = smaller.simplify();
    while goes_on {
        goes_on = match is_failing(&smaller.current()) {
            true => smaller.simplify(),
            false => smaller.complicate(),
        };
    }
    smaller.current()
}

fn shrinks_to_what_fails() {
    let needed = [Name(3), Name(512), Name(519)];
    let has = |programs: &[Vec<Step>], name: Name| {
        programs
            .iter()
            .flatten()
            .any(|step| *step == Step::Remove(name))
    };
    let left = shrunk(|programs| needed.iter().all(|name| has(programs, *name)));
    let left: Vec<Step> = left.into_iter().flatten().collect();
    assert_eq!(left, needed.map(Step::Remove));
}

fn tries_without_what_had_not_begun() {
    let programs = (0..2)
        .map(|process| vec![Step::Remove(Name(process)); 50])
        .collect();
    let begun = Begun::default();
    let mut smaller = Smaller::of(&programs, begun.clone());
    *begun.borrow_mut() = Some(vec![3, 0]);
    assert!(smaller.simplify());
    let lengths = |smaller: &Smaller| smaller.current().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&smaller), [3, 0]);
    assert!(smaller.complicate());
    assert_eq!(
        smaller.current().concat().len(),
        50,
        "half, as without the hint"
    );
}

fn gives_up_when_nothing_is_needed() {
    assert!(shrunk(|_| true).iter().all(Vec::is_empty));
    assert_eq!(shrunk(|_| false).concat().len(), 160);
}
