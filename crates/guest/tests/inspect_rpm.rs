//! RPM's database, as RPM 4.18 itself made it, and as somebody hostile may.
//!
//! `testdata/rpmdb.sqlite.gz` was made with `rpm --initdb` and `rpm -i --justdb` of three packages, two of
//! them from one source with an epoch; what is expected is what `rpm -qa` says of it.

use proptest::prelude::*;
use rusqlite::{Connection, MAIN_DB};
use stampo_guest::inspect::packages::Package;
use stampo_guest::inspect::rpm::{package, parse};
use std::io::Read;
use std::time::{Duration, Instant};

fn database() -> Vec<u8> {
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(&include_bytes!("../testdata/rpmdb.sqlite.gz")[..])
        .read_to_end(&mut file)
        .expect("a whole file");
    file
}

/// Name, version, architecture, source.
fn in_short(package: &Package) -> [&str; 4] {
    [
        &package.name,
        &package.version,
        &package.architecture,
        package.source.as_deref().unwrap_or("-"),
    ]
}

#[test]
fn the_packages_are_those_that_rpm_lists() {
    let mut packages = parse(database()).expect("RPM's own database");
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = packages.iter().map(in_short).collect();
    assert_eq!(
        found,
        [
            ["hello", "2:1.0~rc1-3.el9", "noarch", "-"],
            ["libhello", "2:1.0~rc1-3.el9", "noarch", "hello"],
            ["plain", "4.5.6-1.el9", "x86_64", "-"],
        ]
    );
    let versions = packages.iter().all(|one| one.source_version.is_none());
    assert!(versions, "a source has its binaries' version");
}

/// A database of ours with this SQL in it.
fn made(sql: &str) -> Vec<u8> {
    let connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(sql).expect("SQL");
    connection.serialize(MAIN_DB).expect("bytes").to_vec()
}

const TABLE: &str =
    "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);";

#[test]
fn nothing_of_a_hostile_schema_is_run() {
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    for sql in [
        format!("CREATE VIEW Packages AS {endless} SELECT i AS hnum, x'00' AS blob FROM n;"),
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(1000000)));
         INSERT INTO Packages (hnum) VALUES (1);"
            .to_owned(),
        "CREATE TABLE Other (x);".to_owned(),
    ] {
        let begun = Instant::now();
        let refused = parse(made(&sql))
            .expect_err("no table of RPM's")
            .to_string();
        assert!(refused.contains("not RPM's"), "{sql}: {refused}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{sql}");
    }
    assert!(parse(made(TABLE)).expect("an empty database").is_empty());
}

#[test]
fn a_header_that_makes_no_sense_refuses_the_whole() {
    let blob = |blob: &str| format!("{TABLE} INSERT INTO Packages (blob) VALUES ({blob});");
    for bad in [
        "x''",
        "x'ffffffffffffffff'",
        "x'0000000000000000'",
        "zeroblob(2000000)",
    ] {
        assert!(parse(made(&blob(bad))).is_err(), "{bad}");
    }
    assert!(parse(made(&blob("7"))).is_err(), "a number is no header");
    assert!(parse(b"SQLite format 3\0".to_vec()).is_err());
    assert!(parse(vec![b'x'; 4096]).is_err());
}

proptest! {
    #[test]
    fn a_damaged_database_never_panics(
        flips in proptest::collection::vec((0usize..217_088, any::<u8>()), 1..40),
        length in 0usize..=217_088,
    ) {
        let mut file = database();
        for (at, byte) in flips {
            file[at] ^= byte;
        }
        file.truncate(length.max(100));
        let _ = parse(file);
    }

    #[test]
    fn any_bytes_are_a_header_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = package(&bytes);
        // With counts that fit.
        let entries = bytes.len() / 32;
        let mut fitting = (entries as u32).to_be_bytes().to_vec();
        fitting.extend(((bytes.len() - entries * 16) as u32).to_be_bytes());
        fitting.extend(&bytes);
        let _ = package(&fitting);
    }
}
