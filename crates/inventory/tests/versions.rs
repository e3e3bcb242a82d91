//! The order of versions, against the programs that define it.

use proptest::prelude::*;
use stampo_inventory::version::{compare_apk, compare_dpkg, compare_rpm};
use std::cmp::Ordering;
use std::process::Command;

/// Asks dpkg itself.
fn dpkg_says(a: &str, relation: &str, b: &str) -> bool {
    let status = Command::new("dpkg")
        .args(["--compare-versions", a, relation, b])
        .status();
    status.expect("dpkg").success()
}

/// Versions that dpkg takes, near each other so that they are often nearly equal.
fn debian_version() -> impl Strategy<Value = String> {
    "([0-2]:)?[0-9]{1,2}([.+~a-c0-2-]{0,5}[0-9a-c~+])?(-[0-2~+a.]{1,4})?"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn debian_versions_are_ordered_as_dpkg_orders_them(a in debian_version(), b in debian_version()) {
        let ours = compare_dpkg(&a, &b);
        let relation = match ours {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        prop_assert!(dpkg_says(&a, relation, &b), "{} {} {}", a, relation, b);
    }

    #[test]
    fn any_text_has_a_place_and_the_order_turns_round(a in "\\PC{0,12}", b in "[0-9a-z.:~^_r-]{0,12}") {
        for compare in [compare_dpkg, compare_rpm, compare_apk] {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        }
    }
}

/// What `rpm.vercmp` of RPM 4.18 said of made-up pairs; see the head of the file.
#[test]
fn rpm_versions_are_ordered_as_rpm_orders_them() {
    let mut compared = 0;
    let lines = include_str!("data/rpm-vercmp.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [a, b, said] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let ours = compare_rpm(a, b) as i8;
        assert_eq!(ours.to_string(), said, "{a} {b}");
        compared += 1;
    }
    assert!(compared > 1000, "{compared}");
    assert_eq!(compare_rpm("1:1.0-1", "2.0-1"), Ordering::Greater);
    assert_eq!(compare_rpm("1.0", "1.0-5"), Ordering::Less);
    assert_eq!(compare_rpm("0:1.0-1", "1.0-1"), Ordering::Equal);
}

#[test]
fn alpine_versions_are_in_their_order() {
    let ascending = [
        "1.0_alpha",
        "1.0_alpha2",
        "1.0_beta",
        "1.0_pre1",
        "1.0_rc1",
        "1.0_rc1-r1",
        "1.0",
        "1.0-r1",
        "1.0-r2",
        "1.0-r10",
        "1.0_cvs1",
        "1.0_git20200101",
        "1.0_git20200101-r1",
        "1.0_p1",
        "1.0_p2",
        "1.0a",
        "1.0b",
        "1.0.1",
        "1.01",
        "1.1",
        "1.2.3",
        "1.10",
        "2.0",
        "10",
    ];
    for (at, a) in ascending.iter().enumerate() {
        for (other, b) in ascending.iter().enumerate() {
            assert_eq!(compare_apk(a, b), at.cmp(&other), "{a} {b}");
        }
    }
    assert_eq!(
        compare_apk("1.2~abc123-r0", "1.2~def456-r0"),
        Ordering::Equal
    );
}
