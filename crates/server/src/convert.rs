//! From the engine's types and rows to wire types.

use crate::approvals;
use crate::problem::problem;
use stampo_api::{
    Boot, Check, CheckStatus, Damage, Event, FactVerdict, Finding, GcReport, GcSubject, Guest,
    Operation, Passport, Reply, ScrubReport, SealChange, SealPlan, Verification, Version,
};
use stampo_core::lifecycle::Standing;
use stampo_core::size::ByteSize;
use stampo_driver::Power;
use stampo_driver_qemu::doctor::Status;
use stampo_engine::{Engine, EngineError, PassportOf, Source, Subject, SubjectKind, Teller};
use stampo_store::{EventRow, ExceptionRow, GuestRow, OperationRow, StoreError, VersionRow};

pub(crate) fn check(check: stampo_driver_qemu::doctor::Check) -> Check {
    Check {
        id: check.id.to_owned(),
        status: match check.status {
            Status::Ok => CheckStatus::Ok,
            Status::Warn => CheckStatus::Warn,
            Status::Fail => CheckStatus::Fail,
            Status::Unknown => CheckStatus::Unknown,
        },
        found: check.found,
        why: check.why.to_owned(),
        remedy: check.remedy.unwrap_or_default(),
    }
}

/// A row of the catalog could not be read.
pub(crate) fn store_problem(error: StoreError) -> stampo_api::Problem {
    problem(&error.into())
}

pub(crate) fn version(engine: &Engine, row: &VersionRow) -> Reply<Version> {
    let count = engine
        .store()
        .read(|tx| tx.guest_count(row.id))
        .map_err(store_problem)?;
    Ok(Version {
        approval: approvals::status(engine, row)?,
        ..version_with(engine, row, count)?
    })
}

/// As [`version`], with the number of guests known already.
pub(crate) fn version_with(engine: &Engine, row: &VersionRow, guests: usize) -> Reply<Version> {
    let frozen = engine.frozen(row).map_err(|error| problem(&error))?;
    Ok(Version {
        template: row.template.to_string(),
        number: row.number,
        state: row.state.to_string(),
        image: row.image.as_ref().map(ToString::to_string),
        virtual_size: row.virtual_size,
        data: row.data,
        hardware: row.hardware.clone(),
        origin: row.origin.clone(),
        open_findings: engine
            .open_finding_count(row)
            .map_err(|error| problem(&error))?,
        governance: row.governance.clone(),
        approval: None,
        channels: engine.channels_of(row).map_err(|error| problem(&error))?,
        revoked_ancestor: engine
            .revoked_ancestor_of(row)
            .map_err(|error| problem(&error))?,
        guests,
        memory_images: frozen
            .into_iter()
            .map(|frozen| frozen.image.machine_hash)
            .collect(),
        created_ms: row.created_ms,
        verified_ms: row.verified_ms,
    })
}

pub(crate) fn guest(engine: &Engine, row: &GuestRow) -> Reply<Guest> {
    let version = engine
        .store()
        .read(|tx| tx.version(row.version))
        .map_err(store_problem)?;
    let lease = engine
        .store()
        .read(|tx| tx.lease(row.id))
        .map_err(store_problem)?;
    let origin = Origin::of(engine, row, version.as_ref());
    let until_ms = lease.map(|row| row.lease.until_ms);
    Ok(guest_with(engine, row, origin, until_ms))
}

/// What a guest was cloned from, and how it stands to that.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub label: String,
    pub standing: &'static str,
    pub advice: String,
}

impl Origin {
    pub(crate) fn of(engine: &Engine, row: &GuestRow, version: Option<&VersionRow>) -> Origin {
        match version {
            None => Origin {
                label: row.version.to_string(),
                standing: Standing::Orphan.as_str(),
                advice: String::new(),
            },
            Some(version) => {
                let (standing, advice) = engine.standing_of_clones(version);
                Origin {
                    label: version.label(),
                    standing: standing.as_str(),
                    advice,
                }
            }
        }
    }
}

/// As [`guest`], with its origin and the end of its lease known already.
pub(crate) fn guest_with(
    engine: &Engine,
    row: &GuestRow,
    origin: Origin,
    lease_until_ms: Option<i64>,
) -> Guest {
    let (power, pid) = match engine.power(row) {
        Power::Running { pid, .. } => ("running", Some(pid)),
        Power::Paused { pid, .. } => ("paused", Some(pid)),
        Power::Stopped | Power::Undefined => ("stopped", None),
        Power::Unknown { .. } => ("unknown", None),
    };
    Guest {
        id: row.id.to_string(),
        name: row.name.to_string(),
        version: origin.label,
        standing: origin.standing.to_owned(),
        advice: origin.advice,
        image: row.image.to_string(),
        kind: row.plan.kind_name().to_owned(),
        fallback: row.plan.fallback.clone(),
        state: row.state.to_string(),
        power: power.to_owned(),
        pid,
        address: Engine::ssh_address(row).map(|address| address.to_string()),
        macs: row
            .plan
            .nics
            .iter()
            .map(|nic| nic.mac.to_string())
            .collect(),
        cpus: row.plan.hardware.cpus,
        memory: row.plan.hardware.memory,
        disk_size: row.plan.disk_size,
        disk_used: ByteSize(engine.guest_usage(row)),
        host_keys: row.host_keys.clone(),
        created_ms: row.created_ms,
        keep_until_ms: row.keep_until_ms,
        lease_until_ms,
        pool: row
            .plan
            .member
            .as_ref()
            .map(|member| member.pool.to_string()),
        error: row.error.clone(),
    }
}

/// Moments become phases. They are the guest's words: one that ends before it begins is left out.
pub(crate) fn boot(told: Result<stampo_engine::Boot, EngineError>) -> Reply<Boot> {
    let boot = told.map_err(|error| problem(&error))?;
    let timings = &boot.timings;
    let kernel = timings.initrd_ms.or(timings.userspace_ms);
    let between = |from: Option<u64>, to: Option<u64>| to?.checked_sub(from?);
    Ok(Boot {
        told_by: match boot.told_by {
            Teller::Agent => "agent",
            Teller::QemuAgent => "qemu-guest-agent",
        }
        .to_owned(),
        system: timings.system.as_str().to_owned(),
        settled: timings.is_settled(),
        failed_units: timings.failed_units,
        uptime_ms: timings.uptime_ms,
        before_kernel_ms: boot.before_kernel_ms,
        kernel_ms: kernel,
        initrd_ms: between(timings.initrd_ms, timings.userspace_ms),
        userspace_ms: between(timings.userspace_ms, timings.finished_ms),
        agent_at_ms: timings.agent_ms,
        finished_at_ms: timings.finished_ms,
    })
}

pub(crate) fn operation(row: OperationRow) -> Operation {
    Operation {
        id: row.id.to_string(),
        kind: row.kind,
        subject: row.subject,
        state: row.state.to_string(),
        error: row.error,
        created_ms: row.created_ms,
        ended_ms: row.ended_ms,
    }
}

pub(crate) fn event(row: &EventRow) -> Event {
    Event {
        subject: row.subject.clone(),
        phase: row.phase.clone(),
        detail: row.detail.clone(),
        duration_ms: row.duration_ms,
    }
}

pub(crate) fn passport(passport: PassportOf, origin: Origin) -> Passport {
    let source = match passport.source {
        Source::Disk => "disk",
        Source::Agent => "agent",
        Source::Catalog => "catalog",
    };
    let items = passport
        .items
        .into_iter()
        .map(|(fact, verdict)| FactVerdict {
            item: fact.item,
            location: fact.location,
            verdict,
        });
    Passport {
        guest: passport.guest.to_string(),
        version: origin.label,
        standing: origin.standing.to_owned(),
        source: source.to_owned(),
        items: items.collect(),
    }
}

pub(crate) fn gc(applied: bool, subjects: Vec<Subject>) -> GcReport {
    let freed = subjects
        .iter()
        .filter(|subject| subject.goes)
        .map(|subject| subject.size.0)
        .sum();
    let subjects = subjects.into_iter().map(|subject| GcSubject {
        kind: match subject.kind {
            SubjectKind::Version(_) => "version",
            SubjectKind::Image(_) => "image",
            SubjectKind::Guest(_) => "guest",
            SubjectKind::Staging => "staging",
        }
        .to_owned(),
        name: subject.name,
        size: subject.size,
        goes: subject.goes,
        reason: subject.reason,
    });
    GcReport {
        applied,
        subjects: subjects.collect(),
        freed: ByteSize(freed),
    }
}

pub(crate) fn scrub(report: stampo_engine::ScrubReport) -> ScrubReport {
    let damage = report.damage.into_iter().map(|damage| Damage {
        what: damage.what.as_str().to_owned(),
        path: damage.path,
        place: damage.place,
        why: damage.why,
        subjects: damage.subjects,
        clones: damage.clones,
        outcome: damage.outcome.as_str().to_owned(),
        remedy: damage.remedy,
    });
    ScrubReport {
        images_read: report.images_read,
        images_skipped: report.images_skipped,
        read: ByteSize(report.bytes_read),
        sidecars_read: report.sidecars_read,
        busy: report.busy,
        protected: report.protected,
        damage: damage.collect(),
    }
}

pub(crate) fn seal_plan(label: String, plan: &stampo_guest::seal::SealPlan) -> SealPlan {
    let changes = plan.changes.iter().map(|change| SealChange {
        item: change.item.to_owned(),
        path: change.path.clone(),
        action: change.action.to_owned(),
        detail: format!("{} → {}", change.before, change.after),
    });
    let skipped = plan
        .skipped
        .iter()
        .map(|skipped| (skipped.path.clone(), skipped.why.to_owned()));
    let notices = plan.notices.iter().map(|notice| {
        (
            notice.path.clone(),
            format!("{}; {}", notice.detail, notice.remedy),
        )
    });
    SealPlan {
        version: label,
        changes: changes.collect(),
        skipped: skipped.chain(notices).collect(),
    }
}

pub(crate) fn verification(
    row: &VersionRow,
    proof: &stampo_guest::seal::proof::Proof,
    exceptions: &[ExceptionRow],
) -> Verification {
    use stampo_guest::seal::proof::{Exception, Kind};
    let accepted = |id: &str, path: &str| {
        exceptions.iter().find_map(|row| {
            let of_path = Some(row.path.as_str()).filter(|path| !path.is_empty());
            let exception = Exception::new(&row.finding, of_path, &row.reason).ok()?;
            exception.applies_to(id, path).then(|| row.reason.clone())
        })
    };
    let found = proof.findings.iter().map(|finding| Finding {
        id: finding.id.clone(),
        kind: match finding.kind {
            Kind::Identity => "identity",
            Kind::Secret => "secret",
            Kind::Residue => "residue",
        }
        .to_owned(),
        what: [finding.what.as_str(), finding.detail.as_str()]
            .join(" ")
            .trim()
            .to_owned(),
        path: finding.path.clone(),
        remedy: finding.remedy.clone(),
        accepted: accepted(&finding.id, &finding.path),
    });
    let unknown = proof.unknown.iter().map(|unknown| Finding {
        id: unknown.id.clone(),
        kind: "unknown".to_owned(),
        what: format!("could not be looked at: {}", unknown.why),
        path: unknown.path.clone(),
        remedy: "make it readable, or accept it with a reason".to_owned(),
        accepted: accepted(&unknown.id, &unknown.path),
    });
    Verification {
        version: row.label(),
        verified_ms: row.verified_ms,
        reader: proof.reader.clone(),
        checks: proof.checked.len(),
        findings: found.chain(unknown).collect(),
    }
}
