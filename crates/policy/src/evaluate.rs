//! From evidence and a pack to a report. Pure: the caller says for which moment.

use crate::check::{Check, EDITION, Test, Verdict, When};
use crate::evidence::Evidence;
use crate::exception::Exception;
use crate::inquiry::{Answer, Found, Inquiry, Level};
use crate::pack::{Mode, Pack, Rule};
use crate::report::{About, Finding, Outcome, PackUsed, Report, SCHEMA, weight};
use std::collections::{BTreeMap, BTreeSet};

/// Most findings of one check that are told one by one.
const MAX_FINDINGS: usize = 100;
/// Most reasons of one check that are told.
const MAX_REASONS: usize = 20;
/// The type of an EFI system partition in a GPT and in an MBR.
const EFI_TYPES: &[&str] = &["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef"];

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The version, `name@N`, or another name of a disk.
    pub name: &'a str,
    /// The id of its image.
    pub image: &'a str,
    /// Exceptions besides those of the pack.
    pub exceptions: &'a [Exception],
}

impl<'a> Subject<'a> {
    /// A version by its name and the id of its image, with exceptions besides those of the pack.
    pub fn new(name: &'a str, image: &'a str, exceptions: &'a [Exception]) -> Self {
        Subject {
            name,
            image,
            exceptions,
        }
    }
}

/// Judges `evidence` by `pack` as of `at_s`, seconds since 1970.
pub fn evaluate(evidence: &Evidence, pack: &Pack, subject: &Subject<'_>, at_s: i64) -> Report {
    let judge = Judge {
        evidence,
        pack,
        subject,
        at_s,
    };
    let outcomes: Vec<Outcome> = pack.rules.iter().map(|rule| judge.outcome(rule)).collect();
    let mut counts = BTreeMap::new();
    for outcome in &outcomes {
        *counts.entry(outcome.verdict).or_default() += 1;
    }
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        subject: About {
            name: subject.name.to_owned(),
            image: subject.image.to_owned(),
        },
        pack: PackUsed {
            name: pack.name.clone(),
            version: pack.version.clone(),
            digest: pack.digest(),
            enforced_at: match pack.mode {
                Mode::Enforce => pack.at.clone(),
                _ => BTreeSet::new(),
            },
        },
        evidence: evidence.digest(),
        edition: EDITION,
        at: stampo_core::date::text(at_s.saturating_mul(1000)),
        verdict: Verdict::Fail,
        refused: false,
        counts,
        outcomes,
    };
    let nothing = report.nothing_applied();
    let worst = report
        .outcomes
        .iter()
        .map(|outcome| outcome.verdict)
        .max_by_key(|v| weight(*v));
    report.verdict = worst.filter(|_| !nothing).unwrap_or(Verdict::Fail);
    let is_enforced = pack.mode == Mode::Enforce;
    report.refused = report.refusing().next().is_some() || (nothing && is_enforced);
    report
}

struct Judge<'a> {
    evidence: &'a Evidence,
    pack: &'a Pack,
    subject: &'a Subject<'a>,
    at_s: i64,
}

impl Judge<'_> {
    fn outcome(&self, rule: &Rule) -> Outcome {
        let check = rule.check;
        let asked = match why_not(check.when, self.evidence) {
            Some(why) => (Answer::NotApplicable(why), Vec::new()),
            None => self.ask(rule),
        };
        let (mut findings, mut unknown) = (Vec::new(), Vec::new());
        let mut not_applicable = None;
        match asked {
            (Answer::NotApplicable(why), _) => not_applicable = Some(why),
            (Answer::Unknown(why), more) => unknown.extend([why].into_iter().chain(more)),
            (Answer::Looked(found), more) => {
                findings = self.findings(check, found);
                unknown.extend(more);
            }
        }
        let accepted = self.accepts_unknown(check);
        let verdict = verdict(
            &findings,
            !unknown.is_empty() && accepted.is_none(),
            &not_applicable,
        );
        let mut why: Vec<String> = not_applicable.into_iter().chain(unknown).collect();
        why.extend(
            accepted
                .filter(|_| !why.is_empty())
                .map(|text| format!("accepted: {text}")),
        );
        Outcome {
            check: check.id.to_owned(),
            title: check.title.to_owned(),
            severity: rule.severity,
            mode: rule.mode,
            at: rule.at.clone(),
            verdict,
            rationale: check.rationale.to_owned(),
            remedy: check.remedy_for(self.subject.name),
            refs: check.refs.iter().map(|text| (*text).to_owned()).collect(),
            ended_exceptions: self.ended(check, &findings, &why),
            findings: cut(findings),
            why: cut_reasons(why),
        }
    }

    /// The answer, and what could not be read for it.
    fn ask(&self, rule: &Rule) -> (Answer, Vec<String>) {
        let inquiry = Inquiry {
            evidence: self.evidence,
            params: &rule.params,
            at_s: self.at_s,
        };
        let mut unknown = self.evidence.unknown_about(rule.check.reads);
        if rule.check.reads.contains(&"*") && self.evidence.entries.cut > 0 {
            let cut = self.evidence.entries.cut;
            unknown.push(format!(
                "{cut} entries are not in the evidence: there are too many"
            ));
        }
        let answer = match rule.check.test {
            Test::Proof(prefixes) => {
                unknown.extend(inquiry.unproven(prefixes));
                Answer::Looked(inquiry.proven(prefixes))
            }
            Test::Ask(ask) => ask(&inquiry),
        };
        (answer, unknown)
    }

    fn exceptions(&self, check: &Check) -> impl Iterator<Item = &Exception> {
        let all = self.pack.exceptions.iter().chain(self.subject.exceptions);
        let (id, name) = (check.id, self.subject.name);
        all.filter(move |exception| exception.is_about(id, name))
    }

    fn findings(&self, check: &Check, found: Vec<Found>) -> Vec<Finding> {
        let finding = |found: Found| {
            let mut counting = self.exceptions(check).filter(|e| e.counts_at(self.at_s));
            let exception = counting.find(|exception| exception.covers(&found.path));
            Finding {
                accepted: exception.map(Exception::in_words).or(found.accepted),
                warning: found.level == Level::Warn,
                path: found.path,
                what: found.what,
            }
        };
        let mut findings: Vec<Finding> = found.into_iter().map(finding).collect();
        findings.sort();
        findings.dedup();
        findings
    }

    /// Whoever accepts the whole check accepts that nothing is known as well.
    fn accepts_unknown(&self, check: &Check) -> Option<String> {
        let mut counting = self.exceptions(check).filter(|e| e.counts_at(self.at_s));
        counting.find(|e| e.covers_all()).map(Exception::in_words)
    }

    /// Exceptions that have ended and would have counted for something.
    fn ended(&self, check: &Check, findings: &[Finding], why: &[String]) -> Vec<String> {
        let would_count = |exception: &&Exception| {
            let open =
                |finding: &Finding| finding.accepted.is_none() && exception.covers(&finding.path);
            !exception.counts_at(self.at_s)
                && (findings.iter().any(open) || (exception.covers_all() && !why.is_empty()))
        };
        self.exceptions(check)
            .filter(would_count)
            .map(Exception::in_words)
            .collect()
    }
}

/// What was found weighs more than what is not known, and that more than a warning.
fn verdict(findings: &[Finding], is_unknown: bool, not_applicable: &Option<String>) -> Verdict {
    let mut open = findings.iter().filter(|finding| finding.accepted.is_none());
    let fails = open.clone().any(|finding| !finding.warning);
    let warns = open.any(|finding| finding.warning);
    match (not_applicable, fails, is_unknown, warns) {
        (Some(_), ..) => Verdict::NotApplicable,
        (None, true, ..) => Verdict::Fail,
        (None, false, true, _) => Verdict::Unknown,
        (None, false, false, true) => Verdict::Warn,
        (None, false, false, false) => Verdict::Pass,
    }
}

/// Why a check is not about this guest. What is not known is never a reason.
fn why_not(when: When, evidence: &Evidence) -> Option<String> {
    let inspection = &evidence.inspection;
    let unread = |reads: &[&str]| !evidence.unknown_about(reads).is_empty();
    let applies = match when {
        When::Always => true,
        When::Accounts => !inspection.users.is_empty() || unread(&["/etc/passwd"]),
        When::Packages => {
            inspection.packages.manager.is_some() || unread(&["packages", "/var/lib"])
        }
        When::Dpkg => {
            use stampo_guest::inspect::packages::PackageManager::Dpkg;
            inspection.packages.manager == Some(Dpkg) || unread(&["/var/lib/dpkg"])
        }
        When::SshServer => inspection.sshd.is_some() || unread(&["/etc/ssh", "/usr/sbin"]),
        When::CloudInit => inspection.cloud_init.present || unread(&["/usr/bin", "packages"]),
        When::Services => {
            !inspection.services.units.is_empty() || unread(&["/etc", "/usr/lib/systemd"])
        }
        When::Kernel => inspection.kernels.iter().any(|k| k.image.is_some()) || unread(&["/boot"]),
        When::Grub => inspection.boot.loaders.iter().any(|l| l == "grub") || unread(&["/boot"]),
        When::Efi => inspection.disk.as_ref().is_some_and(|disk| {
            let is_efi = |kind: &str| EFI_TYPES.contains(&kind.to_ascii_lowercase().as_str());
            disk.partitions
                .iter()
                .any(|partition| is_efi(&partition.kind))
        }),
        When::Disk => inspection.disk.is_some() || evidence.space.is_some(),
    };
    (!applies).then(|| format!("it is about {}", when.as_str()))
}

fn cut(mut findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() > MAX_FINDINGS {
        // What counts is told before what is accepted.
        findings.sort_by_key(|finding| finding.accepted.is_some());
        let more = findings.len() - MAX_FINDINGS;
        let rest = findings.split_off(MAX_FINDINGS);
        let is_accepted = rest.iter().all(|finding| finding.accepted.is_some());
        findings.push(Finding {
            path: "(more)".to_owned(),
            what: format!("{more} more of these"),
            warning: rest.iter().all(|finding| finding.warning),
            accepted: is_accepted.then(|| "all of them".to_owned()),
        });
    }
    findings
}

fn cut_reasons(mut why: Vec<String>) -> Vec<String> {
    why.dedup();
    if why.len() > MAX_REASONS {
        let more = why.len() - MAX_REASONS;
        why.truncate(MAX_REASONS);
        why.push(format!("{more} more"));
    }
    why
}
