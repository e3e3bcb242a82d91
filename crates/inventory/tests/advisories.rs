//! What others say about vulnerabilities, format by format, and what it means for a package.

use proptest::prelude::*;
use stampo_guest::inspect::packages::{Package, PackageManager};
use stampo_inventory::advisories::{Of, Statement, Status, Verdict, csaf, debian, judge, kev, osv};

fn range(introduced: Option<&str>, fixed: Option<&str>, last: Option<&str>) -> Status {
    Status::Affected {
        introduced: introduced.map(str::to_owned),
        fixed: fixed.map(str::to_owned),
        last: last.map(str::to_owned),
    }
}

fn in_short(statement: &Statement) -> (&str, &str, &str, Of) {
    let Statement {
        cve,
        ecosystem,
        package,
        of,
        ..
    } = statement;
    (cve, &ecosystem.0, package, *of)
}

#[test]
fn osv_ranges_begin_and_end_with_their_events() {
    let affected = |ecosystem: &str, rest: &str| {
        format!(r#"{{"package": {{"ecosystem": "{ecosystem}", "name": "p"}}, {rest}}}"#)
    };
    let events = r#""ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"},
        {"introduced": "3"}, {"last_affected": "4"}, {"introduced": "9"}]}, {"type": "GIT", "events": []}]"#;
    let parts = [
        affected("Debian:12", events),
        affected("Ubuntu:Pro:22.04:LTS", r#""versions": ["7"]"#),
        affected("Alpine:v3.20", r#""versions": []"#),
        affected("Rocky Linux:9", events),
        affected("Ubuntu:Pro:FIPS:22.04:LTS", events),
        affected("npm", events),
    ];
    let text = format!(
        r#"{{"id": "X-1", "modified": "m", "aliases": ["GHSA-1", "CVE-2026-1000"], "affected": [{}]}}"#,
        parts.join(",")
    );
    let said = osv::read(text.as_bytes()).expect("a document");
    let debian: Vec<_> = said
        .statements
        .iter()
        .filter(|one| one.ecosystem.0 == "debian:12")
        .collect();
    let statuses: Vec<_> = debian.iter().map(|one| one.status.clone()).collect();
    let all = [
        range(None, Some("2"), None),
        range(Some("3"), None, Some("4")),
        range(Some("9"), None, None),
    ];
    assert_eq!(statuses, all);
    assert_eq!(
        in_short(debian[0]),
        ("CVE-2026-1000", "debian:12", "p", Of::Source)
    );
    let of = |release: &str| {
        said.statements
            .iter()
            .find(|one| one.ecosystem.0 == release)
    };
    assert_eq!(
        of("ubuntu:22.04").expect("said").status,
        range(Some("7"), None, Some("7"))
    );
    assert_eq!(of("alpine:3.20").expect("said").status, Status::Unknown);
    assert_eq!(of("rocky:9").expect("said").of, Of::Binary);
    assert_eq!(said.skipped, 2, "FIPS builds and other ecosystems");
    let withdrawn = text.replacen("\"id\"", "\"withdrawn\": \"2026\", \"id\"", 1);
    assert!(
        osv::read(withdrawn.as_bytes())
            .expect("a document")
            .statements
            .is_empty()
    );
}

const CSAF: &str = include_str!("../../../fuzz/corpus/inventory_advisories/csaf");

#[test]
fn csaf_products_are_packages_of_platforms() {
    let said = csaf::read(CSAF.as_bytes()).expect("a document");
    assert_eq!(said.statements.len(), 1);
    let one = &said.statements[0];
    assert_eq!(
        in_short(one),
        ("CVE-2026-12345", "rhel:9", "openssl-libs", Of::Binary)
    );
    assert_eq!(one.status, range(None, Some("1:3.0.7-6.el9_2"), None));
    assert_eq!((said.skipped, &*said.modified), (1, "2026-11-02T00:00:00Z"));
    let doubtful = CSAF.replace("\"fixed\"", "\"under_investigation\"");
    let said = csaf::read(doubtful.as_bytes()).expect("a document");
    assert_eq!(said.statements[0].status, Status::Unknown);
}

#[test]
fn the_tracker_is_read_release_by_release() {
    let text = include_str!("../../../fuzz/corpus/inventory_advisories/debian");
    let mut said = Vec::new();
    let skipped = debian::read(text.as_bytes(), &mut |one| {
        said.push((one.ecosystem.0, one.status));
        true
    });
    assert_eq!(skipped.expect("the tracker's"), 1, "an entry without an id");
    let fixed = range(None, Some("3.0.14-1~deb12u2"), None);
    let of = |release: &str, status: Status| (release.to_owned(), status);
    assert_eq!(
        said,
        [
            of("debian:12", fixed),
            of("debian:sid", Status::NotAffected),
            of("debian:13", range(None, None, None)),
        ]
    );
}

#[test]
fn whoever_says_affected_is_believed_first_and_a_doubt_before_a_denial() {
    let package = Package {
        name: "libssl3".into(),
        version: "3.0.11-1+b1".into(),
        source: Some("openssl".into()),
        source_version: Some("3.0.11-1".into()),
        ..Package::default()
    };
    let judged = |said: &[(Of, Status)]| {
        let said = said.iter().map(|(of, status)| (*of, status));
        judge(Some(PackageManager::Dpkg), &package, said)
    };
    let older = (Of::Source, range(None, Some("3.0.11-1"), None));
    let newer = (Of::Source, range(None, Some("3.0.12-1"), None));
    let newest = (Of::Source, range(None, Some("3.0.14-1"), None));
    let doubt = (Of::Source, Status::Unknown);
    let affected = |fixed: Option<&str>| Verdict::Affected(fixed.map(str::to_owned));
    assert_eq!(judged(std::slice::from_ref(&older)), Verdict::NotAffected);
    assert_eq!(
        judged(std::slice::from_ref(&newer)),
        affected(Some("3.0.12-1"))
    );
    assert_eq!(
        judged(&[newest.clone(), newer.clone()]),
        affected(Some("3.0.14-1"))
    );
    assert_eq!(
        judged(&[older.clone(), newer, doubt.clone()]),
        affected(Some("3.0.12-1"))
    );
    assert!(matches!(
        judged(&[older.clone(), doubt]),
        Verdict::Unknown(_)
    ));
    assert!(matches!(judged(&[]), Verdict::Unknown(_)));
    // The binary's own version is newer than its source's.
    let of_binary = (Of::Binary, range(None, Some("3.0.11-1+b1"), None));
    assert_eq!(judged(&[of_binary]), Verdict::NotAffected);
    let nobody = judge(None, &package, [(older.0, &older.1)].into_iter());
    assert!(matches!(nobody, Verdict::Unknown(_)));
}

#[test]
fn what_is_no_such_document_is_an_error() {
    for bad in ["", "[]", "{}", "null", "{\"id\": 1}", "\u{0}"] {
        assert!(osv::read(bad.as_bytes()).is_err(), "{bad}");
        assert!(csaf::read(bad.as_bytes()).is_err(), "{bad}");
        assert!(kev::read(bad.as_bytes()).is_err(), "{bad}");
    }
    let deep = "{\"a\":".repeat(100_000);
    assert!(debian::read(deep.as_bytes(), &mut |_| true).is_err());
    let deep = format!(
        "{{\"document\": {{}}, \"product_tree\": {{\"branches\": {}",
        "[{\"branches\": ".repeat(100_000)
    );
    assert!(csaf::read(deep.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn damaged_documents_never_panic(at in 0usize..600, byte: u8, length in 0usize..1200) {
        let debian = include_str!("../../../fuzz/corpus/inventory_advisories/debian");
        for text in [CSAF, debian] {
            let mut bytes = text.as_bytes().to_vec();
            let place = at % bytes.len();
            bytes[place] = byte;
            bytes.truncate(length.max(1));
            let _ = osv::read(&bytes);
            let _ = csaf::read(&bytes);
            let _ = kev::read(&bytes);
            let _ = debian::read(&bytes[..], &mut |_| true);
        }
    }
}
