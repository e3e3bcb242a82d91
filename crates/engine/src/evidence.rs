//! Evidence: gathering what is known of every version and machine, and signing it.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_attest::canonical;
use stampo_attest::evidence::{Bundle, NAMESPACE};
use stampo_attest::signature::sign;
use stampo_core::evidence::{
    Audit, Class, Evidence, MachineEvidence, Rules, SCHEMA, Stranger, Summary, VersionEvidence,
};
use stampo_core::ids::VersionId;
use stampo_store::{Conclusion, Tx, VersionRow};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

/// How many names a sentence has.
const FEW: usize = 3;

impl Engine {
    /// Everything that is known now.
    pub fn site_evidence(&self) -> Result<Evidence, EngineError> {
        let (approval, _) = self.approval_settings()?;
        let (pack, pack_set) = self.policy_pack()?;
        let versions = self.versions_as_evidence()?;
        let by_id: HashMap<VersionId, &VersionEvidence> = versions
            .iter()
            .map(|(id, version)| (*id, version))
            .collect();
        let briefs = self.store.read(|tx| tx.guest_briefs())?;
        let machine = |(id, name, version): (_, stampo_core::names::GuestName, VersionId)| {
            let of = by_id.get(&version);
            let id: stampo_core::ids::GuestId = id;
            MachineEvidence {
                name: name.to_string(),
                id: id.to_string(),
                version: of.map_or_else(|| version.to_string(), |of| of.version.clone()),
                standing: of.map_or(Class::UnknownOrigin, |of| Class::of(of)),
            }
        };
        let machines = briefs.into_iter().map(machine).collect();
        let versions: Vec<_> = versions.into_iter().map(|(_, version)| version).collect();
        let mut unknowns = Vec::new();
        let strangers = self.strangers(&mut unknowns)?;
        unknowns.extend(gaps(&versions));
        let evidence = Evidence {
            schema: SCHEMA.to_owned(),
            at_ms: self.now_ms(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            stampo: env!("CARGO_PKG_VERSION").to_owned(),
            rules: Rules {
                approval: match approval.rule.asks() {
                    true => format!(
                        "{}: {} approvals",
                        approval.rule.preset.as_str(),
                        approval.rule.needed
                    ),
                    false => "whoever publishes has approved".to_owned(),
                },
                approval_asked: approval.rule.asks(),
                approval_digest: approval.digest(),
                pack: format!("{} {}", pack.name, pack.version),
                pack_set,
                pack_digest: pack.digest(),
                retention: self.retention()?.is_some(),
            },
            audit: self.audit_as_evidence()?,
            summary: Summary::default(),
            controls: Vec::new(),
            unknowns,
            versions,
            machines,
            strangers,
        };
        Ok(evidence.concluded())
    }

    /// The same, signed with the site's key, for somebody who has neither this home nor this host.
    pub fn evidence_bundle(&self) -> Result<String, EngineError> {
        let evidence = self.site_evidence()?;
        let text =
            canonical::to_text(&evidence).map_err(EngineError::room("write the evidence"))?;
        let (private, key) = self.store.write_durably(|tx| {
            let keys = self.ensure_site_key()?;
            let digest = blake3::hash(text.as_bytes()).to_hex();
            self.audit(tx, "evidence", "site", &format!("signed, blake3:{digest}"))?;
            Ok::<_, EngineError>(keys)
        })?;
        let signature =
            sign(&private, NAMESPACE, &text).map_err(EngineError::room("sign the evidence"))?;
        self.faults.reach("evidence.signed");
        Ok(Bundle::new(text, signature, key).text())
    }

    /// The line of the site's public key; made when there is none.
    pub fn site_public_key(&self) -> Result<String, EngineError> {
        self.store
            .write_durably(|_| Ok::<_, EngineError>(self.ensure_site_key()?.1))
    }

    /// Every version that is offered or has machines.
    fn versions_as_evidence(&self) -> Result<Vec<(VersionId, VersionEvidence)>, EngineError> {
        let (rows, counts, conclusions, scrubs) = self.store.read(|tx| {
            Ok::<_, EngineError>((
                tx.versions()?,
                tx.guest_counts()?,
                tx.policy_conclusions()?,
                tx.scrubs()?,
            ))
        })?;
        let (mut last, mut newer) = (None, 0);
        let mut found = Vec::new();
        // They come by template, the newest first.
        for row in rows {
            if last != Some(row.template_id) {
                (last, newer) = (Some(row.template_id), 0);
            }
            let machines = counts.get(&row.id).copied().unwrap_or_default();
            if machines > 0 || row.state.is_clonable() {
                let scrubbed = row.image.as_ref().and_then(|image| scrubs.get(image));
                let read_ms = row.verified_ms.max(scrubbed.copied());
                let conclusion = conclusions.get(&row.id);
                let mut version = self.version_as_evidence(&row, conclusion)?;
                (version.behind, version.machines, version.read_ms) = (newer, machines, read_ms);
                found.push((row.id, version));
            }
            newer += u32::from(row.state == stampo_core::lifecycle::State::Published);
        }
        Ok(found)
    }

    fn version_as_evidence(
        &self,
        row: &VersionRow,
        conclusion: Option<&Conclusion>,
    ) -> Result<VersionEvidence, EngineError> {
        let image = row
            .image
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let standing = self.approval_standing(row)?;
        let open_findings = match &row.proof {
            None => None,
            Some(proof) => Some(
                self.store
                    .read(|tx: &Tx<'_>| self.open_findings(tx, row.id, proof))?,
            ),
        };
        // A report of other bytes says nothing of these.
        let conclusion = conclusion.filter(|conclusion| conclusion.image == image);
        let of = |part: fn(&Conclusion) -> &String| {
            conclusion
                .map(|conclusion| part(conclusion).clone())
                .unwrap_or_default()
        };
        let revoked = row.governance.revoked.as_ref();
        Ok(VersionEvidence {
            version: row.label(),
            state: self.standing(row).to_string(),
            image,
            read_ms: None,
            behind: 0,
            advice: self.standing_of_clones(row).1,
            approval: standing.as_ref().map_or_else(
                || "whoever published it has approved".to_owned(),
                |standing| crate::decision_in_words(&standing.decision),
            ),
            approved: standing
                .as_ref()
                .is_none_or(|standing| standing.decision.allows()),
            signed: standing.is_some_and(|standing| {
                let mut said = standing.said.iter();
                said.any(|one| !one.key.is_empty() && one.void.is_none())
            }),
            conformity: of(|c| &c.verdict),
            report: of(|c| &c.digest),
            pack: of(|c| &c.pack),
            judged_s: conclusion.map(|conclusion| conclusion.at_s),
            open_findings,
            cves: revoked
                .map(|revoked| revoked.cves.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            machines: 0,
        })
    }

    fn audit_as_evidence(&self) -> Result<Audit, EngineError> {
        let verified = self.audit_verify(&[])?;
        let refused = self.store.read(|tx| tx.audit_count("refused"))?;
        let fault = |fault: crate::AuditFault| format!("record {}: {}", fault.sequence, fault.what);
        Ok(Audit {
            records: verified.records,
            covered: verified.covered,
            key: verified.key,
            faults: verified.faults.into_iter().map(fault).collect(),
            refused,
        })
    }

    /// Machines that run here and are not ours, and what can't be known of them.
    fn strangers(&self, unknowns: &mut Vec<String>) -> Result<Vec<Stranger>, EngineError> {
        let found = self.driver.strangers()?;
        let mut images = HashMap::new();
        if !found.is_empty() {
            for version in self.store.read(|tx| tx.version_images())? {
                let meta = std::fs::metadata(self.pool.image_disk(&version.image));
                if let Ok(meta) = meta {
                    images.insert((meta.dev(), meta.ino()), version.label());
                }
            }
        }
        let hidden = found.iter().filter(|one| one.files.is_none()).count();
        if hidden > 0 {
            unknowns.push(format!(
                "{hidden} machines are another user's, and what they have open can't be seen: run this \
                 as root"
            ));
        }
        unknowns.push(
            "Machines that do not run and are not stampo's, containers, other hypervisors, other hosts \
             and other homes are not looked for."
                .to_owned(),
        );
        unknowns.push(
            "What machines have become since they were made is not part of this: stampo drift --all"
                .to_owned(),
        );
        let stranger = |one: stampo_driver::Foreign| {
            let files = one.files.unwrap_or_default();
            Stranger {
                name: one.name,
                pid: one.pid,
                reads: files.iter().find_map(|file| images.get(&file.id).cloned()),
                disks: files
                    .iter()
                    .map(|file| file.path.to_string_lossy().into_owned())
                    .collect(),
            }
        };
        Ok(found.into_iter().map(stranger).collect())
    }
}

/// What is missing of versions.
fn gaps(versions: &[VersionEvidence]) -> Vec<String> {
    let mut gaps = Vec::new();
    let mut gap = |is: &dyn Fn(&VersionEvidence) -> bool, what: &str, next: &str| {
        let of: Vec<&str> = versions
            .iter()
            .filter(|version| is(version))
            .map(|version| version.version.as_str())
            .collect();
        if of.is_empty() {
            return;
        }
        let more = of.len().saturating_sub(FEW);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let names = of[..of.len().min(FEW)].join(", ");
        gaps.push(format!(
            "{} of {} versions in use {what} ({names}{more}): {next}",
            of.len(),
            versions.len()
        ));
    };
    gap(
        &|v| v.conformity.is_empty(),
        "have no conformity report of these bytes",
        "stampo policy check NAME@N",
    );
    gap(
        &|v| v.conformity == "unknown",
        "have checks that could not be answered",
        "stampo policy check NAME@N",
    );
    gap(
        &|v| v.read_ms.is_none(),
        "have not been read again since they were made",
        "stampo store scrub",
    );
    gap(
        &|v| v.open_findings.is_none(),
        "have no seal proof",
        "stampo template verify NAME@N",
    );
    gaps
}
