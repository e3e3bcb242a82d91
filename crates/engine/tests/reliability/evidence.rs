//! Evidence: what it says of machines, and that nothing in its signed form can be changed.

use crate::governance::{said, two};
use crate::home::*;
use libtest_mimic::Trial;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stampo_attest::evidence::Bundle;
use stampo_attest::signature::{Key, new_key};
use stampo_core::evidence::{Class, Evidence, Shown};
use stampo_core::lifecycle::Verb;
use stampo_core::plan::CloneSpec;
use stampo_engine::{Engine, Unwatched};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("evidence_says_what_each_machine_is", standings),
        trial("evidence_counts_nothing_unknown_as_good", unknowns),
        trial("evidence_that_was_changed_proves_nothing", changed),
    ]
}

/// `old-1` and `old-2` of `web@1`, and `new` of `web@2`.
fn site() -> Home {
    let home = two();
    let engine = home.engine();
    for (version, pattern, count) in [("web@1", "old-{n}", 2), ("web@2", "new", 1)] {
        let spec = CloneSpec {
            count: Some(count),
            ..spec()
        };
        clone_of(&engine, version, pattern, &spec, &Unwatched).expect("cloned");
    }
    home
}

fn of(engine: &Engine) -> Evidence {
    engine.site_evidence().expect("evidence")
}

fn standing(evidence: &Evidence, machine: &str) -> Class {
    let found = evidence.machines.iter().find(|one| one.name == machine);
    found.expect("listed").standing
}

fn standings() {
    let home = site();
    let engine = home.engine();
    let evidence = of(&engine);
    assert_eq!(standing(&evidence, "new"), Class::Current);
    assert_eq!(standing(&evidence, "old-1"), Class::Outdated);
    let s = evidence.summary;
    assert_eq!((s.machines, s.current, s.outdated), (3, 1, 2));
    said(&engine, "web@1", Verb::Obsolete).expect("obsolete");
    assert_eq!(standing(&of(&engine), "old-1"), Class::Withdrawn);
    said(&engine, "web@1", Verb::Revoke).expect("revoked");
    let evidence = of(&engine);
    assert_eq!(standing(&evidence, "old-2"), Class::Revoked);
    assert_eq!(evidence.summary.revoked, 2);
    let web = evidence.versions.iter().find(|v| v.version == "web@1");
    let web = web.expect("listed");
    assert_eq!((web.state.as_str(), web.machines), ("revoked", 2));
    assert!(web.advice.contains("keys leak"), "{}", web.advice);
    // Who publishes has approved, until the site asks for more.
    engine
        .set_approval(&crate::approval::site("team", ""))
        .expect("set");
    assert_eq!(standing(&of(&engine), "new"), Class::Unapproved);
}

fn shown(evidence: &Evidence, id: &str) -> Shown {
    let found = evidence.controls.iter().find(|one| one.id.ends_with(id));
    found.expect("a control").shown
}

fn unknowns() {
    let home = site();
    let engine = home.engine();
    let has = |what: &str| of(&engine).unknowns.iter().any(|line| line.contains(what));
    assert!(has("have no conformity report"));
    assert_eq!(shown(&of(&engine), "CM-6"), Shown::No);
    for version in ["web@1", "web@2"] {
        engine
            .policy_check(&reference(version), None)
            .expect("checked");
    }
    assert!(!has("have no conformity report"));
    assert_eq!(shown(&of(&engine), "AU-9"), Shown::Partly);
    engine.audit_checkpoint().expect("signed");
    assert_eq!(shown(&of(&engine), "AU-9"), Shown::Yes);
    assert_eq!(shown(&of(&engine), "CM-14"), Shown::No, "nobody signed");
}

fn changed() {
    let home = site();
    let engine = home.engine();
    let text = engine.evidence_bundle().expect("signed");
    let key = engine.site_public_key().expect("a key");
    let key = Key::parse(&key).expect("a key");
    let read = Bundle::verify(&text, &key).expect("as it was signed");
    assert_eq!(read.machines.len(), 3);
    let others = Key::parse(&new_key([9; 32], "").expect("a key").1).expect("a key");
    assert!(Bundle::verify(&text, &others).is_err(), "another's key");
    // Every byte of it, a tenth of them a run.
    let mut random = StdRng::seed_from_u64(crate::seed::seed());
    for at in 0..text.len() {
        if !random.random_bool(0.1) {
            continue;
        }
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(other) = String::from_utf8(bytes) else {
            continue;
        };
        // White space between the file's fields means nothing.
        if let Ok(same) = Bundle::verify(&other, &key) {
            assert_eq!(same, read, "byte {at}");
        }
    }
}
