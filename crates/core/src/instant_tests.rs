//! Tables for instant clones: how they begin, and for how many the host has memory.

use super::*;

fn version(memory: MemoryFacts) -> VersionFacts {
    VersionFacts {
        memory,
        ..crate::plan::tests::version()
    }
}

fn asking(instant: Option<Instant>) -> CloneSpec {
    CloneSpec {
        instant,
        ..CloneSpec::default()
    }
}

fn origin() -> Origin {
    Origin {
        memory: "memory-1".into(),
        macs: vec![Mac::from_random([1; 4])],
    }
}

#[test]
fn a_fork_a_boot_or_a_refusal() {
    let begin = |wanted, memory| beginning(&asking(wanted), &version(memory));
    let unfit = || MemoryFacts::Unfit("another QEMU".into());
    let (prefer, only) = (Some(Instant::Prefer), Some(Instant::Only));
    for memory in [MemoryFacts::Missing, unfit(), MemoryFacts::Fits(origin())] {
        assert_eq!(begin(None, memory), Ok(Beginning::default()));
    }
    for wanted in [prefer, only] {
        let fork = begin(wanted, MemoryFacts::Fits(origin())).expect("it fits");
        assert_eq!(fork.fallback, None);
        let fork = fork.fork.expect("a fork");
        assert_eq!((fork.origin, fork.identified), (origin(), false));
        assert_eq!(
            begin(wanted, MemoryFacts::Missing),
            Err(PlanRefusal::NotFrozen("web@1".into()))
        );
    }
    let boots = begin(prefer, unfit()).expect("it boots");
    assert_eq!(boots.fork, None);
    assert_eq!(boots.fallback.as_deref(), Some("another QEMU"));
    assert!(matches!(
        begin(only, unfit()),
        Err(PlanRefusal::MemoryUnfit { .. })
    ));
}

/// Each guest counts with all of its memory and what its process takes; the last byte may be used.
#[test]
fn memory_is_counted_as_the_worst_case() {
    let each = ByteSize::mib(512 + 168);
    let host = |total_mib: u64, promised_mib: u64| HostMemory {
        total: ByteSize::mib(total_mib),
        promised: ByteSize::mib(promised_mib),
    };
    assert_eq!(worst_case(ByteSize::mib(512)), each);
    let memory = ByteSize::mib(512);
    assert_eq!(admit(host(1360, 0), memory, 2), Ok(()));
    assert_eq!(admit(host(1460, 100), memory, 2), Ok(()));
    assert_eq!(
        admit(host(1459, 100), memory, 2),
        Err(PlanRefusal::NoMemory {
            asked: ByteSize::mib(1360),
            promised: ByteSize::mib(100),
            total: ByteSize::mib(1459),
        })
    );
    assert!(admit(host(u64::MAX >> 20, 0), ByteSize(u64::MAX), u32::MAX).is_err());
}

#[test]
fn keys_for_everybody_and_for_one() {
    let user = |name: &str, keys: &[&str]| User {
        name: name.into(),
        ssh_authorized_keys: keys.iter().map(|key| (*key).into()).collect(),
        ..User::default()
    };
    let asked = |keys: &[&str], users: &[User]| Personalisation {
        ssh_authorized_keys: keys.iter().map(|key| (*key).into()).collect(),
        users: users.to_vec(),
        ..Personalisation::default()
    };
    let told = |asked: &Personalisation| -> Vec<(String, Vec<String>)> {
        let logins = logins(asked).into_iter();
        logins.map(|login| (login.user, login.keys)).collect()
    };
    let expected = |of: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        of.iter().map(|(n, k)| ((*n).to_owned(), keys(k))).collect()
    };
    assert_eq!(told(&asked(&[], &[])), []);
    assert_eq!(
        told(&asked(
            &["a"],
            &[user("eve", &["b", "a"]), user("ann", &[])]
        )),
        expected(&[("root", &["a"]), ("eve", &["a", "b"]), ("ann", &["a"])])
    );
    let own = asked(&[], &[user("eve", &["b"])]);
    assert_eq!(told(&own), expected(&[("eve", &["b"])]));
    assert_eq!(not_told(&own), None);
    let none = asked(&[], &[user("eve", &[])]);
    assert!(not_told(&none).is_some_and(|option| option.contains("no --ssh-key")));
    let mut sudo = own;
    sudo.users[0].sudo = true;
    assert!(not_told(&sudo).is_some_and(|option| option.contains("sudo")));
}
