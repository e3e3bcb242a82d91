use super::*;

fn version(state: &str, approved: bool, behind: u32) -> VersionEvidence {
    VersionEvidence {
        version: "web@1".to_owned(),
        state: state.to_owned(),
        image: "00".to_owned(),
        read_ms: None,
        behind,
        advice: String::new(),
        approval: String::new(),
        approved,
        signed: false,
        conformity: String::new(),
        report: String::new(),
        pack: String::new(),
        judged_s: None,
        open_findings: None,
        cves: Vec::new(),
        machines: 0,
    }
}

fn machine(standing: Class) -> MachineEvidence {
    MachineEvidence {
        name: "app".to_owned(),
        id: "1".to_owned(),
        version: "web@1".to_owned(),
        standing,
    }
}

fn evidence(versions: Vec<VersionEvidence>, machines: Vec<MachineEvidence>) -> Evidence {
    Evidence {
        schema: SCHEMA.to_owned(),
        at_ms: 0,
        host: "h".to_owned(),
        stampo: "0".to_owned(),
        rules: Rules {
            approval: "solo".to_owned(),
            approval_asked: false,
            approval_digest: String::new(),
            pack: "default".to_owned(),
            pack_set: false,
            pack_digest: String::new(),
            retention: false,
        },
        audit: Audit {
            records: 1,
            covered: 0,
            key: String::new(),
            faults: Vec::new(),
            refused: 0,
        },
        summary: Summary::default(),
        controls: Vec::new(),
        unknowns: Vec::new(),
        versions,
        machines,
        strangers: Vec::new(),
    }
    .concluded()
}

#[test]
fn the_worst_of_a_machine_counts() {
    for (state, approved, behind, class) in [
        ("published", true, 0, Class::Current),
        ("published", true, 1, Class::Outdated),
        ("deprecated", true, 0, Class::Outdated),
        ("obsolete", true, 0, Class::Withdrawn),
        ("sealed", true, 0, Class::Withdrawn),
        ("published", false, 0, Class::Unapproved),
        ("revoked", false, 3, Class::Revoked),
        ("quarantined", true, 0, Class::Revoked),
        ("purged", true, 0, Class::UnknownOrigin),
    ] {
        assert_eq!(
            Class::of(&version(state, approved, behind)),
            class,
            "{state}"
        );
    }
}

#[test]
fn every_machine_counts_once() {
    let mut of = evidence(Vec::new(), Class::ALL.map(machine).to_vec());
    of.strangers.push(Stranger {
        name: String::new(),
        pid: 1,
        disks: Vec::new(),
        reads: None,
    });
    let s = of.concluded().summary;
    let sum = s.current + s.outdated + s.withdrawn + s.unapproved + s.revoked + s.unknown_origin;
    assert_eq!((s.machines, sum, s.unknown_origin), (7, 7, 2));
}

fn shown(of: &Evidence, id: &str) -> Shown {
    let found = of.controls.iter().find(|control| control.id.ends_with(id));
    found.expect("a control").shown
}

#[test]
fn nothing_shows_nothing() {
    let of = evidence(Vec::new(), Vec::new());
    for id in ["CM-2", "CM-6", "CM-8", "CM-14", "SI-2", "SI-7", "A.8.8"] {
        assert_eq!(shown(&of, id), Shown::No, "{id}");
    }
}

#[test]
fn what_is_missing_is_not_shown_as_good() {
    let mut good = version("published", true, 0);
    (good.conformity, good.read_ms) = ("pass".to_owned(), Some(1));
    (good.open_findings, good.signed) = (Some(0), true);
    let mut of = evidence(vec![good.clone()], vec![machine(Class::Current)]);
    assert_eq!(shown(&of, "CM-2"), Shown::Yes);
    assert_eq!(shown(&of, "CM-6"), Shown::Partly, "the site has no pack");
    of.rules.pack_set = true;
    of = of.concluded();
    assert_eq!(shown(&of, "CM-6"), Shown::Yes);
    assert_eq!(shown(&of, "CM-14"), Shown::Yes);
    assert_eq!(shown(&of, "SI-7"), Shown::Yes);
    assert_eq!(shown(&of, "AU-9"), Shown::Partly, "nothing is signed");
    of.versions.push(version("published", true, 0));
    of.machines.push(machine(Class::UnknownOrigin));
    of.audit.faults.push("record 3".to_owned());
    of = of.concluded();
    for id in ["CM-2", "CM-6", "CM-14", "SI-7"] {
        assert_eq!(shown(&of, id), Shown::Partly, "{id}");
    }
    assert_eq!(shown(&of, "AU-9"), Shown::No);
}
