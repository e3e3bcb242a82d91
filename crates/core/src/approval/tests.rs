use super::*;
use std::collections::BTreeSet;

const NOW_MS: i64 = 1_800_000_000_000;

fn who(name: &str) -> Principal {
    name.parse().expect("a signer")
}

fn role(name: &str) -> Role {
    name.parse().expect("a role")
}

fn now() -> Bound {
    Bound {
        image: "image".to_owned(),
        policy: "policy".to_owned(),
        report: "report".to_owned(),
    }
}

/// A good vote of somebody with these roles.
fn vote(name: &str, roles: &[&str]) -> Vote {
    Vote {
        principal: who(name),
        said: Said::Approved,
        about: now(),
        at_ms: NOW_MS - 1,
        is_proven: true,
        is_person: true,
        roles: roles.iter().map(|name| role(name)).collect(),
    }
}

fn decided(rule: &Rule, votes: &[Vote], moment: Moment) -> Decision {
    decide(&Asked {
        rule,
        authors: &BTreeSet::from([who("author")]),
        votes,
        now: &now(),
        now_ms: NOW_MS,
        moment,
    })
}

/// What speaks against a vote, and how the vote is changed for it.
type Flaw = (Option<Void>, fn(&mut Vote));

/// Every flaw, one at a time.
const FLAWS: [Flaw; 10] = [
    (None, |_| {}),
    (Some(Void::Unproven), |v| v.is_proven = false),
    (Some(Void::Robot), |v| v.is_person = false),
    (Some(Void::Author), |v| v.principal = who("author")),
    (Some(Void::Image), |v| v.about.image.push('x')),
    (Some(Void::Policy), |v| v.about.policy.push('x')),
    (Some(Void::Report), |v| v.about.report.push('x')),
    (Some(Void::Expired), |v| v.at_ms = NOW_MS - 30 * DAY_MS),
    (Some(Void::Future), |v| v.at_ms = NOW_MS + 3_600_000),
    // The last moment at which it still counts.
    (None, |v| v.at_ms = NOW_MS - 30 * DAY_MS + 1),
];

/// Two of three, one for security and one for the platform.
fn custom() -> Rule {
    Rule {
        needed: 2,
        roles: [(role(SECURITY), 1), (role("platform"), 1)].into(),
        ..Rule::of(Preset::Custom)
    }
}

/// How many good votes of which people each preset needs, written down by hand.
fn is_enough(preset: Preset, people: &[&[&str]]) -> bool {
    let has = |name: &str| people.iter().any(|roles| roles.contains(&name));
    match preset {
        Preset::Solo => true,
        Preset::Team => !people.is_empty(),
        Preset::Regulated => people.len() >= 2 && has(SECURITY),
        Preset::Custom => {
            let pair = |a: usize, b: usize| {
                a != b && people[a].contains(&SECURITY) && people[b].contains(&"platform")
            };
            let all = 0..people.len();
            all.clone().any(|a| all.clone().any(|b| pair(a, b)))
        }
    }
}

/// Every cell: each preset, each moment, up to three people with any roles each, and each flaw on
/// any one of them.
#[test]
fn every_cell_of_the_presets_is_as_it_is_written_down() {
    const ROLES: [&[&str]; 4] = [&[], &[SECURITY], &["platform"], &[SECURITY, "platform"]];
    let mut cells = 0;
    for preset in Preset::ALL {
        let rule = match preset {
            Preset::Custom => custom(),
            preset => Rule::of(preset),
        };
        for people in peoples(&ROLES) {
            for (flaw, spoil) in FLAWS {
                for spoiled in 0..people.len().max(1) {
                    for moment in [Moment::Publishing, Moment::Using] {
                        cells += 1;
                        check_cell(&rule, &people, flaw, spoil, spoiled, moment);
                    }
                }
            }
        }
    }
    assert!(cells > 15_000, "{cells}");
}

fn peoples<'a>(roles: &[&'a [&'a str]]) -> Vec<Vec<&'a [&'a str]>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..3 {
        let longer = |people: &Vec<&'a [&'a str]>| {
            let people = people.clone();
            roles.iter().map(move |role| {
                let mut people = people.clone();
                people.push(*role);
                people
            })
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

fn check_cell(
    rule: &Rule,
    people: &[&[&str]],
    flaw: Option<Void>,
    spoil: fn(&mut Vote),
    spoiled: usize,
    moment: Moment,
) {
    const NAMES: [&str; 3] = ["ann", "ben", "cid"];
    let mut votes: Vec<Vote> = (people.iter().zip(NAMES))
        .map(|(roles, name)| vote(name, roles))
        .collect();
    if let Some(vote) = votes.get_mut(spoiled) {
        spoil(vote);
    }
    // What is so of the bytes and of the signer counts always, all else only until it is offered.
    let counts = match (flaw, moment) {
        (None, _) => true,
        (Some(Void::Policy | Void::Report | Void::Expired | Void::Future), Moment::Using) => true,
        (Some(Void::Author), _) => rule.author_may_approve,
        (Some(_), _) => false,
    };
    let good: Vec<&[&str]> = people
        .iter()
        .enumerate()
        .filter(|(at, _)| counts || *at != spoiled)
        .map(|(_, roles)| *roles)
        .collect();
    let expected = is_enough(rule.preset, &good);
    let found = decided(rule, &votes, moment);
    let cell = format!(
        "{:?} {people:?} {flaw:?} of {spoiled}, {moment:?}",
        rule.preset
    );
    assert_eq!(found.allows(), expected, "{cell}: {found:?}");
    if let Decision::Missing { more, .. } = found {
        assert!(more > 0, "{cell}");
    }
}

/// The reason that is told is the one that is so.
#[test]
fn a_vote_that_does_not_count_says_why() {
    let rule = Rule::of(Preset::Team);
    for (flaw, spoil) in FLAWS {
        let mut one = vote("ann", &[]);
        spoil(&mut one);
        let asked = Asked {
            rule: &rule,
            authors: &BTreeSet::from([who("author")]),
            votes: &[],
            now: &now(),
            now_ms: NOW_MS,
            moment: Moment::Publishing,
        };
        assert_eq!(vote_counts(&asked, &one).err(), flaw);
    }
}

#[test]
fn one_person_is_one_person_however_often_they_approve() {
    let rule = Rule::of(Preset::Regulated);
    let twice = [vote("ann", &[SECURITY]), vote("ann", &[SECURITY])];
    let found = decided(&rule, &twice, Moment::Publishing);
    assert_eq!(
        found,
        Decision::Missing {
            by: BTreeSet::from([who("ann")]),
            more: 1,
            roles: BTreeMap::new()
        }
    );
}

#[test]
fn what_is_missing_names_the_role() {
    let rule = Rule::of(Preset::Regulated);
    let two = [vote("ann", &[]), vote("ben", &[])];
    let Decision::Missing { more, roles, .. } = decided(&rule, &two, Moment::Publishing) else {
        panic!("nobody of security");
    };
    assert_eq!((more, roles), (1, [(role(SECURITY), 1)].into()));
}

/// Two people, whoever they are, but not one twice, not a robot, and not for other bytes.
#[test]
fn two_people_break_the_glass_for_a_day() {
    let rule = Rule::of(Preset::Regulated);
    let breaks = |name: &str| Vote {
        said: Said::BrokeGlass,
        ..vote(name, &[])
    };
    let one = breaks("ann");
    let by = BTreeSet::from([who("ann"), who("author")]);
    let pair = [one.clone(), breaks("author")];
    let found = decided(&rule, &pair, Moment::Publishing);
    let until_ms = NOW_MS - 1 + BREAK_GLASS_MS;
    assert_eq!(found, Decision::BrokenGlass { by, until_ms });
    let spoilt: [fn(&mut Vote); 6] = [
        |v| v.principal = who("ann"),
        |v| v.is_person = false,
        |v| v.is_proven = false,
        |v| v.about.image.push('x'),
        |v| v.at_ms = NOW_MS - BREAK_GLASS_MS,
        |v| v.said = Said::Approved,
    ];
    for spoil in spoilt {
        let mut pair = pair.clone();
        spoil(&mut pair[1]);
        let found = decided(&rule, &pair, Moment::Publishing);
        assert!(!found.allows(), "{found:?}");
    }
    // It is for when the report is bad.
    let mut bad = pair.clone();
    bad[1].about.report.push('x');
    assert!(decided(&rule, &bad, Moment::Publishing).allows());
}

/// What was said before a rejection counts for nothing after it, whoever brings the version back.
#[test]
fn a_rejection_ends_what_was_approved_before() {
    let rule = Rule::of(Preset::Team);
    let rejects = |at_ms: i64| Vote {
        said: Said::Rejected,
        at_ms,
        ..vote("ben", &[])
    };
    for said in [Said::Approved, Said::BrokeGlass] {
        let of = |name: &str| Vote {
            said,
            ..vote(name, &[])
        };
        let good = [of("ann"), of("cid")];
        let with = |other: Vote| [good[0].clone(), good[1].clone(), other];
        let allows = |votes: &[Vote]| decided(&rule, votes, Moment::Publishing).allows();
        assert!(allows(&good));
        assert!(!allows(&with(rejects(NOW_MS - 1))), "{said:?}");
        assert!(allows(&with(rejects(NOW_MS - 2))), "approved after it");
        let nobody = Vote {
            is_proven: false,
            ..rejects(NOW_MS)
        };
        assert!(allows(&with(nobody)), "anybody could say so");
        let robot = Vote {
            is_person: false,
            ..rejects(NOW_MS)
        };
        assert!(allows(&with(robot)));
    }
}

#[test]
fn whoever_purges_is_somebody_else_where_that_is_asked_for() {
    let authors = BTreeSet::from([who("author")]);
    let votes = [vote("ann", &[SECURITY]), vote("ben", &[])];
    for preset in Preset::ALL {
        let rule = Rule::of(preset);
        let strict = preset == Preset::Regulated;
        for (purger, is_apart) in [
            (Some("cid"), true),
            (Some("ann"), false),
            (Some("author"), false),
            (None, false),
        ] {
            let purger = purger.map(who);
            let may = may_purge(&rule, purger.as_ref(), &authors, &votes);
            assert_eq!(may, is_apart || !strict, "{preset:?} {purger:?}");
        }
    }
}

#[test]
fn a_rule_that_nobody_could_meet_is_refused() {
    for preset in Preset::ALL {
        assert_eq!(Rule::of(preset).check(), Ok(()));
    }
    let none = Rule {
        needed: 0,
        ..Rule::of(Preset::Custom)
    };
    assert_eq!(none.check(), Err(RuleError::Needed(0)));
    let crowded = Rule {
        needed: 1,
        ..custom()
    };
    assert_eq!(
        crowded.check(),
        Err(RuleError::Roles {
            roles: 2,
            needed: 1
        })
    );
    for days in [0, LONGEST_EXPIRY_DAYS + 1] {
        assert!(Rule::default().expiring_after(days).is_err());
    }
}

#[test]
fn signers_and_roles_are_plain_words() {
    for good in ["anna", "anna@example.org", "a.b_c+d-E9"] {
        assert_eq!(who(good).to_string(), good);
    }
    for bad in ["", "a b", "a,b", "*", "!anna", "anna\n", "ännä"] {
        assert!(bad.parse::<Principal>().is_err(), "{bad:?}");
    }
    for bad in ["", "Security", "a b", &"x".repeat(33)] {
        assert!(bad.parse::<Role>().is_err(), "{bad:?}");
    }
}
