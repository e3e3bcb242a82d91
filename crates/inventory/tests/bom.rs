//! Bills of materials of this machine's own packages and of hostile ones: valid by the formats' own
//! validators, the same bytes every time, and what dpkg itself says.
//!
//! The validators are Python packages, which `./test` installs into `target/validators` and names in
//! `STAMPO_VALIDATORS`; without that and without the directory, their test says so and is skipped.

use stampo_guest::inspect::dpkg;
use stampo_guest::inspect::packages::{Package, PackageManager};
use stampo_inventory::Inventory;
use stampo_inventory::bom::{Subject, cyclonedx, spdx};
use stampo_inventory::inventory::source_of;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn subject() -> Subject {
    Subject {
        template: "web".into(),
        number: 3,
        image: "ab".repeat(32),
        created: "2026-11-23T00:00:00Z".into(),
        tool_version: "0.1.0".into(),
    }
}

fn inventory(packages: Vec<Package>) -> Inventory {
    Inventory {
        id: "debian".into(),
        version_id: Some("12".into()),
        codename: Some("bookworm".into()),
        pretty_name: Some("Debian GNU/Linux 12 (bookworm)".into()),
        manager: Some(PackageManager::Dpkg),
        packages,
        unknowns: Vec::new(),
    }
}

/// The packages of the machine that runs the test.
fn of_this_machine() -> Inventory {
    let status = std::fs::read_to_string("/var/lib/dpkg/status").expect("a Debian machine");
    inventory(dpkg::parse(&status))
}

/// What a hostile guest may say.
fn hostile() -> Inventory {
    let named = |name: &str, version: &str| Package {
        name: name.into(),
        version: version.into(),
        architecture: "x\"\u{202e}".into(),
        source: Some("../../etc".into()),
        problem: Some("half-installed".into()),
        ..Package::default()
    };
    let mut hostile = inventory(vec![
        named("a", "1"),
        named("a", "1"),
        named("<script>", "\u{1f600} %41?&#"),
        named("é\"\\", ""),
    ]);
    hostile.id = "de bian/12".into();
    hostile.unknowns = vec!["packages: the rest".into()];
    hostile
}

fn validators() -> Option<PathBuf> {
    let given = std::env::var_os("STAMPO_VALIDATORS").map(PathBuf::from);
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let usual = project.join("target/validators");
    let python = given
        .or(usual.exists().then_some(usual))?
        .join("bin/python");
    Some(python)
}

#[test]
fn both_forms_are_valid_by_the_official_schemas() {
    let Some(python) = validators() else {
        eprintln!("skipped: the validators are not installed; ./test installs them");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut arguments = Vec::new();
    let empty = Inventory::default();
    for (name, inventory) in [
        ("real", of_this_machine()),
        ("hostile", hostile()),
        ("empty", empty),
    ] {
        for (form, document) in [
            ("cyclonedx", cyclonedx::document(&subject(), &inventory)),
            ("spdx", spdx::document(&subject(), &inventory)),
        ] {
            let path = dir.path().join(format!("{name}.{form}.spdx.json"));
            std::fs::write(&path, document.to_string()).expect("written");
            arguments.push(format!("{form}={}", path.display()));
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/validate-bom.py");
    let output = Command::new(python).arg(script).args(arguments).output();
    let output = output.expect("python");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Name, version, architecture, source and its version of every package that is there.
fn by_dpkg_query() -> BTreeSet<[String; 5]> {
    let format = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n";
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", format])
        .output();
    let text = String::from_utf8(output.expect("dpkg-query").stdout).expect("UTF-8");
    let lines = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let there =
        lines.filter(|fields| !["not-installed", "config-files"].contains(&fields[0].as_str()));
    there
        .map(|fields| fields[1..].to_vec().try_into().expect("five fields"))
        .collect()
}

#[test]
fn the_packages_are_those_that_dpkg_query_lists() {
    let inventory = of_this_machine();
    let ours: BTreeSet<[String; 5]> = inventory
        .packages
        .iter()
        .map(|package| {
            let (source, version) = source_of(package);
            let fields = [&package.name, &package.version, &package.architecture];
            let [name, of, architecture] = fields.map(Clone::clone);
            [
                name,
                of,
                architecture,
                source.to_owned(),
                version.to_owned(),
            ]
        })
        .collect();
    let theirs = by_dpkg_query();
    assert!(theirs.len() > 100, "{}", theirs.len());
    let differ: Vec<_> = ours.symmetric_difference(&theirs).take(5).collect();
    assert!(differ.is_empty(), "{differ:?}");
    let document = cyclonedx::document(&subject(), &inventory);
    let listed = document["components"].as_array().expect("a list").len();
    assert_eq!(listed, theirs.len() + 1, "every package and the system");
    let document = spdx::document(&subject(), &inventory);
    let listed = document["packages"].as_array().expect("a list").len();
    assert_eq!(
        listed,
        theirs.len() + 2,
        "every package, the system, the template"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_gives_another_id() {
    let one = of_this_machine();
    let mut other = one.clone();
    other.packages[0].version.push('1');
    let id = |inventory: &Inventory| {
        let document = cyclonedx::document(&subject(), inventory);
        document["serialNumber"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    assert_ne!(id(&one), id(&other));
    for document in [cyclonedx::document, spdx::document] {
        let bytes = document(&subject(), &one).to_string();
        assert_eq!(bytes, document(&subject(), &one.clone()).to_string());
        assert_ne!(bytes, document(&subject(), &other).to_string());
    }
}

#[test]
fn what_may_be_missing_is_said_in_both_forms() {
    let whole = of_this_machine();
    for (inventory, composition) in [
        (whole, "complete"),
        (hostile(), "unknown"),
        (Inventory::default(), "unknown"),
    ] {
        let document = cyclonedx::document(&subject(), &inventory);
        assert_eq!(document["compositions"][0]["aggregate"], composition);
        let text = spdx::document(&subject(), &inventory).to_string();
        let says = text.contains("The list may not be whole");
        assert_eq!(says, composition == "unknown");
    }
}
