//! The API's part about what is inside versions, over an engine in this process.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{
    BomForm, CvePackage, CveReport, CveVersion, Exploited, InsideApi, Kind, MissingUpdate, Problem,
    RecordedPackages, Reply, SupportEnd, SupportEnds, TemplateDiff, Updates, VulnerabilitySource,
};
use stampo_core::names::VersionRef;
use stampo_engine::{Dates, EndOfLife, Loaded, PackageVerdict, Verdict, VersionVerdict};
use std::path::Path;

impl InsideApi for Local {
    fn bill_of_materials(&self, version: &VersionRef, form: BomForm) -> Reply<serde_json::Value> {
        let form = match form {
            BomForm::CycloneDx => stampo_engine::BomForm::CycloneDx,
            BomForm::Spdx => stampo_engine::BomForm::Spdx,
        };
        self.engine
            .bill_of_materials(version, form)
            .map_err(|error| problem(&error))
    }

    fn updates(&self, version: &VersionRef) -> Reply<Updates> {
        let found = self
            .engine
            .updates(version)
            .map_err(|error| problem(&error))?;
        Ok(updates(found))
    }

    fn import_vulnerabilities(
        &self,
        path: &Path,
        suite: Option<&str>,
    ) -> Reply<Vec<VulnerabilitySource>> {
        let resource = path.display().to_string();
        let loaded = self
            .engine
            .import_vulnerabilities(path, suite)
            .map_err(self.refuse("vulndb-import", &resource))?;
        Ok(loaded.into_iter().map(source).collect())
    }

    fn vulnerability_sources(&self) -> Reply<Vec<VulnerabilitySource>> {
        let sources = self.engine.vulnerability_sources();
        let sources = sources.map_err(|error| problem(&error))?;
        Ok(sources.into_iter().map(source).collect())
    }

    fn record_packages(&self) -> Reply<RecordedPackages> {
        let scanned = self.engine.record_packages();
        let scanned = scanned.map_err(|error| problem(&error))?;
        Ok(RecordedPackages {
            read: scanned.read,
            recorded: scanned.recorded,
            failed: scanned.failed,
        })
    }

    fn diff(&self, before: &VersionRef, after: &VersionRef) -> Reply<TemplateDiff> {
        let found = self.engine.diff(before, after);
        Ok(crate::diff::wire(found.map_err(|error| problem(&error))?))
    }

    fn cve(&self, cve: &str) -> Reply<CveReport> {
        let found = self.engine.cve(cve).map_err(|error| problem(&error))?;
        if found.statements == 0 && found.exploited.is_none() {
            let what = format!("find {cve}: no imported source says anything about it");
            return Err(Problem::new(Kind::NotFound, what)
                .hint("stampo vulndb status")
                .hint("stampo vulndb import FILE"));
        }
        let sources = found.sources.into_iter().map(|source| Loaded {
            source,
            ecosystems: Vec::new(),
        });
        Ok(CveReport {
            cve: cve.to_owned(),
            exploited: found.exploited.map(|one| Exploited {
                added: one.added,
                due: one.due,
            }),
            versions: found.versions.into_iter().map(version).collect(),
            not_affected: found.not_affected,
            sources: sources.map(source).collect(),
        })
    }
}

fn source(loaded: Loaded) -> VulnerabilitySource {
    let row = loaded.source;
    VulnerabilitySource {
        kind: row.kind,
        name: row.name,
        as_of_ms: row.as_of_ms,
        imported_ms: row.imported_ms,
        entries: row.entries,
        skipped: row.skipped,
        releases: loaded.ecosystems,
    }
}

fn updates(found: stampo_engine::Updates) -> Updates {
    let status = match (found.missing.is_empty(), found.unknown.is_empty()) {
        (false, _) => "outdated",
        (true, false) => "unknown",
        (true, true) => "current",
    };
    let release = found.ecosystem.clone().into_iter().collect::<Vec<_>>();
    let indexes = found.indexes.into_iter().map(|source| Loaded {
        source,
        ecosystems: release.clone(),
    });
    let missing = found.missing.into_iter().map(|one| MissingUpdate {
        package: one.package,
        architecture: one.architecture,
        source: one.source,
        installed: one.installed,
        available: one.available,
    });
    Updates {
        version: found.version.label(),
        status: status.to_owned(),
        release: found.ecosystem,
        indexes: indexes.map(source).collect(),
        missing: missing.collect(),
        unknown: found.unknown,
        end_of_life: support_ends(found.end_of_life, &found.today),
    }
}

fn support_ends(end: EndOfLife, today: &str) -> SupportEnds {
    let (known, unknown) = match end {
        EndOfLife::Known(dates) => (Some(dates), None),
        EndOfLife::Unknown(why) => (None, Some(why)),
    };
    let told = |of: fn(&Dates) -> &str| known.as_ref().map(of).unwrap_or_default().to_owned();
    let (source, as_of) = (told(|dates| dates.source), told(|dates| dates.as_of));
    let ends = known.map(|dates| dates.ends).unwrap_or_default();
    let dates = ends.into_iter().map(|one| SupportEnd {
        is_over: one.day.as_str() < today,
        support: one.support,
        day: one.day,
    });
    SupportEnds {
        dates: dates.collect(),
        unknown,
        source,
        as_of,
    }
}

fn version(found: VersionVerdict) -> CveVersion {
    let affected = |one: &PackageVerdict| matches!(one.verdict, Verdict::Affected(_));
    let status = match found.packages.iter().any(affected) {
        true => "affected",
        false => "unknown",
    };
    CveVersion {
        version: found.version.label(),
        state: found.version.state.to_string(),
        status: status.to_owned(),
        packages: found.packages.into_iter().map(package).collect(),
        unknown: found.unknown,
        guests: found.guests.iter().map(ToString::to_string).collect(),
    }
}

fn package(found: PackageVerdict) -> CvePackage {
    let (status, fixed_in, why) = match found.verdict {
        Verdict::Affected(fixed) => ("affected", fixed, None),
        Verdict::NotAffected => ("not-affected", None, None),
        Verdict::Unknown(why) => ("unknown", None, Some(why.to_owned())),
    };
    CvePackage {
        package: found.package,
        installed: found.installed,
        status: status.to_owned(),
        fixed_in,
        why,
    }
}
