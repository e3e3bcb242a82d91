//! Clones that share an identity item: refused when they were to be their own, shown when not.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::identity::Verdict;
use stampo_core::personalisation::{File, Personalisation};
use stampo_core::plan::CloneSpec;
use stampo_engine::EngineError;

/// A file that gives every clone the same iSCSI name.
fn same_name_for_all() -> CloneSpec {
    let file = File {
        path: "/etc/iscsi/initiatorname.iscsi".to_owned(),
        content: b"InitiatorName=iqn.1993-08.org.debian:01:5f0a3c9e1b2d\n".to_vec(),
        mode: 0o600,
        owner: "root".to_owned(),
        group: "root".to_owned(),
    };
    CloneSpec {
        personalisation: Personalisation {
            files: vec![file],
            ..spec().personalisation
        },
        ..spec()
    }
}

pub fn a_personalised_clone_that_is_not_unique_is_destroyed() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "one", &same_name_for_all()).expect("the first is unique");
    let error = clone(&engine, "two", &same_name_for_all()).expect_err("the second is not");
    let EngineError::Duplicate { guest, what } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(guest.as_str(), "two");
    assert!(
        what.contains("iscsi.initiator-name") && what.contains("one"),
        "{what}"
    );
    assert!(engine.guest_row(&name("two")).is_err(), "it is still there");
    drop(engine);
    assert_clean(&home.path(), "a duplicate");
}

pub fn clones_that_are_equal_on_purpose_show_it_in_their_passports() {
    let home = sealed_with_finding();
    let engine = home.engine();
    let error = publish(&engine, "web").expect_err("it has a finding");
    assert!(error.chain().contains("open findings"), "{}", error.chain());
    for finding in findings(&engine) {
        engine
            .accept(&reference("web"), &finding, None, "a test")
            .expect("accepted");
    }
    publish(&engine, "web").expect("published");
    let plain = CloneSpec {
        count: Some(2),
        no_personalisation: true,
        ..spec()
    };
    clone(&engine, "app-{n}", &plain).expect("allowed: nothing was to be their own");
    let passports = engine.passports(&[]).expect("passports");
    assert_eq!(passports.len(), 2);
    for passport in &passports {
        let shared = passport
            .items
            .iter()
            .filter_map(|(fact, verdict)| match verdict {
                Verdict::Duplicated(with) => Some((fact.item.as_str(), with.len())),
                _ => None,
            });
        let shared: Vec<_> = shared.collect();
        let expected = [("hostname", 1), ("iscsi.initiator-name", 1)];
        assert_eq!(shared, expected, "{}", passport.guest);
    }
}

pub fn personalised_clones_share_nothing_unexplained() {
    let home = Home::published();
    let engine = home.engine();
    let three = CloneSpec {
        count: Some(3),
        ..spec()
    };
    clone(&engine, "app-{n}", &three).expect("cloned");
    for passport in engine.passports(&[]).expect("passports") {
        assert!(passport.items.len() > 5, "{:?}", passport.items);
        for (fact, verdict) in &passport.items {
            assert!(
                !matches!(verdict, Verdict::Duplicated(_)),
                "{}: {} is shared: {verdict:?}",
                passport.guest,
                fact.item
            );
        }
    }
}

/// A new clone never gets the host name that a renamed guest still has inside.
pub fn a_renamed_guest_keeps_its_host_name_reserved() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app-{n}", &spec()).expect("app-1");
    engine.rename(&name("app-1"), &name("db")).expect("renamed");
    let made = clone(&engine, "app-{n}", &spec()).expect("another");
    assert_eq!(made[0].name.as_str(), "app-2");
    let error = clone(&engine, "app-1", &spec()).expect_err("its host name is db's");
    assert!(matches!(error, EngineError::Plan(_)), "{error:?}");
    engine.remove(&name("db"), None).expect("removed");
    clone(&engine, "app-1", &spec()).expect("free again");
}
