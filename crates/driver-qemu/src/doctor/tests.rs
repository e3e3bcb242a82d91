//! The checks on this host: which are there, that each says enough, and that bad ones are found.

use super::*;
use crate::options::AccelerationChoice;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn run(home: &Path) -> Vec<Check> {
    let driver = Options {
        acceleration: AccelerationChoice::Tcg,
        ..Options::default()
    };
    checks(&DoctorOptions {
        home: home.to_owned(),
        driver,
    })
}

fn find<'a>(checks: &'a [Check], id: &str) -> &'a Check {
    checks
        .iter()
        .find(|check| check.id == id)
        .unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn every_check_is_there_once_and_whatever_is_wrong_has_a_remedy() {
    let home = tempfile::tempdir().expect("a directory");
    let checks = run(home.path());
    let ids: Vec<_> = checks.iter().map(|check| check.id).collect();
    assert_eq!(
        ids,
        [
            "qemu",
            "qemu-img",
            "e2fsck",
            "mmdebstrap",
            "ssh",
            "swtpm",
            "uefi",
            "kvm-rights",
            "acceleration",
            "user-namespaces",
            "bridge",
            "memory",
            "open-files",
            "home",
            "disk-space",
            "reflink",
        ]
    );
    for check in &checks {
        assert_eq!(
            check.remedy.is_none(),
            check.status == Status::Ok,
            "{check:?}"
        );
        assert!(
            !check.found.is_empty() && !check.found.contains('\n'),
            "{check:?}"
        );
    }
    assert_eq!(
        fs::read_dir(home.path()).expect("listed").count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn a_home_that_others_can_read_is_found() {
    let home = tempfile::tempdir().expect("a directory");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    let checks = run(home.path());
    let check = find(&checks, "home");
    assert_eq!(check.status, Status::Warn);
    assert!(check.found.contains("mode 755"), "{check:?}");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("changed");
    assert_eq!(find(&run(home.path()), "home").status, Status::Ok);
}

#[test]
fn a_home_that_is_not_there_yet_is_judged_by_where_it_will_be() {
    let home = tempfile::tempdir().expect("a directory");
    let checks = run(&home.path().join("a/b"));
    assert!(find(&checks, "home").found.contains("will be made"));
    assert!(!home.path().join("a").exists());
}

#[test]
fn a_qemu_that_is_missing_fails() {
    let home = tempfile::tempdir().expect("a directory");
    let driver = Options {
        qemu: Some(home.path().join("none")),
        ..Options::default()
    };
    let checks = checks(&DoctorOptions {
        home: home.path().to_owned(),
        driver,
    });
    assert_eq!(find(&checks, "qemu").status, Status::Fail);
    assert_eq!(
        find(&checks, "acceleration").status,
        Status::Unknown,
        "what can't be tried is unknown"
    );
}
