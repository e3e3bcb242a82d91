//! CSAF 2.0 (OASIS) documents with the profiles "security advisory" and "VEX": which products a
//! vulnerability concerns.
//!
//! A product is a package of a platform: packages are known by their package URL, platforms by their
//! CPE. What has neither is left out. Only Red Hat's and SUSE's platforms are known here.

use super::{AdvisoryError, MAX_STATEMENTS, Of, Statement, Status, is_cve, is_short};
use crate::inventory::Ecosystem;
use crate::purl;
use serde::Deserialize;
use std::collections::HashMap;

const FORMAT: &str = "CSAF";
/// Deepest branch of the tree of products.
const MAX_DEPTH: usize = 24;

#[derive(Deserialize)]
struct Document {
    document: Head,
    #[serde(default)]
    product_tree: Tree,
    #[serde(default)]
    vulnerabilities: Vec<Vulnerability>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    tracking: Tracking,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tracking {
    id: String,
    current_release_date: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tree {
    branches: Vec<Branch>,
    full_product_names: Vec<Product>,
    relationships: Vec<Relationship>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Branch {
    branches: Vec<Branch>,
    product: Option<Product>,
}

#[derive(Deserialize)]
struct Product {
    product_id: String,
    #[serde(default)]
    product_identification_helper: Helper,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Helper {
    purl: Option<String>,
    cpe: Option<String>,
}

#[derive(Deserialize)]
struct Relationship {
    product_reference: String,
    relates_to_product_reference: String,
    full_product_name: Product,
}

#[derive(Deserialize)]
struct Vulnerability {
    #[serde(default)]
    cve: Option<String>,
    #[serde(default)]
    product_status: ProductStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProductStatus {
    fixed: Vec<String>,
    first_fixed: Vec<String>,
    known_affected: Vec<String>,
    known_not_affected: Vec<String>,
    under_investigation: Vec<String>,
}

/// What a document says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its statements.
    pub statements: Vec<Statement>,
    /// Statements about products that are no package of a platform that is known here.
    pub skipped: usize,
    /// When it was last changed, RFC 3339.
    pub modified: String,
}

/// A package of a platform.
#[derive(Clone)]
struct Component {
    ecosystem: Ecosystem,
    name: String,
    version: Option<String>,
    of: Of,
}

/// Reads a document.
///
/// # Errors
/// When it is none, or says too much.
pub fn read(bytes: &[u8]) -> Result<Said, AdvisoryError> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|source| AdvisoryError::Json {
            format: FORMAT,
            source,
        })?;
    let tracking = document.document.tracking;
    let components = components(&document.product_tree);
    let mut said = Said {
        modified: tracking.current_release_date,
        ..Said::default()
    };
    for vulnerability in &document.vulnerabilities {
        let Some(cve) = vulnerability.cve.as_ref().filter(|cve| is_cve(cve)) else {
            said.skipped += 1;
            continue;
        };
        for (product, kind) in statuses(&vulnerability.product_status) {
            let Some(component) = components.get(product) else {
                said.skipped += 1;
                continue;
            };
            said.statements.push(Statement {
                cve: cve.clone(),
                id: tracking.id.chars().take(100).collect(),
                ecosystem: component.ecosystem.clone(),
                package: component.name.clone(),
                of: component.of,
                status: status(kind, component),
            });
            if said.statements.len() > MAX_STATEMENTS {
                return Err(AdvisoryError::TooMany(FORMAT));
            }
        }
    }
    Ok(said)
}

#[derive(Clone, Copy)]
enum Kind {
    Fixed,
    Affected,
    NotAffected,
    Unknown,
}

fn statuses(of: &ProductStatus) -> impl Iterator<Item = (&String, Kind)> {
    let lists = [
        (&of.fixed, Kind::Fixed),
        (&of.first_fixed, Kind::Fixed),
        (&of.known_affected, Kind::Affected),
        (&of.known_not_affected, Kind::NotAffected),
        (&of.under_investigation, Kind::Unknown),
    ];
    lists
        .into_iter()
        .flat_map(|(list, kind)| list.iter().map(move |product| (product, kind)))
}

/// A product with a version is that version; one without is all of its versions.
fn status(kind: Kind, component: &Component) -> Status {
    let version = component.version.clone();
    match kind {
        Kind::Fixed => match version {
            Some(fixed) => Status::Affected {
                introduced: None,
                fixed: Some(fixed),
                last: None,
            },
            None => Status::Unknown,
        },
        Kind::Affected => Status::Affected {
            introduced: None,
            fixed: None,
            last: version,
        },
        Kind::NotAffected => Status::NotAffected,
        Kind::Unknown => Status::Unknown,
    }
}

/// Every product that is a package of a platform, by its id.
fn components(tree: &Tree) -> HashMap<String, Component> {
    let mut products: HashMap<&str, &Helper> = HashMap::new();
    let mut waiting: Vec<(&Branch, usize)> = tree.branches.iter().map(|one| (one, 0)).collect();
    while let Some((branch, depth)) = waiting.pop() {
        if let Some(product) = &branch.product {
            products.insert(&product.product_id, &product.product_identification_helper);
        }
        if depth < MAX_DEPTH {
            waiting.extend(branch.branches.iter().map(|one| (one, depth + 1)));
        }
    }
    for product in &tree.full_product_names {
        products.insert(&product.product_id, &product.product_identification_helper);
    }
    let mut components = HashMap::new();
    for relationship in &tree.relationships {
        let platform = products.get(relationship.relates_to_product_reference.as_str());
        let package = products.get(relationship.product_reference.as_str());
        let ecosystem = platform.and_then(|helper| platform_of(helper.cpe.as_deref()?));
        let package = package.and_then(|helper| purl::parse(helper.purl.as_deref()?));
        if let (Some(ecosystem), Some(package)) = (ecosystem, package)
            && let Some(component) = component(ecosystem, package)
        {
            let id = relationship.full_product_name.product_id.clone();
            components.insert(id, component);
        }
    }
    components
}

fn component(ecosystem: Ecosystem, package: purl::Purl) -> Option<Component> {
    let is_sound = package.kind == "rpm" && is_short(&package.name);
    let of = match package.arch.as_deref() {
        Some("src" | "nosrc") => Of::Source,
        _ => Of::Binary,
    };
    is_sound.then_some(Component {
        ecosystem,
        name: package.name,
        version: package.version.filter(|version| is_short(version)),
        of,
    })
}

/// `cpe:/o:redhat:enterprise_linux:9::baseos`, `cpe:/a:redhat:enterprise_linux:9::appstream`,
/// `cpe:/o:suse:sles:15:sp5`.
fn platform_of(cpe: &str) -> Option<Ecosystem> {
    let words: Vec<&str> = cpe
        .trim_start_matches("cpe:/")
        .trim_start_matches("cpe:2.3:")
        .split(':')
        .collect();
    let number = |word: &str| {
        word.split('.')
            .next()
            .filter(|text| is_short(text))
            .map(str::to_owned)
    };
    match words[..] {
        [_, "redhat", "enterprise_linux", release, ..] => {
            Some(Ecosystem::new("rhel", &number(release)?))
        }
        [_, "suse", "sles", release, pack, ..] if pack.starts_with("sp") => Some(Ecosystem::new(
            "sles",
            &format!("{}.{}", number(release)?, &pack[2..]),
        )),
        [_, "suse", "sles", release, ..] => Some(Ecosystem::new("sles", &number(release)?)),
        _ => None,
    }
}
