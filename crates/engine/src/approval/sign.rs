//! What people say about versions, and sign: submitting, approving, rejecting, breaking the glass.
//!
//! ```text
//! to_say: the statement, made here ─→ signed by whoever asked ─→ say: made again, compared, checked
//!                                                                └→ recorded, state, audit (one commit)
//! ```
//! Nothing is kept between the two: the statement that comes back has to be the one that would be
//! made now, but for its moment.

use super::{Heard, conclusion, image_of, in_words, names, newest_report};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::{Bare, parent_label, version_of_label};
use crate::work::{Unwatched, Work};
use stampo_attest::provenance::{Made, provenance};
use stampo_attest::settings::Settings as ApprovalSettings;
use stampo_attest::signature::{APPROVAL_NAMESPACE, Key};
use stampo_attest::statement::{Approval, Statement};
use stampo_core::approval::{Decision, Moment, Principal, Said, decide, vote_counts};
use stampo_core::lifecycle::{StatementError, Verb, check_reason, transition};
use stampo_core::names::VersionRef;
use stampo_policy::Point;
use stampo_store::{ApprovalRow, OperationRow, Tx, VersionRow};

/// How long after it was made a statement can be brought back, in milliseconds.
const PATIENCE_MS: i64 = 60 * 60 * 1000;

/// A statement that waits for a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSay {
    /// The text to sign.
    pub statement: String,
    /// Who would say it.
    pub by: Principal,
    /// Whether it counts without a signature: one administrator does all.
    pub is_enough: bool,
}

/// What was said, and what it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// The version as it is now.
    pub version: VersionRow,
    /// What all that was said comes to.
    pub decision: Decision,
}

/// A statement with the documents that it names.
struct Ready {
    statement: Statement,
    report: String,
    provenance: String,
}

/// The verb that records what is said.
fn verb_of(said: Said) -> Verb {
    match said {
        Said::Submitted => Verb::Submit,
        Said::Approved => Verb::Approve,
        Said::Rejected => Verb::Reject,
        Said::BrokeGlass => Verb::BreakGlass,
    }
}

impl Engine {
    /// The statement that somebody with this key would sign. Submitting looks into the disk first.
    pub fn to_say(
        &self,
        reference: &VersionRef,
        said: Said,
        key: Option<&str>,
        comment: &str,
    ) -> Result<ToSay, EngineError> {
        let row = self.version_row(reference)?;
        // Before its disk is read, and before anybody signs for nothing.
        self.stays(&row, verb_of(said))?;
        let act = verb_of(said).as_str();
        let comment = checked_comment(said, comment, &row)?;
        let (settings, _) = self.approval_settings()?;
        let by = self.speaker(&settings, key, act)?;
        if matches!(said, Said::Submitted | Said::BrokeGlass) && row.image.is_some() {
            let judged = self.policy_check(reference, None)?;
            if said == Said::Submitted {
                crate::policy::refuse_at(Point::Submit, &row.label(), &judged.report)?;
            }
        }
        let now_ms = self.now_ms();
        let ready = self.store.read(|tx| {
            let heard = self.hear(tx, &row)?;
            self.ready(tx, &row, &heard, said, by.clone(), &comment, now_ms)
        })?;
        Ok(ToSay {
            statement: text_of(&ready.statement)?,
            by,
            is_enough: is_enough(&settings, key),
        })
    }

    /// Records what somebody signed, and moves the version where it leads to.
    pub fn say(
        &self,
        reference: &VersionRef,
        text: &str,
        signature: &str,
        key: &str,
    ) -> Result<Spoken, EngineError> {
        let given = Statement::parse(text).map_err(EngineError::room("take what was signed"))?;
        let verb = verb_of(given.predicate.said);
        let operation = self.new_operation(
            verb.as_str(),
            &reference.to_string(),
            serde_json::Value::Null,
        );
        let spoken = self.store.write_durably(|tx| {
            let row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            let said = Signed {
                given: &given,
                text,
                signature,
                key,
            };
            self.say_in(tx, row, &said, &operation)
        })?;
        self.faults.reach("approval.committed");
        self.finish_change(&Work::new(self, operation.id, &Unwatched))?;
        self.faults.reach("approval.ended");
        Ok(Spoken {
            version: VersionRow {
                operation: None,
                ..spoken.version
            },
            ..spoken
        })
    }

    fn say_in(
        &self,
        tx: &Tx<'_>,
        mut row: VersionRow,
        said: &Signed<'_>,
        operation: &OperationRow,
    ) -> Result<Spoken, EngineError> {
        let ready = self.check_said(tx, &row, said)?;
        let Approval {
            said: what,
            by,
            comment,
            ..
        } = &said.given.predicate;
        let before = tx.approvals(row.id)?;
        let sequence = before.iter().map(|kept| kept.sequence).max().unwrap_or(0) + 1;
        tx.add_approval(&ApprovalRow {
            id: uuid::Uuid::from_bytes(Self::random16())
                .simple()
                .to_string(),
            version: row.id,
            sequence,
            statement: said.text.to_owned(),
            signature: said.signature.to_owned(),
            key: said.key.to_owned(),
            report: match before.iter().any(|kept| kept.report == ready.report) {
                true => String::new(),
                false => ready.report,
            },
            provenance: ready.provenance,
            actor: self.settings.actor.clone(),
        })?;
        let heard = self.hear(tx, &row)?;
        let asked = heard.asked(self.now_ms(), Moment::Publishing);
        self.refuse_if_void(&row, &heard, *what)?;
        let decision = decide(&asked);
        let is_there = matches!(
            (what, &decision),
            (Said::Submitted | Said::Rejected, _)
                | (
                    Said::Approved,
                    Decision::NotNeeded | Decision::Approved { .. }
                )
                | (
                    Said::BrokeGlass,
                    Decision::NotNeeded | Decision::BrokenGlass { .. }
                )
        );
        let verb = verb_of(*what);
        let evidence = self.evidence(tx, &row, verb)?;
        let next = transition(row.state, verb, evidence);
        row.state = match (next, is_there) {
            (Ok(state), true) => state,
            // More of the same is needed. Whether it is legal here is asked as if this were all.
            (_, false) => self.stays(&row, verb)?,
            (Err(source), true) => {
                return Err(EngineError::Refused {
                    label: row.label(),
                    source,
                });
            }
        };
        row.changed_ms = self.now_ms();
        row.operation = Some(operation.id);
        tx.insert_operation(operation)?;
        tx.update_version(&row)?;
        let loud = if *what == Said::BrokeGlass {
            "BREAK-GLASS: "
        } else {
            ""
        };
        let by_key = match said.key.is_empty() {
            true => "without a signature".to_owned(),
            false => super::fingerprint(said.key),
        };
        let colon = if comment.is_empty() { "" } else { ": " };
        let detail = format!(
            "{loud}{} by {by} ({by_key}); {}{colon}{comment}",
            what.as_str(),
            in_words(&decision)
        );
        self.audit(tx, verb.as_str(), &row.label(), &detail)?;
        Ok(Spoken {
            version: row,
            decision,
        })
    }

    /// The state stays, if the verb is legal in it at all.
    fn stays(
        &self,
        row: &VersionRow,
        verb: Verb,
    ) -> Result<stampo_core::lifecycle::State, EngineError> {
        match transition(row.state, verb, stampo_core::lifecycle::Evidence::default()) {
            Ok(_) => Ok(row.state),
            Err(source) => Err(EngineError::Refused {
                label: row.label(),
                source,
            }),
        }
    }

    /// An error when what was just added does not count: it would be recorded for nothing.
    fn refuse_if_void(
        &self,
        row: &VersionRow,
        heard: &Heard,
        said: Said,
    ) -> Result<(), EngineError> {
        let asked = heard.asked(self.now_ms(), Moment::Publishing);
        if !heard.settings.rule.asks() || matches!(said, Said::Submitted | Said::Rejected) {
            return Ok(());
        }
        let Some(vote) = heard.votes.last() else {
            return Ok(());
        };
        vote_counts(&asked, vote).map_err(|void| EngineError::Approval {
            act: verb_of(said).as_str(),
            label: row.label(),
            why: format!("what {} says does not count: {void}", vote.principal),
        })
    }

    /// Checks that a statement is the one that would be made now, and is signed by who says it.
    fn check_said(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        said: &Signed<'_>,
    ) -> Result<Ready, EngineError> {
        let Approval {
            said: what,
            by,
            comment,
            at_ms,
            ..
        } = &said.given.predicate;
        let act = verb_of(*what).as_str();
        let refused = |why: String| EngineError::Approval {
            act,
            label: row.label(),
            why,
        };
        if (self.now_ms() - at_ms).abs() > PATIENCE_MS {
            let why = "what was signed is of another time; sign it anew".to_owned();
            return Err(refused(why));
        }
        let comment = checked_comment(*what, comment, row)?;
        let (settings, _) = self.approval_settings_in(tx)?;
        let key = (!said.key.is_empty()).then_some(said.key);
        if self.speaker(&settings, key, act)? != *by {
            return Err(refused(format!("the key is not {by}'s")));
        }
        match key {
            None if is_enough(&settings, None) => {}
            None => return Err(refused("a signature is needed".to_owned())),
            Some(line) => {
                let checked = Key::parse(line)
                    .and_then(|key| key.verify(APPROVAL_NAMESPACE, said.text, said.signature));
                checked.map_err(|error| refused(crate::error::chain(&error)))?;
            }
        }
        let heard = self.hear(tx, row)?;
        let ready = self.ready(tx, row, &heard, *what, by.clone(), &comment, *at_ms)?;
        match ready.statement == *said.given {
            true => Ok(ready),
            false => Err(refused(
                "something has changed since it was signed; sign it anew".to_owned(),
            )),
        }
    }

    /// Who says something with this key. Where nobody has to sign, it is who runs the command.
    fn speaker(
        &self,
        settings: &ApprovalSettings,
        key: Option<&str>,
        act: &'static str,
    ) -> Result<Principal, EngineError> {
        let usage = |why: String| EngineError::Usage {
            act: act.to_owned(),
            why,
        };
        let Some(line) = key else {
            return match is_enough(settings, None) {
                true => Ok(self.own_name()),
                false => Err(usage(
                    "it has to be signed; name your key: --key ~/.ssh/id_ed25519".to_owned(),
                )),
            };
        };
        let key = Key::parse(line).map_err(|error| usage(crate::error::chain(&error)))?;
        match settings.signer_of(&key) {
            Some(signer) => Ok(signer.principal.clone()),
            None if is_enough(settings, None) => Ok(self.own_name()),
            None => Err(EngineError::Approval {
                act,
                label: key.fingerprint(),
                why: "the key is no signer's; add it to the settings: stampo approval show > \
                      approval.yaml"
                    .to_owned(),
            }),
        }
    }

    /// The name in `local:anna(1000)`, as a signer's name.
    fn own_name(&self) -> Principal {
        let actor = &self.settings.actor;
        let name = actor.strip_prefix("local:").unwrap_or(actor);
        let name = name.split('(').next().unwrap_or_default();
        let plain: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(64)
            .collect();
        plain
            .parse()
            .unwrap_or_else(|_| "unknown".parse().expect("a plain word is a signer's name"))
    }

    /// The statement that is made of what is so now.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the statement")]
    fn ready(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        heard: &Heard,
        said: Said,
        by: Principal,
        comment: &str,
        at_ms: i64,
    ) -> Result<Ready, EngineError> {
        let Some((report, digest)) = newest_report(tx, row)? else {
            return Err(EngineError::Conflict {
                act: format!("{} {}", verb_of(said).as_str(), row.label()),
                why: format!(
                    "nothing is known of its conformity: stampo policy check {}",
                    row.label()
                ),
            });
        };
        let submitted = heard.rows.iter().rev().map(|(_, statement)| statement);
        let mut submitted = submitted.filter(|one| one.predicate.said == Said::Submitted);
        let first = match said {
            Said::Approved | Said::Rejected => submitted.next(),
            Said::Submitted | Said::BrokeGlass => None,
        };
        if let Some(first) = first
            && said == Said::Approved
            && first.bound() != heard.now
        {
            return Err(EngineError::Approval {
                act: "approve",
                label: row.label(),
                why: format!(
                    "it is not what was submitted any more; again: stampo template submit {}",
                    row.label()
                ),
            });
        }
        let is_submission = said == Said::Submitted;
        let provenance = match is_submission {
            true => provenance_of(tx, row)?.unwrap_or_default(),
            false => String::new(),
        };
        let makers = match is_submission {
            true => tx.actors_of(&row.label(), &super::MAKING)?,
            false => Vec::new(),
        };
        let rule = &heard.settings.rule;
        // The report is the one that was submitted: everybody signs the same document.
        let (policy, digest, conclusion) = match first {
            Some(first) => {
                let one = &first.predicate;
                (
                    one.policy.clone(),
                    one.report.clone(),
                    one.conclusion.clone(),
                )
            }
            None => (heard.now.policy.clone(), digest, conclusion(&report)),
        };
        let written = heard.rows.iter().map(|(kept, _)| &kept.report);
        let known = written
            .clone()
            .find(|text| stampo_attest::digest(text) == digest);
        let report = match known {
            Some(text) => text.clone(),
            None => serde_json::to_string(&report).map_err(EngineError::room("keep the report"))?,
        };
        Ok(Ready {
            statement: Statement::new(
                &row.label(),
                &image_of(row),
                Approval {
                    said,
                    by,
                    comment: comment.to_owned(),
                    at_ms,
                    policy,
                    report: digest,
                    conclusion,
                    preset: rule.preset,
                    needed: rule.needed,
                    makers,
                    provenance: (!provenance.is_empty())
                        .then(|| stampo_attest::digest(&provenance)),
                },
            ),
            report,
            provenance,
        })
    }
}

/// What came back with its signature.
struct Signed<'a> {
    given: &'a Statement,
    text: &'a str,
    signature: &'a str,
    key: &'a str,
}

/// Whether something counts without a signature: nobody is asked, and nobody is named.
fn is_enough(settings: &ApprovalSettings, key: Option<&str>) -> bool {
    key.is_none() && !settings.rule.asks() && settings.signers.is_empty()
}

/// A comment as it may be recorded. Whoever refuses or overrides has to say why.
fn checked_comment(said: Said, comment: &str, row: &VersionRow) -> Result<String, EngineError> {
    let is_needed = matches!(said, Said::Rejected | Said::BrokeGlass);
    match check_reason(Some(comment)) {
        Ok(comment) => Ok(comment.to_owned()),
        Err(StatementError::NoReason) if !is_needed => Ok(String::new()),
        Err(error) => Err(EngineError::Usage {
            act: format!("{} {}", verb_of(said).as_str(), row.label()),
            why: error.to_string(),
        }),
    }
}

fn provenance_of(tx: &Tx<'_>, row: &VersionRow) -> Result<Option<String>, EngineError> {
    let label = row.label();
    let image = image_of(row);
    let parent = match parent_label(row) {
        Some(parent) => version_of_label(tx, parent)?.map(|row| (row.label(), image_of(&row))),
        None => None,
    };
    let made = Made {
        version: &label,
        image: &image,
        origin: &row.origin,
        parent: parent.as_ref().map(|(name, image)| (&name[..], &image[..])),
        builder: env!("CARGO_PKG_VERSION"),
    };
    let found = provenance(&made).map_err(EngineError::room("say where it comes from"))?;
    Ok(found.filter(|text| text.len() <= stampo_attest::provenance::LONGEST_PROVENANCE))
}

fn text_of(statement: &Statement) -> Result<String, EngineError> {
    statement
        .text()
        .map_err(EngineError::room("write the statement"))
}

impl Spoken {
    /// What it came to, in one line.
    pub fn in_words(&self) -> String {
        in_words(&self.decision)
    }

    /// Who has approved, in one line.
    pub fn by(&self) -> String {
        match &self.decision {
            Decision::Approved { by, .. }
            | Decision::BrokenGlass { by, .. }
            | Decision::Missing { by, .. } => names(by),
            Decision::NotNeeded => names(&Default::default()),
        }
    }
}
