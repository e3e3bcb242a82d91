//! One vulnerability: which versions have it, which guests were cloned from them, and what is not known.
//!
//! Only recorded packages are looked at: no disk is read, so that very many versions are answered for
//! at once. A version without a record, of a release that no source speaks of, or with a list that
//! may not be whole, is *unknown* and listed as such.

use super::manager_of;
use super::source::statement;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::ids::ImageId;
use stampo_core::names::GuestName;
use stampo_inventory::advisories::{Of, Status, Verdict, judge};
use stampo_store::{
    AdvisoryRow, ExploitedRow, Holding, InsideTx, SourceRow, StoreError, VersionImage,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A package of an image that is affected, or of which that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVerdict {
    /// The package.
    pub package: String,
    /// The version that is installed.
    pub installed: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// A version, and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionVerdict {
    /// The version.
    pub version: VersionImage,
    /// Its packages that are affected or unknown.
    pub packages: Vec<PackageVerdict>,
    /// Why nothing, or not all, can be said; empty when all can.
    pub unknown: Vec<String>,
    /// The guests that were cloned from it.
    pub guests: Vec<GuestName>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CveReport {
    /// That it is known to be used.
    pub exploited: Option<ExploitedRow>,
    /// Who was asked.
    pub sources: Vec<SourceRow>,
    /// How many statements there are about it.
    pub statements: usize,
    /// The versions that are affected, or of which it is not known.
    pub versions: Vec<VersionVerdict>,
    /// How many versions are not affected.
    pub not_affected: usize,
}

/// What is known without looking at a version.
struct Known {
    exploited: Option<ExploitedRow>,
    sources: Vec<SourceRow>,
    statements: usize,
    systems: HashMap<ImageId, (String, bool)>,
    covered: BTreeSet<String>,
    packages: HashMap<ImageId, Vec<PackageVerdict>>,
}

impl Engine {
    /// Which versions a vulnerability concerns.
    pub fn cve(&self, cve: &str) -> Result<CveReport, EngineError> {
        let known = self.inside()?.read(|tx| known(tx, cve))?;
        let (versions, mut guests) = self
            .store
            .read(|tx| Ok::<_, StoreError>((tx.version_images()?, tx.guest_names()?)))?;
        let mut report = CveReport {
            exploited: known.exploited.clone(),
            sources: known.sources.clone(),
            statements: known.statements,
            versions: Vec::new(),
            not_affected: 0,
        };
        for version in versions {
            let packages = known
                .packages
                .get(&version.image)
                .cloned()
                .unwrap_or_default();
            let unknown = why_unknown(&known, &version.image);
            if packages.is_empty() && unknown.is_empty() {
                report.not_affected += 1;
                continue;
            }
            report.versions.push(VersionVerdict {
                guests: guests.remove(&version.id).unwrap_or_default(),
                version,
                packages,
                unknown,
            });
        }
        Ok(report)
    }
}

/// Why the absence of an affected package says nothing about an image.
fn why_unknown(known: &Known, image: &ImageId) -> Vec<String> {
    let Some((ecosystem, is_complete)) = known.systems.get(image) else {
        return vec!["its packages are not recorded".to_owned()];
    };
    let mut why = Vec::new();
    if !is_complete {
        why.push("not all of its packages could be read".to_owned());
    }
    if ecosystem.is_empty() {
        why.push("it does not say which release it is".to_owned());
    } else if !known.covered.contains(ecosystem) {
        why.push(format!("no imported source is about {ecosystem}"));
    }
    why
}

fn known(tx: &InsideTx<'_>, cve: &str) -> Result<Known, EngineError> {
    let sources = tx.sources()?;
    let mut covered = BTreeSet::new();
    // An index of updates says nothing about vulnerabilities.
    for source in sources.iter().filter(|source| source.kind != "index") {
        covered.extend(tx.covered(source.number)?);
    }
    let systems = tx.systems()?.into_iter();
    let systems: HashMap<_, _> = systems
        .map(|(image, ecosystem, whole)| (image, (ecosystem, whole)))
        .collect();
    let rows = tx.advisories(cve)?;
    let releases: BTreeSet<&str> = systems.values().map(|(of, _)| of.as_str()).collect();
    let packages = judged(said(tx, &rows, &releases)?);
    Ok(Known {
        exploited: tx.exploited(cve)?,
        statements: rows.len(),
        sources,
        systems,
        covered,
        packages,
    })
}

/// A package of a release, and everything that is said about it.
type Said = HashMap<(String, HoldingKey), (Holding, Vec<(Of, Status)>)>;

/// Every recorded package that something is said about: by its own name, or by its source's.
fn said(
    tx: &InsideTx<'_>,
    rows: &[AdvisoryRow],
    releases: &BTreeSet<&str>,
) -> Result<Said, EngineError> {
    let mut by_package: BTreeMap<(&str, &str, &str), Vec<&AdvisoryRow>> = BTreeMap::new();
    for row in rows {
        let key = (&*row.ecosystem, &*row.package, &*row.subject);
        by_package.entry(key).or_default().push(row);
    }
    let mut said = Said::new();
    for ((ecosystem, package, subject), rows) in &by_package {
        let about: Vec<_> = rows.iter().map(|row| statement(row)).collect();
        let others = releases.iter().filter(|of| {
            let is_same = of.split(':').next() == ecosystem.split(':').next();
            is_same && !by_package.contains_key(&(**of, *package, *subject))
        });
        // What is said of another release of the same distribution leaves this one in doubt.
        let doubt = others.map(|of| (*of, vec![(Of::Source, Status::Unknown)]));
        for (of, about) in std::iter::once((*ecosystem, about)).chain(doubt) {
            for holding in tx.holdings(of, package, *subject == "source")? {
                let key = (of.to_owned(), key_of(&holding));
                let entry = said.entry(key).or_insert_with(|| (holding, Vec::new()));
                entry.1.extend(about.iter().cloned());
            }
        }
    }
    Ok(said)
}

/// The packages that are affected or in doubt, by image.
fn judged(said: Said) -> HashMap<ImageId, Vec<PackageVerdict>> {
    let mut packages: HashMap<ImageId, Vec<PackageVerdict>> = HashMap::new();
    for ((ecosystem, _), (holding, statements)) in said {
        let package = super::package(holding.package);
        let about = statements.iter().map(|(of, status)| (*of, status));
        let verdict = judge(manager_of(&ecosystem), &package, about);
        if verdict == Verdict::NotAffected {
            continue;
        }
        let found = PackageVerdict {
            package: package.name,
            installed: package.version,
            verdict,
        };
        for image in holding.images {
            packages.entry(image).or_default().push(found.clone());
        }
    }
    for found in packages.values_mut() {
        found.sort_by(|a, b| (&a.package, &a.installed).cmp(&(&b.package, &b.installed)));
        found.dedup();
    }
    packages
}

type HoldingKey = (String, String, String, String, String);

fn key_of(holding: &Holding) -> HoldingKey {
    let one = &holding.package;
    (
        one.name.clone(),
        one.version.clone(),
        one.architecture.clone(),
        one.source.clone(),
        one.source_version.clone(),
    )
}
