//! Package databases, the order of versions, and what others say about packages.

use crate::bytes::text;
use stampo_guest::inspect::packages::PackageManager;
use stampo_guest::inspect::rpm;
use stampo_inventory::advisories::{Statement, csaf, debian, is_cve, kev, osv};
use stampo_inventory::index::{Newest, keep_newest, read_packages, read_release};
use stampo_inventory::purl;
use stampo_inventory::version::compare;
use std::io;

/// RPM's database, and a header of it.
pub fn rpm(bytes: &[u8]) {
    if let Ok(package) = rpm::package(bytes) {
        assert!(!package.version.is_empty());
    }
    if let Ok(packages) = rpm::parse(bytes.to_vec()) {
        assert!(packages.len() <= bytes.len());
    }
}

/// Two versions: whoever is asked first, the answer is the same.
pub fn versions(bytes: &[u8]) {
    let text = text(bytes);
    let (a, b) = text.split_once(' ').unwrap_or((&text, ""));
    for manager in [
        PackageManager::Dpkg,
        PackageManager::Rpm,
        PackageManager::Apk,
    ] {
        assert!(compare(manager, a, a).is_eq());
        assert_eq!(compare(manager, a, b), compare(manager, b, a).reverse());
    }
    let _ = purl::parse(&text);
}

/// OSV, CSAF, KEV, the Debian tracker.
pub fn advisories(bytes: &[u8]) {
    let check = |statement: &Statement| {
        assert!(is_cve(&statement.cve), "{statement:?}");
        assert!(!statement.package.is_empty() && statement.package.len() <= 512);
    };
    if let Ok(said) = osv::read(bytes) {
        said.statements.iter().for_each(check);
    }
    if let Ok(said) = csaf::read(bytes) {
        said.statements.iter().for_each(check);
    }
    let _ = kev::read(bytes);
    let _ = debian::read(bytes, &mut |statement| {
        check(&statement);
        true
    });
}

/// A suite's index of packages, and its release file.
pub fn index(bytes: &[u8]) {
    let mut newest = Newest::new();
    let mut take = |offered| {
        keep_newest(&mut newest, offered);
        Ok::<_, io::Error>(())
    };
    let count = read_packages(&mut &bytes[..], &mut take).expect("bytes can be read");
    assert!(newest.len() <= count && count <= bytes.len());
    let suite = read_release(&text(bytes));
    assert!(suite.codename.len() <= 4 * 512);
}
