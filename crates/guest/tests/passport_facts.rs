//! Passports of real personalisations on trees: what is unique, what is kept, what is missing.

use crate::personalise_support::*;
use stampo_core::identity::{FactValue, IdentityFact};
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::passport::{
    AgentFiles, Content, ITEMS, ShellFacts, explain, facts_from_agent, patterns, read_facts,
};
use stampo_guest::personalise::personalise;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const SALT: [u8; 32] = [1; 32];

fn value<'a>(facts: &'a [IdentityFact], item: &str) -> &'a FactValue {
    let fact = facts.iter().find(|fact| fact.item == item);
    &fact
        .unwrap_or_else(|| panic!("no fact {item}: {facts:#?}"))
        .value
}

fn shell(n: u8) -> ShellFacts {
    let id = |kind: u128| Some(Uuid::from_u128(kind << 8 | u128::from(n)));
    ShellFacts {
        smbios_uuid: id(1),
        smbios_serial: Some(format!("serial-{n}")),
        macs: context(n).nics,
        addresses: vec![format!("192.0.2.{n}").parse().expect("valid")],
        generation_id: id(2),
        disk_serials: vec![format!("disk-{n}")],
        disk_guid: id(3),
        partition_guids: vec![Uuid::from_u128(99)],
        nvram: Some(format!("/g/{n}/vars.fd")),
        tpm_state: Some(format!("/g/{n}/tpm")),
        kept: BTreeMap::new(),
    }
}

fn clone_of(template: &TreeFixture, n: u8) -> TreeFixture {
    let mut tree = template.clone();
    let request = request(&format!("app-{n}"));
    personalise(&mut tree, &request, &secrets(n.into()), &context(n)).expect("good");
    tree
}

#[test]
fn two_clones_share_nothing_that_is_not_explained() {
    let template = debian();
    let of_template = read_facts(
        &template,
        &ShellFacts {
            partition_guids: vec![Uuid::from_u128(99)],
            ..ShellFacts::default()
        },
        &SALT,
    );
    let mut passports: Vec<Vec<IdentityFact>> = (1..=3)
        .map(|n| read_facts(&clone_of(&template, n), &shell(n), &SALT))
        .collect();
    let shared_before = hashes(&passports[0])
        .intersection(&hashes(&passports[1]))
        .count();
    assert_eq!(shared_before, 1, "only the partition's GUID is shared");
    for passport in &mut passports {
        explain(passport, &of_template);
        assert!(passport.len() >= 22, "{passport:#?}");
        let unknown: Vec<_> = passport
            .iter()
            .filter(|f| matches!(f.value, FactValue::Unknown(_)))
            .collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
        assert!(matches!(
            value(passport, "partition.1.guid"),
            FactValue::Kept(_)
        ));
        assert_eq!(value(passport, "docker.key"), &FactValue::Regenerated);
    }
    let all: Vec<_> = passports
        .iter()
        .flat_map(|passport| hashes(passport))
        .collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "a value occurs in two guests");
}

fn hashes(facts: &[IdentityFact]) -> BTreeSet<String> {
    let present = facts.iter().filter_map(|fact| match &fact.value {
        FactValue::Present(hash) => Some(hash.clone()),
        _ => None,
    });
    present.collect()
}

#[test]
fn copies_of_a_template_that_was_not_sealed_are_seen() {
    let baked = debian()
        .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file("/etc/docker/key.json", "{\"d\":\"x\"}")
        .file(
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "ssh-ed25519 AAAA root@one\n",
        )
        .file("/var/lib/netdata/registry/netdata.public.unique.id", "id");
    let other = baked.clone().file(
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "ssh-ed25519 AAAA root@two\n",
    );
    let (one, two) = (
        read_facts(&baked, &shell(1), &SALT),
        read_facts(&other, &shell(2), &SALT),
    );
    for item in [
        "machine-id",
        "docker.key",
        "ssh.host-key.ed25519",
        "netdata.registry-id",
    ] {
        assert!(matches!(value(&one, item), FactValue::Present(_)), "{item}");
        assert_eq!(
            value(&one, item),
            value(&two, item),
            "{item} is not seen as shared"
        );
    }
}

#[test]
fn what_is_missing_is_regenerated_or_unknown() {
    let sealed = debian().file("/usr/lib/stampo/firstboot", "#!/bin/sh");
    let facts = read_facts(&sealed, &ShellFacts::default(), &SALT);
    for item in [
        "machine-id",
        "random-seed",
        "ssh.host-key",
        "iscsi.initiator-name",
        "nvme.hostid",
    ] {
        assert_eq!(value(&facts, item), &FactValue::Regenerated, "{item}");
    }
    let lost = read_facts(&debian(), &ShellFacts::default(), &SALT);
    assert!(matches!(
        value(&lost, "ssh.host-key"),
        FactValue::Unknown(_)
    ));
    let nothing = read_facts(&TreeFixture::new(), &ShellFacts::default(), &SALT);
    let items: Vec<&str> = nothing.iter().map(|fact| fact.item.as_str()).collect();
    assert_eq!(
        items,
        ["filesystem.uuid"],
        "an empty guest has no other identity"
    );
}

#[test]
fn what_can_not_be_read_is_unknown() {
    let tree = debian()
        .special("/etc/hostid")
        .file("/etc/machine-id", "0123\n")
        .damaged("/etc/machine-id");
    let facts = read_facts(&tree, &ShellFacts::default(), &SALT);
    for item in ["hostid", "machine-id"] {
        assert!(
            matches!(value(&facts, item), FactValue::Unknown(_)),
            "{item}"
        );
    }
    let large = debian().file("/etc/hostid", vec![b'x'; 5 << 20]);
    assert!(matches!(
        value(&read_facts(&large, &ShellFacts::default(), &SALT), "hostid"),
        FactValue::Unknown(_)
    ));
}

#[test]
fn kept_items_carry_the_reason_but_never_hide_a_failure() {
    let mut shell = shell(1);
    shell
        .kept
        .insert("filesystem.uuid".into(), "GRUB names it".into());
    shell.kept.insert("machine-id".into(), "asked for".into());
    let tree = debian().damaged("/etc/machine-id");
    let facts = read_facts(&tree, &shell, &SALT);
    assert_eq!(
        value(&facts, "filesystem.uuid"),
        &FactValue::Kept("GRUB names it".into())
    );
    assert!(matches!(value(&facts, "machine-id"), FactValue::Unknown(_)));
}

#[test]
fn only_items_with_an_explanation_are_explained() {
    let baked = debian().file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let template = read_facts(&baked, &ShellFacts::default(), &SALT);
    let mut clone = template.clone();
    explain(&mut clone, &template);
    assert!(
        matches!(value(&clone, "machine-id"), FactValue::Present(_)),
        "never excused"
    );
    assert!(matches!(
        value(&clone, "filesystem.uuid"),
        FactValue::Kept(_)
    ));
}

#[test]
fn hashes_depend_on_salt_and_item_and_never_show_the_value() {
    let tree = clone_of(&debian(), 1);
    let one = read_facts(&tree, &shell(1), &SALT);
    let two = read_facts(&tree, &shell(1), &[2; 32]);
    assert!(hashes(&one).is_disjoint(&hashes(&two)));
    assert_eq!(
        hashes(&one).len(),
        one.iter()
            .filter(|f| matches!(f.value, FactValue::Present(_)))
            .count()
    );
    let shown = format!("{one:?}");
    let id = text(&tree, "/etc/machine-id");
    assert!(!shown.contains(id.trim()));
    // The hostname and the mail name are one text, and two facts.
    assert_ne!(value(&one, "hostname"), value(&one, "mailname"));
}

#[test]
fn the_agent_gives_the_same_facts_as_the_disk() {
    use stampo_guest::fs::{FsError, GuestRead};
    let tree = clone_of(&debian(), 1);
    let mut agent = AgentFiles {
        filesystem_uuid: Some(tree.uuid().expect("a uuid")),
        ..AgentFiles::default()
    };
    for pattern in patterns() {
        let mut paths = vec![pattern.to_owned()];
        if let Some((begin, end)) = pattern.split_once('*') {
            let directory = begin.rsplit_once('/').expect("absolute").0;
            let names = tree.read_dir(directory).unwrap_or_default();
            let all = names
                .into_iter()
                .map(|e| format!("{directory}/{}", String::from_utf8_lossy(&e.name)));
            paths = all
                .filter(|path| path.starts_with(begin) && path.ends_with(end))
                .collect();
        }
        for path in paths {
            let content = match tree.read(&path, 1 << 20) {
                Ok(bytes) => Content::Bytes(bytes),
                Err(FsError::NotFound { .. }) => Content::Absent,
                Err(error) => Content::Unreadable(error.to_string()),
            };
            agent.files.insert(path, content);
        }
    }
    assert_eq!(
        facts_from_agent(&agent, &shell(1), &SALT),
        read_facts(&tree, &shell(1), &SALT)
    );
    agent.files.remove("/etc/machine-id");
    let partial = facts_from_agent(&agent, &shell(1), &SALT);
    assert!(
        matches!(value(&partial, "machine-id"), FactValue::Unknown(_)),
        "not asked is not unique"
    );
}

#[test]
fn the_table_is_large_enough_to_mean_something() {
    assert!(ITEMS.len() >= 75, "{}", ITEMS.len());
}
