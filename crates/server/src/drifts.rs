//! Drift over the engine.

use crate::local::Local;
use stampo_api::{
    DriftApi, DriftBlocks, DriftCounts, DriftFinding, DriftPackage, DriftPart, DriftRequest,
    GuestDrift, Reply,
};
use stampo_engine::{DriftClass, DriftFound, DriftOptions};

impl DriftApi for Local {
    fn drift(&self, request: DriftRequest) -> Reply<Vec<GuestDrift>> {
        let options = DriftOptions {
            paranoid: request.paranoid,
            accept: request.accept,
        };
        let found = self
            .engine
            .drift(&request.guests, &options)
            .map_err(self.refuse("drift", "guests"))?;
        Ok(found.into_iter().map(wire).collect())
    }
}

fn wire(found: stampo_engine::GuestDrift) -> GuestDrift {
    let verdict = found.verdict().as_str().to_owned();
    let files = found.files;
    let count = |class| files.count(class);
    let counts = DriftCounts {
        security: count(DriftClass::Security),
        foreign: count(DriftClass::Foreign),
        config: count(DriftClass::Config),
        package: count(DriftClass::Package),
        expected: count(DriftClass::Expected),
    };
    let looked_at = files.candidates + files.sampled;
    let mut findings = files.findings;
    findings.sort_by(|a, b| (a.class, &a.path).cmp(&(b.class, &b.path)));
    GuestDrift {
        guest: found.guest.to_string(),
        version: found.version,
        lineage: found.lineage.as_str().to_owned(),
        behind: found.lineage.behind(),
        is_alarming: found.lineage.is_alarming(),
        verdict,
        blocks: found.blocks.map(|blocks| DriftBlocks {
            bytes: blocks.bytes,
            extents: blocks.extents,
        }),
        counts,
        packages: files
            .packages
            .into_iter()
            .map(|one| DriftPackage {
                name: one.name,
                before: one.before,
                after: one.after,
            })
            .collect(),
        findings: findings.into_iter().map(finding).collect(),
        parts: found
            .parts
            .into_iter()
            .map(|part| DriftPart {
                name: part.name,
                filesystem: part.filesystem,
                is_changed: part.is_same.map(|is_same| !is_same),
            })
            .collect(),
        unknown: files.unknowns,
        entries: files.entries,
        looked_at,
    }
}

fn finding(found: DriftFound) -> DriftFinding {
    DriftFinding {
        class: found.class.as_str().to_owned(),
        change: found.change.as_str().to_owned(),
        path: found.path,
        what: found.what,
        package: found.package,
        why: found.why,
    }
}
