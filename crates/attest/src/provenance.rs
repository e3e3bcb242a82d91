//! Where a version's bytes come from, as an in-toto statement with the predicate SLSA Provenance v1.
//!
//! Only what is known is said: a build's recipe, lock and parent, an import's source and digest.
//! Source: <https://slsa.dev/spec/v1.0/provenance>.

use crate::canonical::{self, CanonicalError};
use crate::statement::{IMAGE_DIGEST, STATEMENT_TYPE};
use serde_json::{Map, Value, json};

/// The type of the predicate.
pub const PROVENANCE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// The longest provenance, in bytes: a lock names every package.
pub const LONGEST_PROVENANCE: usize = 4 << 20;

/// What is known of how a version was made.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    /// The version, `name@N`.
    pub version: &'a str,
    /// The id of its image.
    pub image: &'a str,
    /// Its recorded origin: `kind`, and what belongs to it.
    pub origin: &'a Value,
    /// The version that it was built from, and the id of that one's image, where both are known.
    pub parent: Option<(&'a str, &'a str)>,
    /// The stampo that says so.
    pub builder: &'a str,
}

/// The statement as canonical JSON; `None` where the origin does not say what kind of making it was.
pub fn provenance(made: &Made<'_>) -> Result<Option<String>, CanonicalError> {
    let Some(kind) = made.origin.get("kind").and_then(Value::as_str) else {
        return Ok(None);
    };
    let mut parameters: Map<String, Value> = made.origin.as_object().cloned().unwrap_or_default();
    parameters.remove("kind");
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{ "name": made.version, "digest": { IMAGE_DIGEST: made.image } }],
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": format!("stampo:{kind}/v1"),
                "externalParameters": Value::Object(parameters),
                "resolvedDependencies": dependencies(made),
            },
            "runDetails": {
                "builder": { "id": format!("stampo:builder/{}", made.builder) },
            },
        },
    });
    canonical::to_text(&without_fractions(statement)).map(Some)
}

fn dependencies(made: &Made<'_>) -> Value {
    let mut found = Vec::new();
    if let Some((name, image)) = made.parent {
        found.push(json!({ "name": name, "digest": { IMAGE_DIGEST: image } }));
    }
    let text = |key: &str| made.origin.get(key).and_then(Value::as_str);
    if let (Some(uri), Some(sha256)) = (text("source"), text("sha256")) {
        found.push(json!({ "name": uri, "digest": { "sha256": sha256 } }));
    }
    Value::Array(found)
}

/// Numbers that canonical JSON has no form for, as texts.
fn without_fractions(value: Value) -> Value {
    match value {
        Value::Number(number) if canonical::to_text(&number).is_err() => {
            Value::String(number.to_string())
        }
        Value::Array(items) => items.into_iter().map(without_fractions).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, without_fractions(value)))
            .collect(),
        other => other,
    }
}
