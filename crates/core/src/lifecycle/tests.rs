use super::*;

const PROVEN: Evidence = Evidence {
    open_findings: Some(0),
    linked_clones: 0,
    is_held: false,
    is_past_end_of_life: false,
    has_revoked_ancestor: false,
    needs_approval: false,
};

#[test]
fn every_state_has_a_name_that_is_read_back() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

/// The whole machine: every state, every verb.
#[test]
fn every_cell_of_the_machine_is_as_it_is_drawn() {
    use State::*;
    let drawn = |from: State, verb: Verb| match (verb, from) {
        (Verb::Finish, Building) => Some(Draft),
        (Verb::Fail, Building) => Some(Failed),
        (Verb::Seal, Draft) => Some(Sealed),
        (Verb::Submit, Sealed | InReview | Approved) => Some(InReview),
        (Verb::Approve, InReview) => Some(Approved),
        (Verb::Reject, InReview | Approved) => Some(Rejected),
        (Verb::BreakGlass, Sealed | InReview | Approved) => Some(Approved),
        (Verb::Publish, Sealed | Approved) => Some(Published),
        (Verb::Deprecate, Published | Deprecated) => Some(Deprecated),
        (Verb::Obsolete, Published | Deprecated) => Some(Obsolete),
        (Verb::Reinstate, Deprecated | Obsolete) => Some(Published),
        (Verb::Revoke, Sealed | InReview | Approved | Published) => Some(Revoked),
        (Verb::Revoke, Deprecated | Obsolete | Retired | Rejected) => Some(Revoked),
        (Verb::Retire, Sealed | Approved | Published) => Some(Retired),
        (Verb::Retire, Deprecated | Obsolete | Rejected) => Some(Retired),
        (Verb::Restore, Retired) => Some(Sealed),
        (Verb::Purge, Retired | Draft | Failed | Quarantined | Revoked) => Some(Purged),
        (Verb::Quarantine, Building | Failed | Purged | Quarantined) => None,
        (Verb::Quarantine, _) => Some(Quarantined),
        _ => None,
    };
    for from in State::ALL {
        for verb in Verb::ALL {
            let refused = Refusal::NotInThisState { verb, from };
            let expected = drawn(from, verb).ok_or(refused);
            assert_eq!(transition(from, verb, PROVEN), expected, "{from} {verb:?}");
        }
    }
}

#[test]
fn immutable_bytes_never_become_mutable() {
    for from in State::ALL.into_iter().filter(|s| s.is_immutable()) {
        for verb in Verb::ALL {
            if let Ok(to) = transition(from, verb, PROVEN) {
                assert!(to.is_immutable(), "{from} --{verb:?}--> {to}");
            }
        }
    }
}

/// Neither rotten bytes nor what was revoked.
#[test]
fn what_was_withdrawn_for_good_is_never_offered_again() {
    for start in [State::Quarantined, State::Revoked, State::Purged] {
        let mut reached = vec![start];
        let mut seen = Vec::new();
        while let Some(from) = reached.pop() {
            assert!(!from.is_clonable(), "{start} … {from}");
            seen.push(from);
            let next = Verb::ALL
                .into_iter()
                .filter_map(|verb| transition(from, verb, PROVEN).ok());
            reached.extend(next.filter(|to| !seen.contains(to)));
        }
    }
}

#[test]
fn whatever_has_bytes_can_be_quarantined() {
    for from in State::ALL {
        let has_bytes = !matches!(
            from,
            State::Building | State::Failed | State::Purged | State::Quarantined
        );
        let to = transition(from, Verb::Quarantine, Evidence::default());
        assert_eq!(to.is_ok(), has_bytes, "{from}");
    }
}

#[test]
fn publishing_needs_complete_evidence() {
    let lacking = [
        (
            Evidence {
                open_findings: None,
                ..PROVEN
            },
            Refusal::NoProof,
        ),
        (
            Evidence {
                open_findings: Some(2),
                ..PROVEN
            },
            Refusal::OpenFindings(2),
        ),
        (
            Evidence {
                is_past_end_of_life: true,
                ..PROVEN
            },
            Refusal::EndOfLife,
        ),
        (
            Evidence {
                has_revoked_ancestor: true,
                ..PROVEN
            },
            Refusal::RevokedAncestor,
        ),
        (
            Evidence {
                needs_approval: true,
                ..PROVEN
            },
            Refusal::NotApproved,
        ),
    ];
    for (evidence, refusal) in lacking {
        for (from, verb) in [
            (State::Sealed, Verb::Publish),
            (State::Approved, Verb::Publish),
            (State::Deprecated, Verb::Reinstate),
            (State::Obsolete, Verb::Reinstate),
        ] {
            assert_eq!(transition(from, verb, evidence), Err(refusal), "{from}");
        }
    }
    assert_eq!(
        transition(State::Sealed, Verb::Publish, PROVEN),
        Ok(State::Published)
    );
}

#[test]
fn nothing_is_approved_while_approvals_are_missing() {
    let missing = Evidence {
        needs_approval: true,
        ..PROVEN
    };
    for from in State::ALL {
        for verb in [Verb::Approve, Verb::BreakGlass] {
            assert!(transition(from, verb, missing).is_err(), "{from} {verb:?}");
        }
    }
}

#[test]
fn the_bytes_of_linked_clones_and_of_a_hold_are_not_purged() {
    for from in State::ALL {
        let used = Evidence {
            linked_clones: 3,
            ..PROVEN
        };
        assert!(transition(from, Verb::Purge, used).is_err(), "{from}");
        let held = Evidence {
            is_held: true,
            ..PROVEN
        };
        assert!(transition(from, Verb::Purge, held).is_err(), "{from}");
    }
}

#[test]
fn what_a_date_asks_for_is_legal() {
    for state in State::ALL {
        for at in 0..8_i64 {
            let date = |bit: i64| (at & bit != 0).then_some(5);
            let governance = Governance {
                obsolete_ms: date(1),
                retire_ms: date(2),
                end_of_life_ms: date(4),
                ..Governance::default()
            };
            assert_eq!(due(state, &governance, 4), None, "{state}: too early");
            let verb = due(state, &governance, 5);
            let next = next_due_ms(state, &governance);
            assert_eq!(verb.is_some(), next.is_some(), "{state} {governance:?}");
            let Some(verb) = verb else { continue };
            let to = transition(state, verb, PROVEN).expect("legal");
            assert_eq!(to, standing_state(state, &governance, 5), "{state}");
            assert!(!to.is_clonable(), "{state}");
        }
    }
}

#[test]
fn dates_are_for_what_is_to_come() {
    let say = |obsolete_ms, retire_ms| {
        let said = Statement {
            obsolete_ms,
            retire_ms,
            ..Statement::default()
        };
        record(&mut Governance::default(), Verb::Deprecate, &said, "a", 10)
    };
    assert_eq!(say(Some(11), Some(11)), Ok(()));
    assert_eq!(say(Some(10), None), Err(StatementError::PastDate));
    assert_eq!(say(None, Some(9)), Err(StatementError::PastDate));
    assert_eq!(say(Some(12), Some(11)), Err(StatementError::Order));
}

#[test]
fn withdrawing_needs_a_reason_of_one_line() {
    let long = "x".repeat(1001);
    for (reason, expected) in [
        (None, Err(StatementError::NoReason)),
        (Some("  "), Err(StatementError::NoReason)),
        (Some("two\nlines"), Err(StatementError::BadReason)),
        (Some(long.as_str()), Err(StatementError::BadReason)),
        (Some("leaks keys"), Ok(())),
    ] {
        let said = Statement {
            reason: reason.map(str::to_owned),
            ..Statement::default()
        };
        for verb in [Verb::Revoke, Verb::Reinstate] {
            let mut governance = Governance::default();
            assert_eq!(
                record(&mut governance, verb, &said, "a", 1),
                expected,
                "{reason:?}"
            );
        }
    }
}

/// What was said against it goes when it is offered again; its end of life and a hold stay.
#[test]
fn offering_again_withdraws_what_was_said() {
    let notice = Notice {
        reason: "r".to_owned(),
        actor: "a".to_owned(),
        at_ms: 1,
    };
    let full = Governance {
        deprecated: Some(notice.clone()),
        replacement: Some("web@2".to_owned()),
        obsolete_ms: Some(1),
        retire_ms: Some(2),
        end_of_life_ms: Some(3),
        revoked: None,
        hold: Some(notice),
    };
    let said = Statement {
        reason: Some("again".to_owned()),
        ..Statement::default()
    };
    for verb in [Verb::Publish, Verb::Reinstate] {
        let mut left = full.clone();
        record(&mut left, verb, &said, "a", 9).expect("recorded");
        let expected = Governance {
            end_of_life_ms: Some(3),
            hold: full.hold.clone(),
            ..Governance::default()
        };
        assert_eq!(left, expected, "{verb:?}");
    }
}

#[test]
fn ids_of_vulnerabilities_are_read_strictly() {
    for good in ["CVE-2026-0001", "CVE-1999-123456"] {
        assert_eq!(good.parse::<Cve>().map(String::from), Ok(good.to_owned()));
    }
    for bad in [
        "",
        "cve-2026-0001",
        "CVE-26-0001",
        "CVE-2026-1",
        "CVE-2026-00x1",
        "CVE-2026-0001 ",
    ] {
        assert!(bad.parse::<Cve>().is_err(), "{bad:?}");
    }
}

/// A state that can be cloned can be in a channel, and none other stays there.
#[test]
fn channels_hold_what_can_be_cloned() {
    for state in State::ALL {
        assert_eq!(state.stays_in_channel(), state.is_clonable(), "{state}");
    }
}
