//! What is inside versions: packages that are recorded once, files about vulnerabilities, and the
//! answers that come of both. What is not known is always said to be unknown.

use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::ids::{ImageId, VersionId};
use stampo_core::lifecycle::Verb;
use stampo_engine::{BomForm, CveReport, Engine, EngineError, Verdict, VersionVerdict};
use stampo_policy::Verdict as Checked;
use stampo_store::{PackageRow, SystemRow, VersionRow};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "packages_are_recorded_once_and_outlive_the_bytes",
            recorded_once,
        ),
        trial("a_vulnerability_is_found_in_versions_and_guests", found),
        trial("what_nobody_speaks_of_is_unknown", unknown),
        trial(
            "importing_again_replaces_and_a_bad_file_changes_nothing",
            again,
        ),
        trial("every_format_is_known_by_its_content", formats),
        trial("missing_updates_are_those_of_the_index", updates),
        trial(
            "a_check_fails_where_an_update_is_missing",
            updates_are_checked,
        ),
        trial("a_hostile_archive_is_refused", hostile_archive),
        trial("two_versions_differ_in_what_was_changed_alone", difference),
    ];
    if std::env::var_os("STAMPO_LONG").is_some() {
        trials.push(trial(
            "ten_thousand_versions_answer_within_a_second",
            ten_thousand,
        ));
    }
    trials
}

/// A package as dpkg's status file has it.
fn paragraph(name: &str, version: &str, source: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nSource: {source}\nArchitecture: amd64\n\
         Version: {version}\n\n"
    )
}

/// A draft with these packages.
fn import_with(home: &Home, engine: &Engine, template: &str, packages: &str) {
    let source = home.ground().join(format!("{template}.raw"));
    let _ = fs::remove_file(&source);
    make_filesystem(&source, &[("var/lib/dpkg/status", packages)]);
    import(engine, template, &source).expect("imported");
}

/// `old@1` with an OpenSSL that is affected, `new@1` with one that is mended.
fn two_templates() -> (Home, Engine) {
    let home = Home::empty();
    let engine = home.engine();
    for (template, version) in [("old", "3.0.11-1"), ("new", "3.0.14-1")] {
        let packages =
            paragraph("libssl3", version, "openssl") + &paragraph("bash", "5.2-1", "bash");
        import_with(&home, &engine, template, &packages);
    }
    (home, engine)
}

fn write(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.ground().join(name);
    fs::write(&path, text).expect("written");
    path
}

/// The Debian tracker about OpenSSL.
fn tracker(fixed: &str) -> String {
    format!(
        r#"{{"openssl": {{"CVE-2026-12345": {{"description": "x", "releases": {{"bookworm":
            {{"status": "resolved", "fixed_version": "{fixed}", "repositories": {{}}}}}}}}}}}}"#
    )
}

fn imported(home: &Home, engine: &Engine, name: &str, text: &str) {
    let path = write(home, name, text);
    engine
        .import_vulnerabilities(&path, None)
        .expect("imported");
}

fn asked(engine: &Engine) -> CveReport {
    engine.cve("CVE-2026-12345").expect("an answer")
}

fn of<'r>(report: &'r CveReport, label: &str) -> Option<&'r VersionVerdict> {
    report
        .versions
        .iter()
        .find(|one| one.version.label() == label)
}

fn recorded_once() {
    let (home, engine) = two_templates();
    let reference = reference("old@1");
    let read = || {
        let document = engine.bill_of_materials(&reference, BomForm::CycloneDx);
        document.expect("a document").to_string()
    };
    let first = read();
    assert!(
        first.contains("pkg:deb/debian/libssl3@3.0.11-1?arch=amd64"),
        "{first}"
    );
    assert_eq!(first, read(), "the same from the record");
    let file = home.path().join("inside.db");
    for name in ["inside.db", "inside.db-wal", "inside.db-shm"] {
        let _ = fs::remove_file(home.path().join(name));
    }
    assert_eq!(first, read(), "the same from the disk again");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file).expect("made anew").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    engine
        .change_version(&reference, Verb::Purge)
        .expect("purged");
    assert_eq!(
        first,
        read(),
        "its bytes are gone, what was recorded is not"
    );
    let error = engine.bill_of_materials(&crate::home::reference("gone@1"), BomForm::Spdx);
    assert!(matches!(error, Err(EngineError::NotFound { .. })));
}

fn found() {
    let home = Home::empty();
    let engine = home.engine();
    import_with(
        &home,
        &engine,
        "web",
        &paragraph("libssl3", "3.0.11-1", "openssl"),
    );
    seal(&engine, "web").expect("sealed");
    publish(&engine, "web").expect("published");
    clone(&engine, "app-{n}", &spec()).expect("cloned");
    import_with(
        &home,
        &engine,
        "new",
        &paragraph("libssl3", "3.0.14-1", "openssl"),
    );
    engine.record_packages().expect("recorded");
    imported(&home, &engine, "tracker.json", &tracker("3.0.14-1"));
    let report = asked(&engine);
    assert_eq!((report.versions.len(), report.not_affected), (1, 1));
    let web = of(&report, "web@1").expect("affected");
    assert_eq!(
        web.packages[0].verdict,
        Verdict::Affected(Some("3.0.14-1".to_owned()))
    );
    assert_eq!(web.packages[0].installed, "3.0.11-1");
    assert_eq!(web.guests, [name("app-1")]);
    assert!(web.unknown.is_empty());
}

fn unknown() {
    let (home, engine) = two_templates();
    imported(&home, &engine, "tracker.json", &tracker("3.0.14-1"));
    let report = asked(&engine);
    let why = |label| of(&report, label).expect("listed").unknown.join("; ");
    assert_eq!(why("old@1"), "its packages are not recorded");
    assert_eq!(report.not_affected, 0);
    engine.record_packages().expect("recorded");
    // A release that the source does not speak of.
    let other = tracker("3.0.14-1").replace("bookworm", "bullseye");
    imported(&home, &engine, "tracker.json", &other);
    let report = asked(&engine);
    let old = of(&report, "old@1").expect("listed");
    assert_eq!(old.unknown, ["no imported source is about debian:12"]);
    assert!(
        matches!(old.packages[0].verdict, Verdict::Unknown(_)),
        "{old:?}"
    );
    assert_eq!(report.not_affected, 0);
    // A source that does not know.
    let undecided = tracker("0").replace("resolved", "undetermined");
    imported(&home, &engine, "tracker.json", &undecided);
    let report = asked(&engine);
    assert!(of(&report, "new@1").is_some(), "{report:?}");
    // Never affected.
    imported(&home, &engine, "tracker.json", &tracker("0"));
    assert_eq!(asked(&engine).not_affected, 2);
}

fn again() {
    let (home, engine) = two_templates();
    engine.record_packages().expect("recorded");
    imported(&home, &engine, "tracker.json", &tracker("3.0.14-1"));
    assert_eq!(asked(&engine).versions.len(), 1);
    imported(&home, &engine, "tracker.json", &tracker("3.0.15-1"));
    let report = asked(&engine);
    assert_eq!((report.versions.len(), report.statements), (2, 1));
    let whole = tracker("3.0.10-1");
    for cut in [whole.len() - 1, whole.len() / 2] {
        let path = write(&home, "tracker.json", &whole[..cut]);
        assert!(engine.import_vulnerabilities(&path, None).is_err(), "{cut}");
        assert_eq!(asked(&engine), report, "nothing of it was taken");
    }
    let path = write(&home, "other.txt", "nothing of that kind");
    let refused = engine.import_vulnerabilities(&path, None);
    assert!(matches!(refused, Err(EngineError::Usage { .. })));
    assert_eq!(engine.vulnerability_sources().expect("listed").len(), 1);
}

const OSV: &str = r#"{"id": "DSA-5000-1", "modified": "2026-11-01T00:00:00Z",
    "upstream": ["CVE-2026-12345"], "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.14-1"}]}]},
    {"package": {"ecosystem": "PyPI", "name": "x"}}]}"#;
const KEV: &str = r#"{"catalogVersion": "1", "dateReleased": "2026-11-20T14:00:00.0Z", "vulnerabilities":
    [{"cveID": "CVE-2026-12345", "dateAdded": "2026-11-19", "dueDate": "2026-12-10"}, {"cveID": "x",
    "dateAdded": "", "dueDate": ""}]}"#;

fn zipped(path: &Path, documents: &[(&str, &[u8])]) {
    let file = fs::File::create(path).expect("made");
    let mut archive = zip::ZipWriter::new(file);
    for (name, bytes) in documents {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*name, options).expect("begun");
        archive.write_all(bytes).expect("written");
    }
    archive.finish().expect("ended");
}

fn formats() {
    let (home, engine) = two_templates();
    engine.record_packages().expect("recorded");
    let dir = home.ground().join("data");
    fs::create_dir(&dir).expect("made");
    zipped(
        &dir.join("all.bin"),
        &[("DSA-5000-1.json", OSV.as_bytes()), ("readme", b"x")],
    );
    fs::write(dir.join("one"), OSV).expect("written");
    fs::write(dir.join("kev"), KEV).expect("written");
    fs::write(dir.join("notes"), "nothing").expect("written");
    let packed = fs::File::create(dir.join("tracker")).expect("made");
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    packed
        .write_all(tracker("3.0.14-1").as_bytes())
        .expect("written");
    packed.finish().expect("ended");
    let loaded = engine.import_vulnerabilities(&dir, None).expect("imported");
    let in_short = |one: &stampo_engine::Loaded| {
        let row = &one.source;
        (
            row.kind.clone(),
            row.name.clone(),
            row.entries,
            row.skipped,
            row.as_of_ms.is_some(),
        )
    };
    let mut found: Vec<_> = loaded.iter().map(in_short).collect();
    found.sort();
    let of = |kind: &str, name: &str, entries, skipped, dated| {
        (kind.to_owned(), name.to_owned(), entries, skipped, dated)
    };
    assert_eq!(
        found,
        [
            of("debian-tracker", "tracker", 1, 0, false),
            of("kev", "kev", 1, 1, true),
            of("osv", "all.bin", 1, 1, true),
            of("osv", "data", 1, 1, true),
        ]
    );
    let report = asked(&engine);
    assert_eq!(report.versions.len(), 1);
    assert_eq!(report.exploited.expect("used").due, "2026-12-10");
}

/// The check of a site's pack follows what was imported, and a report of before stays what it was.
fn updates_are_checked() {
    let (home, engine) = two_templates();
    let asked = |label: &str| {
        let report = engine
            .policy_check(&reference(label), None)
            .expect("a report");
        let outcomes = report.report.outcomes.iter();
        let mut of_check = outcomes.filter(|one| one.check == "software.security-updates");
        let outcome = of_check.next().expect("it is asked").clone();
        (report.id, outcome)
    };
    let (before, outcome) = asked("old@1");
    assert_eq!(outcome.verdict, Checked::Unknown, "{outcome:?}");
    let index = "Package: libssl3\nVersion: 3.0.14-1\nArchitecture: amd64\n";
    let path = write(&home, "Packages", index);
    let imported = engine.import_vulnerabilities(&path, Some("bookworm-security"));
    imported.expect("imported");
    let (after, outcome) = asked("old@1");
    assert_eq!(outcome.verdict, Checked::Fail, "{outcome:?}");
    let found = format!("{outcome:?}");
    assert!(
        found.contains("libssl3") && found.contains("3.0.14-1"),
        "{found}"
    );
    assert_eq!(asked("new@1").1.verdict, Checked::Pass);
    for id in [before, after] {
        let replay = engine.policy_replay(&id).expect("again");
        assert!(
            replay.is_same && replay.is_same_evidence == Some(true),
            "{id}"
        );
    }
}

fn updates() {
    let (home, engine) = two_templates();
    let asked = |label: &str| engine.updates(&reference(label)).expect("an answer");
    let before = asked("old@1");
    assert!(before.missing.is_empty());
    assert_eq!(
        before.unknown,
        ["no index of security updates for debian:12 was imported"]
    );
    let index = "Package: libssl3\nVersion: 3.0.14-1\nArchitecture: amd64\n";
    let path = write(&home, "Packages", index);
    assert!(
        engine.import_vulnerabilities(&path, None).is_err(),
        "of no suite"
    );
    let suite = Some("bookworm-security");
    engine
        .import_vulnerabilities(&path, suite)
        .expect("imported");
    let old = asked("old@1");
    assert_eq!(old.missing.len(), 1);
    assert_eq!(
        (&*old.missing[0].package, &*old.missing[0].available),
        ("libssl3", "3.0.14-1")
    );
    assert!(old.unknown.is_empty() && asked("new@1").missing.is_empty());
    let release =
        "Origin: Debian\nCodename: bookworm-security\nDate: Thu, 19 Nov 2026 08:12:13 UTC\n";
    write(&home, "Release", release);
    let loaded = engine
        .import_vulnerabilities(&path, None)
        .expect("imported");
    assert_eq!(loaded[0].source.as_of_ms, Some(1_795_075_933_000));
    assert_eq!(loaded[0].source.name, "bookworm-security/main/amd64");
    // An index for another processor says nothing about this one.
    let path = write(&home, "Packages", &index.replace("amd64", "arm64"));
    let (_home, engine) = {
        let (home, engine) = two_templates();
        engine
            .import_vulnerabilities(&path, suite)
            .expect("imported");
        (home, engine)
    };
    let old = engine.updates(&reference("old@1")).expect("an answer");
    assert_eq!(old.unknown, ["no imported index has packages for amd64"]);
}

fn hostile_archive() {
    let home = Home::empty();
    let engine = home.engine();
    let path = home.ground().join("bomb.zip");
    let zeros = vec![b' '; 65 << 20];
    zipped(&path, &[("a.json", &zeros)]);
    assert!(fs::metadata(&path).expect("made").len() < 1 << 20);
    let refused = engine
        .import_vulnerabilities(&path, None)
        .expect_err("too large");
    assert!(
        refused.to_string().contains("too large") || format!("{refused:?}").contains("too large")
    );
    for bytes in [&b"PK\x03\x04"[..], b"PK\x03\x04 and no more of it at all"] {
        fs::write(&path, bytes).expect("written");
        assert!(engine.import_vulnerabilities(&path, None).is_err());
    }
    assert!(engine.vulnerability_sources().expect("listed").is_empty());
}

fn difference() {
    let home = Home::empty();
    let engine = home.engine();
    let before = paragraph("libssl3", "3.0.11-1", "openssl");
    import_with(&home, &engine, "web", &before);
    let source = home.ground().join("after.raw");
    let after = before.replace("3.0.11-1", "3.0.14-1") + &paragraph("nginx", "1.22-9", "nginx");
    let more = [
        ("var/lib/dpkg/status", after.as_str()),
        (
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
        ),
        ("etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\n"),
        ("etc/sysctl.d/10-net.conf", "-net/ipv4/ip_forward = 1\n"),
        (
            "usr/lib/systemd/system/web.socket",
            "[Socket]\nListenStream=8080\nListenStream=/run/web\n",
        ),
        ("etc/systemd/system/sockets.target.wants/web.socket", ""),
    ];
    make_filesystem(&source, &more);
    import(&engine, "web", &source).expect("imported");
    let (one, two) = (reference("web@1"), reference("web@2"));
    let same = engine.diff(&one, &one).expect("compared");
    assert!(same.changes.is_empty() && same.files.is_empty(), "{same:?}");
    let found = engine.diff(&one, &two).expect("compared");
    let told = |section: &str| {
        let of = found.changes.iter().filter(|one| one.section == section);
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let lines =
            of.map(|one| format!("{} {} {}", one.name, told(&one.before), told(&one.after)));
        lines.collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        told("packages"),
        "libssl3:amd64 3.0.11-1 3.0.14-1; nginx:amd64 - 1.22-9"
    );
    assert_eq!(told("sysctl"), "net.ipv4.ip_forward - 1");
    assert_eq!(told("ports"), "8080/tcp - web.socket");
    assert!(
        told("users").starts_with("ann - uid 1000"),
        "{}",
        told("users")
    );
    assert!(told("sudo").contains("NOPASSWD"), "{}", told("sudo"));
    assert!(
        told("units").starts_with("web.socket - "),
        "{}",
        told("units")
    );
    let access = found
        .files
        .iter()
        .find(|files| files.class == "access")
        .expect("some");
    assert_eq!(access.changed, ["/etc/passwd"]);
    assert!(
        found
            .unknowns
            .iter()
            .any(|why| why.contains("no seal proof"))
    );
    assert!(found.guests.is_empty());
}

/// 10,000 versions with 254 packages each, of which a few differ from version to version, and a guest of
/// every tenth.
fn ten_thousand() {
    let (home, engine) = two_templates();
    let row = engine.version_row(&reference("old@1")).expect("a version");
    let inside = stampo_store::Inside::open(&home.path().join("inside.db")).expect("opened");
    let image = |number: u32| -> ImageId { format!("{number:064x}").parse().expect("an image") };
    let versions = 2..10_002;
    engine
        .store()
        .write(|tx| {
            versions.clone().try_for_each(|number| {
                tx.insert_version(&VersionRow {
                    id: VersionId(uuid::Uuid::now_v7()),
                    number,
                    image: Some(image(number)),
                    ..row.clone()
                })
            })
        })
        .expect("recorded");
    let packages = |number: u32| {
        (0..254).map(move |at| PackageRow {
            name: format!("package-{at}"),
            version: format!("1.{}-1", if at < 10 { number % 50 } else { at }),
            architecture: "amd64".to_owned(),
            source: if at == 0 {
                "openssl".to_owned()
            } else {
                format!("source-{at}")
            },
            source_version: format!("3.0.{}-1", number % 50),
            problem: String::new(),
        })
    };
    inside
        .write(|tx| {
            versions.clone().try_for_each(|number| {
                let system = SystemRow {
                    image: image(number),
                    at_ms: 0,
                    ecosystem: "debian:12".to_owned(),
                    is_complete: true,
                    system: serde_json::json!({"id": "debian", "manager": "dpkg"}),
                };
                tx.put_system(&system, &packages(number).collect::<Vec<_>>())
            })
        })
        .expect("recorded");
    imported(&home, &engine, "tracker.json", &tracker("3.0.14-1"));
    let begun = Instant::now();
    let report = asked(&engine);
    let took = begun.elapsed();
    println!(
        "inside::ten_thousand: {} affected in {took:?}",
        report.versions.len()
    );
    assert_eq!(
        report.versions.len(),
        14 * 200 + 2,
        "and two without a record"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
}
