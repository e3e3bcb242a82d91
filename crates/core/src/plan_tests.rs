//! Tables for `plan_clone`: what is unique, what is refused, and with which words.

use super::*;
use std::collections::HashSet;

pub(crate) fn version() -> VersionFacts {
    VersionFacts {
        id: VersionId(Uuid::nil()),
        label: "web@1".into(),
        state: State::Published,
        advice: String::new(),
        image: ImageId::from_bytes([7; 32]),
        virtual_size: ByteSize::gib(2),
        data: ByteSize::mib(500),
        hardware: Hardware::default(),
        memory: MemoryFacts::Missing,
    }
}

fn host() -> HostFacts {
    HostFacts {
        reflink: false,
        free: ByteSize::gib(100),
        free_ports: (22_000..23_100).collect(),
        memory: HostMemory::default(),
    }
}

fn plan(pattern: &str, spec: &CloneSpec, inventory: &Inventory) -> Result<ClonePlan, PlanRefusal> {
    let mut counter = 0_u128;
    let mut random = || {
        counter += 1;
        *blake(counter).first_chunk().expect("32 bytes hold 16")
    };
    plan_clone(
        &NamePattern::new(pattern),
        spec,
        &version(),
        &host(),
        inventory,
        &mut random,
    )
}

/// Spreads a counter over 32 bytes, so that neighbours differ in every part.
fn blake(counter: u128) -> [u8; 32] {
    let mut out = [0; 32];
    let mixed = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    out[..16].copy_from_slice(&mixed.to_be_bytes());
    out[16..].copy_from_slice(&mixed.rotate_left(64).to_be_bytes());
    out
}

fn spec(count: u32) -> CloneSpec {
    CloneSpec {
        count: Some(count),
        ..CloneSpec::default()
    }
}

#[test]
fn a_hundred_guests_share_nothing_that_must_be_unique() {
    let plan = plan("app-{n}", &spec(100), &Inventory::default()).expect("legal");
    let distinct =
        |f: &dyn Fn(&GuestPlan) -> String| plan.guests.iter().map(f).collect::<HashSet<_>>().len();
    assert_eq!(distinct(&|g| g.id.to_string()), 100);
    assert_eq!(distinct(&|g| g.name.to_string()), 100);
    assert_eq!(distinct(&|g| g.nics[0].mac.to_string()), 100);
    assert_eq!(distinct(&|g| format!("{:?}", g.nics[0].ssh_port)), 100);
    assert_eq!(distinct(&|g| g.generation_id.to_string()), 100);
    assert_eq!(distinct(&|g| g.serial.clone()), 100);
    assert_eq!(distinct(&|g| g.disk_guid.to_string()), 100);
    assert_eq!(
        distinct(&|g| g
            .personalisation
            .as_ref()
            .expect("default")
            .hostname
            .clone()),
        100
    );
}

#[test]
fn what_other_guests_hold_is_never_given_again() {
    let mut inventory = Inventory::default();
    let first = plan("app-{n}", &spec(3), &inventory).expect("legal");
    for guest in &first.guests {
        inventory.names.insert(guest.name.clone());
        inventory.macs.insert(guest.nics[0].mac);
        inventory.ports.extend(guest.nics[0].ssh_port);
    }
    // The same random bytes again: the MACs would be equal if the inventory were not looked at.
    let second = plan("app-{n}", &spec(3), &inventory).expect("legal");
    for guest in &second.guests {
        assert!(!inventory.names.contains(&guest.name));
        assert!(!inventory.macs.contains(&guest.nics[0].mac));
        assert!(
            guest.nics[0]
                .ssh_port
                .is_some_and(|p| !inventory.ports.contains(&p))
        );
    }
}

#[test]
fn static_addresses_come_from_the_range_in_order() {
    let with = CloneSpec {
        address: Some("192.0.2.10-192.0.2.12/24".parse().expect("valid")),
        gateway: Some("192.0.2.1".parse().expect("valid")),
        ..spec(3)
    };
    let plan = plan("app-{n}", &with, &Inventory::default()).expect("legal");
    for (guest, last) in plan.guests.iter().zip(10..) {
        let Network::Static { address, .. } = &guest.nics[0].network else {
            panic!("static was asked for")
        };
        assert_eq!(address.to_string(), format!("192.0.2.{last}/24"));
    }
}

#[test]
fn refusals_name_the_rule() {
    let mut taken = Inventory::default();
    taken.names.insert("app".parse().expect("valid"));
    let none = Inventory::default();
    let cases: Vec<(Result<ClonePlan, PlanRefusal>, &str)> = vec![
        (
            plan("app", &spec(1), &taken),
            "name a guest app: a guest of that name exists",
        ),
        (plan("app", &spec(2), &none), "name 2 guests by"),
        (plan("App", &spec(1), &none), "only a-z, 0-9 and '-'"),
        (plan("a", &spec(0), &none), "make 0 guests"),
        (plan("a-{n}", &spec(1001), &none), "make 1001 guests"),
        (
            plan(
                "a",
                &CloneSpec {
                    cpus: Some(0),
                    ..spec(1)
                },
                &none,
            ),
            "give a guest 0 processors",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    memory: Some(ByteSize(5)),
                    ..spec(1)
                },
                &none,
            ),
            "of memory",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    disk_size: Some(ByteSize::gib(1)),
                    ..spec(1)
                },
                &none,
            ),
            "can't shrink",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    disk_size: Some(ByteSize((3 << 30) + 1)),
                    ..spec(1)
                },
                &none,
            ),
            "whole MiB",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    extra_disks: vec![ByteSize(0)],
                    ..spec(1)
                },
                &none,
            ),
            "whole MiB",
        ),
        (
            plan(
                "a-{n}",
                &CloneSpec {
                    kind: Some(CloneKind::Full),
                    ..spec(300)
                },
                &none,
            ),
            "only 100 GiB are free",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    gateway: Some("192.0.2.1".parse().expect("valid")),
                    ..spec(1)
                },
                &none,
            ),
            "without a static address",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    address: Some("192.0.2.10/24".parse().expect("valid")),
                    gateway: Some("192.0.2.254".parse().expect("valid")),
                    ..spec(1)
                },
                &none,
            ),
            "its gateway is 192.0.2.1",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    address: Some("192.0.2.10/30".parse().expect("valid")),
                    ..spec(1)
                },
                &none,
            ),
            "a prefix of at most 29",
        ),
        (
            plan(
                "a",
                &CloneSpec {
                    bridge: Some("br/0".into()),
                    ..spec(1)
                },
                &none,
            ),
            "as a bridge",
        ),
    ];
    for (result, words) in cases {
        let refusal = result.expect_err(words).to_string();
        assert!(
            refusal.contains(words),
            "{refusal:?} should contain {words:?}"
        );
    }
}

#[test]
fn only_clonable_states_are_cloned() {
    for state in State::ALL {
        let facts = VersionFacts { state, ..version() };
        let mut random = || [1; 16];
        let result = plan_clone(
            &NamePattern::new("a"),
            &CloneSpec {
                bridge: Some("br0".into()),
                ..spec(1)
            },
            &facts,
            &host(),
            &Inventory::default(),
            &mut random,
        );
        assert_eq!(result.is_ok(), state.is_clonable(), "{state}");
    }
}
