use super::*;
use crate::lifecycle::{Evidence, Notice, Statement, Verb, due, record, transition};

const DAY_MS: i64 = 86_400_000;
const NOW: i64 = 1_000 * DAY_MS;

fn days(days: u64) -> Span {
    Span::of_seconds(days * DAY_S)
}

fn rules() -> Rules {
    Rules {
        keep_last: 2,
        younger_than: Some(days(10)),
        cloned_within: Some(days(5)),
        obsolete_after: days(30),
        retire_after: days(60),
        unpublished_after: Some(days(7)),
    }
}

/// A published version that no rule keeps.
fn unneeded(governance: &Governance) -> Facts<'_> {
    Facts {
        state: State::Published,
        governance,
        newer_published: 2,
        channels: Vec::new(),
        clones: 0,
        cloned_ms: None,
        created_ms: NOW - 100 * DAY_MS,
        changed_ms: NOW - 90 * DAY_MS,
    }
}

fn notice(actor: &str) -> Notice {
    Notice {
        reason: "is kept for the auditors".to_owned(),
        actor: actor.to_owned(),
        at_ms: NOW,
    }
}

fn held() -> Governance {
    Governance {
        hold: Some(notice("local:anna")),
        ..Governance::default()
    }
}

/// As these rules deprecate it.
fn begun() -> Governance {
    Governance {
        deprecated: Some(notice(ACTOR)),
        obsolete_ms: Some(NOW + 30 * DAY_MS),
        retire_ms: Some(NOW + 90 * DAY_MS),
        ..Governance::default()
    }
}

fn lifted() -> Governance {
    Governance {
        obsolete_ms: None,
        retire_ms: None,
        ..begun()
    }
}

type Change = fn(&mut Facts<'_>);

/// Each rule alone, as it keeps a version, and how it says so.
const RULES: [(Change, &str); 6] = [
    (
        |f| f.newer_published = 1,
        "number 2 of the last 2 published",
    ),
    (
        |f| f.channels.push("web:stable".to_owned()),
        "on web:stable",
    ),
    (|f| f.clones = 3, "3 guests are made of it"),
    (|f| f.clones = 1, "1 guest is made of it"),
    (
        |f| f.created_ms = NOW - 9 * DAY_MS,
        "too young until 1972-09-28",
    ),
    (
        |f| f.cloned_ms = Some(NOW - 4 * DAY_MS),
        "cloned too lately until 1972-09-28",
    ),
];

fn words(fate: &Fate) -> Vec<String> {
    match fate {
        Fate::Kept(kept) | Fate::Lift(kept) => kept.iter().map(Keep::to_string).collect(),
        other => panic!("not kept: {other:?}"),
    }
}

#[test]
fn each_rule_keeps_a_version_and_names_itself() {
    let (plain, rules) = (Governance::default(), rules());
    for (change, said) in RULES {
        let mut facts = unneeded(&plain);
        change(&mut facts);
        assert_eq!(words(&fate(Some(&rules), &facts, NOW)), [said]);
    }
    let held = held();
    let kept = fate(Some(&rules), &unneeded(&held), NOW);
    assert_eq!(words(&kept), ["on hold: is kept for the auditors"]);
}

#[test]
fn every_rule_that_keeps_a_version_is_named() {
    let held = held();
    let mut facts = unneeded(&held);
    for (change, _) in RULES {
        change(&mut facts);
    }
    let said = words(&fate(Some(&rules()), &facts, NOW));
    assert_eq!(said.len(), RULES.len(), "{said:?}");
}

#[test]
fn a_rule_ends_to_the_millisecond() {
    let (plain, rules) = (Governance::default(), rules());
    let mut facts = unneeded(&plain);
    facts.created_ms = NOW - 10 * DAY_MS + 1;
    assert_eq!(words(&fate(Some(&rules), &facts, NOW)).len(), 1);
    facts.created_ms -= 1;
    assert!(matches!(
        fate(Some(&rules), &facts, NOW),
        Fate::Deprecate { .. }
    ));
}

#[test]
fn what_no_rule_keeps_is_deprecated_with_dates() {
    let plain = Governance::default();
    let found = fate(Some(&rules()), &unneeded(&plain), NOW);
    let (obsolete_ms, retire_ms) = (NOW + 30 * DAY_MS, NOW + 90 * DAY_MS);
    assert_eq!(
        found,
        Fate::Deprecate {
            obsolete_ms,
            retire_ms
        }
    );
}

#[test]
fn what_a_person_withdrew_is_that_persons() {
    let governance = Governance {
        deprecated: Some(notice("local:anna")),
        ..begun()
    };
    for state in State::ALL {
        if matches!(state, State::Published | State::Sealed | State::Rejected) {
            continue;
        }
        let facts = Facts {
            state,
            ..unneeded(&governance)
        };
        assert_eq!(
            fate(Some(&rules()), &facts, NOW),
            Fate::NotTheirs,
            "{state}"
        );
    }
}

#[test]
fn what_was_begun_is_lifted_for_each_rule_and_resumed_without() {
    let (rules, begun, lifted) = (rules(), begun(), lifted());
    for state in [State::Deprecated, State::Obsolete] {
        let at = |governance| Facts {
            state,
            ..unneeded(governance)
        };
        let next = match state {
            State::Obsolete => NOW + 90 * DAY_MS,
            _ => NOW + 30 * DAY_MS,
        };
        assert_eq!(fate(Some(&rules), &at(&begun), NOW), Fate::OnItsWay(next));
        // The number of newer ones counts only for what is offered.
        for (change, said) in &RULES[1..] {
            for (governance, is_lifted) in [(&begun, false), (&lifted, true)] {
                let mut facts = at(governance);
                change(&mut facts);
                let found = fate(Some(&rules), &facts, NOW);
                assert_eq!(words(&found), [*said]);
                assert_eq!(matches!(found, Fate::Kept(_)), is_lifted);
            }
        }
        let resumed = match state {
            State::Obsolete => (None, NOW + 60 * DAY_MS),
            _ => (Some(NOW + 30 * DAY_MS), NOW + 90 * DAY_MS),
        };
        let (obsolete_ms, retire_ms) = resumed;
        let expected = Fate::Resume {
            obsolete_ms,
            retire_ms,
        };
        assert_eq!(fate(Some(&rules), &at(&lifted), NOW), expected);
    }
}

#[test]
fn without_rules_nothing_begins_and_what_was_begun_ends() {
    let (plain, begun, lifted) = (Governance::default(), begun(), lifted());
    for state in State::ALL {
        let at = |governance| Facts {
            state,
            ..unneeded(governance)
        };
        assert_eq!(fate(None, &at(&plain), NOW), Fate::NotTheirs, "{state}");
        let is_begun = matches!(state, State::Deprecated | State::Obsolete);
        let expected = match is_begun {
            true => Fate::Lift(Vec::new()),
            false => Fate::NotTheirs,
        };
        assert_eq!(fate(None, &at(&begun), NOW), expected, "{state}");
        assert_eq!(fate(None, &at(&lifted), NOW), Fate::NotTheirs, "{state}");
    }
}

#[test]
fn what_was_never_published_goes_after_its_time() {
    let plain = Governance::default();
    for state in [State::Sealed, State::Rejected] {
        let mut facts = Facts {
            state,
            ..unneeded(&plain)
        };
        assert_eq!(fate(Some(&rules()), &facts, NOW), Fate::Retire);
        // Restored lately, however old it is.
        facts.changed_ms = NOW - 6 * DAY_MS;
        assert_eq!(
            words(&fate(Some(&rules()), &facts, NOW)),
            ["too young until 1972-09-28"]
        );
        facts.changed_ms = 0;
        facts.clones = 1;
        assert_eq!(
            words(&fate(Some(&rules()), &facts, NOW)),
            ["1 guest is made of it"]
        );
        facts.clones = 0;
        let for_ever = Rules {
            unpublished_after: None,
            ..rules()
        };
        assert_eq!(fate(Some(&for_ever), &facts, NOW), Fate::NotTheirs);
    }
}

/// What the rules and the dates do together, day by day: the way to the end, and no step that is
/// illegal by the machine of states.
#[test]
fn a_life_ends_on_its_days_and_a_hold_stops_it_anywhere() {
    let rules = rules();
    for held_on in [None, Some(0), Some(20), Some(29), Some(31), Some(89)] {
        let mut governance = Governance::default();
        let mut state = State::Published;
        let mut ends = Vec::new();
        for day in 0..200 {
            let now_ms = NOW + day * DAY_MS;
            if held_on == Some(day) {
                governance.hold = Some(notice("local:anna"));
            }
            let facts = Facts {
                state,
                ..unneeded(&governance)
            };
            match fate(Some(&rules), &facts, now_ms) {
                Fate::Deprecate {
                    obsolete_ms,
                    retire_ms,
                } => {
                    let said = Statement {
                        obsolete_ms: Some(obsolete_ms),
                        retire_ms: Some(retire_ms),
                        ..Statement::default()
                    };
                    state = transition(state, Verb::Deprecate, Evidence::default())
                        .expect("a published version can be deprecated");
                    record(&mut governance, Verb::Deprecate, &said, ACTOR, now_ms)
                        .expect("dates to come");
                }
                Fate::Lift(_) => (governance.obsolete_ms, governance.retire_ms) = (None, None),
                Fate::Kept(_) | Fate::OnItsWay(_) | Fate::NotTheirs => {}
                other => panic!("day {day}: {other:?}"),
            }
            if let Some(verb) = due(state, &governance, now_ms) {
                state = transition(state, verb, Evidence::default()).expect("a legal step");
                ends.push((day, state));
            }
        }
        let whole = [(30, State::Obsolete), (90, State::Retired)];
        let expected: Vec<_> = whole
            .into_iter()
            .filter(|(day, _)| held_on.is_none_or(|held| *day < held))
            .collect();
        assert_eq!(ends, expected, "held on {held_on:?}");
    }
}
