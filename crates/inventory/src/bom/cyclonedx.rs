//! CycloneDX 1.6 (ECMA-424) as JSON.

use super::{Subject, remarks, system};
use crate::inventory::Inventory;
use crate::purl;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The document.
pub fn document(subject: &Subject, inventory: &Inventory) -> Value {
    let root = subject.label();
    let (id, version) = system(inventory);
    let system_ref = format!("system:{id}-{version}");
    let mut components = vec![json!({
        "type": "operating-system",
        "bom-ref": system_ref,
        "name": id,
        "version": version,
        "description": inventory.pretty_name.clone().unwrap_or_default(),
    })];
    let mut refs = vec![system_ref];
    components.extend(packages(inventory, &mut refs));
    // `unknown` where something could not be read, never `complete`.
    let aggregate = if inventory.is_complete() {
        "complete"
    } else {
        "unknown"
    };
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", subject.document_id("cyclonedx", inventory)),
        "version": 1,
        "metadata": metadata(subject, inventory),
        "components": components,
        "dependencies": [{ "ref": root, "dependsOn": refs }],
        "compositions": [{ "aggregate": aggregate, "assemblies": [root] }],
    })
}

fn metadata(subject: &Subject, inventory: &Inventory) -> Value {
    let mut properties = vec![json!({ "name": "stampo:image-id", "value": subject.image })];
    let unknown = |text| json!({ "name": "stampo:unknown", "value": text });
    properties.extend(inventory.unknowns.iter().map(unknown));
    if inventory.manager.is_none() {
        properties.push(unknown(&"packages: no package manager is known".to_owned()));
    }
    json!({
        "timestamp": subject.created,
        "tools": { "components": [
            { "type": "application", "name": "stampo", "version": subject.tool_version }
        ] },
        "component": {
            // What is shipped is a whole machine's disk.
            "type": "platform",
            "bom-ref": subject.label(),
            "name": subject.template,
            "version": subject.number.to_string(),
        },
        "properties": properties,
    })
}

fn packages(inventory: &Inventory, refs: &mut Vec<String>) -> Vec<Value> {
    let mut taken: HashSet<String> = refs.iter().cloned().collect();
    let mut components = Vec::with_capacity(inventory.packages.len());
    for (number, package) in inventory.packages.iter().enumerate() {
        let purl = purl::of(inventory, package);
        // A hostile database may list one package twice.
        let wanted = purl.clone().unwrap_or_else(|| package.name.clone());
        let reference = if taken.contains(&wanted) {
            format!("{wanted}#{number}")
        } else {
            wanted
        };
        let property = |(name, value)| json!({ "name": name, "value": value });
        let properties: Vec<Value> = remarks(inventory, package)
            .into_iter()
            .map(property)
            .collect();
        let mut component = json!({
            "type": "library",
            "bom-ref": reference,
            "name": package.name,
            "version": package.version,
            "properties": properties,
        });
        if let Some(purl) = purl {
            component["purl"] = Value::String(purl);
        }
        components.push(component);
        taken.insert(reference.clone());
        refs.push(reference);
    }
    components
}
