//! Tables for pools: what is made, what goes, and which member is taken.

use super::*;
use uuid::Uuid;

const NOW: u128 = 3;
const BEFORE: u128 = 2;

fn pool(warm: u32) -> Pool {
    Pool {
        name: "ci".parse().expect("a name"),
        from: "web".parse().expect("a reference"),
        warm,
        depth: Depth::Warm,
        spec: CloneSpec::default(),
        generation: 1,
    }
}

fn version(number: u128) -> VersionId {
    VersionId(Uuid::from_u128(number))
}

fn member(id: u128, of: u128) -> Member {
    Member {
        id: GuestId(Uuid::from_u128(id)),
        name: format!("ci-{id}").parse().expect("a name"),
        version: version(of),
        clonable: true,
        generation: 1,
        ready: true,
        alive: true,
    }
}

fn busy(id: u128, of: u128) -> Member {
    Member {
        ready: false,
        ..member(id, of)
    }
}

/// How many are made, and which go for what.
fn tended(warm: u32, members: &[Member]) -> (u32, Vec<(u128, Drained)>) {
    let Tending { make, drain } = tend(&pool(warm), Some(version(NOW)), members);
    let drain = drain.into_iter().map(|(id, why)| (id.0.as_u128(), why));
    (make, drain.collect())
}

#[test]
fn what_is_missing_is_made_and_what_is_coming_is_not_made_twice() {
    assert_eq!(tended(3, &[]), (3, vec![]));
    assert_eq!(tended(3, &[member(1, NOW)]), (2, vec![]));
    assert_eq!(tended(3, &[member(1, NOW), busy(2, NOW)]), (1, vec![]));
    assert_eq!(tended(1, &[busy(1, NOW), busy(2, NOW)]), (0, vec![]));
    assert_eq!(tended(0, &[]), (0, vec![]));
}

#[test]
fn members_of_before_stay_until_those_of_now_are_ready() {
    let one_each = [member(1, BEFORE), member(2, NOW)];
    assert_eq!(tended(2, &one_each), (1, vec![]));
    assert_eq!(tended(1, &one_each), (0, vec![(1, Drained::Outdated)]));
    let coming = [member(1, BEFORE), busy(2, NOW)];
    assert_eq!(
        tended(1, &coming),
        (0, vec![]),
        "the new one is not ready yet"
    );
    let older = Member {
        generation: 0,
        ..member(1, NOW)
    };
    assert_eq!(tended(1, std::slice::from_ref(&older)), (1, vec![]));
    assert_eq!(
        tended(1, &[older, member(2, NOW)]),
        (0, vec![(1, Drained::Outdated)])
    );
}

#[test]
fn a_withdrawn_version_is_drained_at_once_and_a_dead_member_too() {
    let withdrawn = Member {
        clonable: false,
        ..member(1, BEFORE)
    };
    let dead = Member {
        alive: false,
        ..member(2, NOW)
    };
    let gone = vec![(1, Drained::Withdrawn), (2, Drained::Ended)];
    assert_eq!(tended(1, &[withdrawn.clone(), dead]), (1, gone));
    let none = tend(&pool(2), None, std::slice::from_ref(&withdrawn));
    assert_eq!(none.make, 0);
    assert_eq!(none.drain, [(withdrawn.id, Drained::Withdrawn)]);
    // It is being made: who makes it is not disturbed, and it goes afterwards.
    let coming = Member {
        ready: false,
        ..withdrawn
    };
    assert_eq!(tended(1, &[coming]), (1, vec![]));
}

#[test]
fn a_smaller_pool_lets_the_youngest_go() {
    let three = [member(1, NOW), member(2, NOW), member(3, NOW)];
    let gone = vec![(2, Drained::Surplus), (3, Drained::Surplus)];
    assert_eq!(tended(1, &three), (0, gone));
    assert_eq!(tended(0, &three[..1]), (0, vec![(1, Drained::Surplus)]));
}

#[test]
fn the_oldest_member_of_now_is_taken_before_one_of_before() {
    let chosen = |members: &[Member]| {
        choose(&pool(2), Some(version(NOW)), members).map(|member| member.id.0.as_u128())
    };
    assert_eq!(
        chosen(&[member(1, BEFORE), member(2, NOW), member(3, NOW)]),
        Some(2)
    );
    assert_eq!(chosen(&[member(1, BEFORE), busy(2, NOW)]), Some(1));
    let withdrawn = Member {
        clonable: false,
        ..member(1, BEFORE)
    };
    let dead = Member {
        alive: false,
        ..member(2, NOW)
    };
    assert_eq!(chosen(&[withdrawn, dead, busy(3, NOW)]), None);
}

#[test]
fn every_depth_has_a_name_that_is_read_back() {
    for depth in Depth::ALL {
        assert_eq!(depth.as_str().parse(), Ok(depth));
    }
    assert!("hot".parse::<Depth>().is_err());
}
