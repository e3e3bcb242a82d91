//! SPDX 2.3 (ISO/IEC 5962's successor) as JSON.

use super::{Subject, remarks, system};
use crate::inventory::Inventory;
use crate::purl;
use serde_json::{Value, json};
use stampo_guest::inspect::packages::Package;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-Template";
const SYSTEM: &str = "SPDXRef-System";

/// The document.
pub fn document(subject: &Subject, inventory: &Inventory) -> Value {
    let (id, version) = system(inventory);
    let mut packages = vec![root(subject), operating_system(&id, &version, inventory)];
    let mut relationships = vec![
        related(DOCUMENT, "DESCRIBES", ROOT),
        related(ROOT, "CONTAINS", SYSTEM),
    ];
    for (number, package) in (1..).zip(&inventory.packages) {
        let spdx_id = spdx_id(number, &package.name);
        relationships.push(related(ROOT, "CONTAINS", &spdx_id));
        packages.push(entry(&spdx_id, inventory, package));
    }
    let mut comment = String::from("Packages as the system's own package database lists them.");
    if !inventory.is_complete() {
        // The format's word for "there may be more".
        relationships.push(related(ROOT, "CONTAINS", "NOASSERTION"));
        comment.push_str(" The list may not be whole: ");
        let known = inventory.unknowns.join("; ");
        comment.push_str(if known.is_empty() {
            "no package manager is known"
        } else {
            &known
        });
    }
    let document_id = subject.document_id("spdx", inventory);
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": subject.label(),
        "documentNamespace": format!("urn:uuid:{document_id}"),
        "comment": comment,
        "creationInfo": {
            "created": subject.created,
            "creators": [format!("Tool: stampo-{}", subject.tool_version)],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

fn related(from: &str, how: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to })
}

/// What every entry has: nothing is known of licences, of origin, of single files.
fn bare(spdx_id: &str, name: &str, version: &str) -> Value {
    json!({
        "SPDXID": spdx_id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "supplier": "NOASSERTION",
    })
}

fn root(subject: &Subject) -> Value {
    let mut root = bare(ROOT, &subject.template, &subject.number.to_string());
    root["primaryPackagePurpose"] = "OTHER".into();
    root["comment"] = format!("A virtual machine template. Image id: {}", subject.image).into();
    root
}

fn operating_system(id: &str, version: &str, inventory: &Inventory) -> Value {
    let mut system = bare(SYSTEM, id, version);
    system["primaryPackagePurpose"] = "OPERATING-SYSTEM".into();
    if let Some(name) = &inventory.pretty_name {
        system["summary"] = name.clone().into();
    }
    system
}

/// Letters, digits, dots and hyphens only, and no two alike.
fn spdx_id(number: usize, name: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '.' => c,
        _ => '-',
    };
    let name: String = name.chars().map(plain).collect();
    format!("SPDXRef-Package-{number}-{name}")
}

fn entry(spdx_id: &str, inventory: &Inventory, package: &Package) -> Value {
    let mut entry = bare(spdx_id, &package.name, &package.version);
    let (source, version) = crate::inventory::source_of(package);
    entry["sourceInfo"] = format!("built from the source package {source} {version}").into();
    let rest = remarks(inventory, package)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("stampo:source-"));
    let rest: Vec<String> = rest
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    entry["comment"] = rest.join("; ").into();
    if let Some(purl) = purl::of(inventory, package) {
        entry["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }]);
    }
    entry
}
