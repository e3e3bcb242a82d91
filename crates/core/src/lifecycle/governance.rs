//! What is recorded of a version besides its state: reasons, a replacement, dates, a hold; and what
//! a date does when it has come.
//!
//! Dates are enforced. [`due`] names the verb that a date asks for, [`standing_state`] the state
//! that a version is treated as from that moment on, even if nobody has carried the verb out yet.

use super::{Standing, State, Verb, meaning};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 1000;
/// The most CVE ids of one revocation.
pub const MOST_CVES: usize = 100;

/// Somebody said something about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Why; empty when nothing was said.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Why a version was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Why, by whom and when.
    pub notice: Notice,
    /// The vulnerabilities that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<Cve>,
    /// Whether what descends from it is revoked too, also what is not published yet.
    pub cascade: bool,
    /// The ancestor with which it was revoked, `name@N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

/// What is recorded of a version besides its state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Governance {
    /// Why it should not be used any more: of its deprecation, or of its being made obsolete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Notice>,
    /// What should be used instead, `name@N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// When it becomes obsolete, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obsolete_ms: Option<i64>,
    /// When it is retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_ms: Option<i64>,
    /// When what it holds is not maintained any more. Stays whatever its state becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_life_ms: Option<i64>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// Why its bytes must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Notice>,
}

impl Governance {
    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        *self == Governance::default()
    }

    /// What a user of such a version should know: why, what to use instead, until when. Empty when
    /// there is nothing to say.
    pub fn advice(&self, state: State) -> String {
        let mut parts = Vec::new();
        if let Some(revoked) = &self.revoked {
            let cves: Vec<String> = revoked.cves.iter().map(Cve::to_string).collect();
            parts.push(match cves.is_empty() {
                true => revoked.notice.reason.clone(),
                false => format!("{} ({})", revoked.notice.reason, cves.join(", ")),
            });
        } else if let Some(notice) = &self.deprecated {
            parts.extend((!notice.reason.is_empty()).then(|| notice.reason.clone()));
        }
        if self.revoked.is_some() || self.deprecated.is_some() {
            let used = self.replacement.as_ref();
            parts.extend(used.map(|label| format!("use {label} instead")));
        }
        if state == State::Deprecated {
            let ends = [self.obsolete_ms, self.retire_ms, self.end_of_life_ms];
            let first = ends.into_iter().flatten().min();
            parts
                .extend(first.map(|ms| format!("no new clones from {} on", crate::date::text(ms))));
        } else if state == State::Obsolete
            && let Some(ms) = self.end_of_life_ms
        {
            parts.push(format!("its end of life is {}", crate::date::text(ms)));
        }
        parts.join("; ")
    }

    /// How clones of such a version stand to it. A revocation concerns them whatever became of the
    /// version afterwards.
    pub fn standing(&self, state: State, now_ms: i64) -> Standing {
        match self.revoked {
            Some(_) => Standing::Revoked,
            None => meaning(standing_state(state, self, now_ms)).standing,
        }
    }

    /// Whether its end of life has come.
    pub fn is_past_end_of_life(&self, now_ms: i64) -> bool {
        has_come(self.end_of_life_ms, now_ms)
    }
}

/// The id of a vulnerability, as `CVE-2026-12345`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cve(String);

/// A text that is no id of a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a vulnerability: write it as CVE-2026-12345")]
pub struct CveError(String);

impl FromStr for Cve {
    type Err = CveError;
    fn from_str(text: &str) -> Result<Self, CveError> {
        let wrong = || CveError(text.chars().take(40).collect());
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let rest = text.strip_prefix("CVE-").ok_or_else(wrong)?;
        let (year, number) = rest.split_once('-').ok_or_else(wrong)?;
        // Four digits or more, as the CVE syntax of 2014 has it; the limit is ours.
        let fits = year.len() == 4 && (4..=12).contains(&number.len());
        match fits && digits(year) && digits(number) {
            true => Ok(Cve(text.to_owned())),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Cve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::text_form::text_form!(Cve, CveError);

/// What a person says with a verb.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    /// Why.
    pub reason: Option<String>,
    /// What should be used instead, `name@N`.
    pub replacement: Option<String>,
    /// When it is to become obsolete, in milliseconds since 1970.
    pub obsolete_ms: Option<i64>,
    /// When it is to be retired.
    pub retire_ms: Option<i64>,
    /// The vulnerabilities that a revocation is for.
    pub cves: Vec<Cve>,
    /// Whether what descends from it is revoked too.
    pub cascade: bool,
    /// The ancestor whose revocation it follows, `name@N`.
    pub through: Option<String>,
}

/// Why what was said is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Nobody could tell later.
    #[error("a reason is needed; it is recorded: --reason TEXT")]
    NoReason,
    /// Too long, or not one line.
    #[error("a reason is one line of at most {LONGEST_REASON} characters")]
    BadReason,
    /// Dates are for what is to come.
    #[error("the date has passed; leave it out to do it now")]
    PastDate,
    /// It can't be retired before it is obsolete.
    #[error("it would be retired before it is obsolete")]
    Order,
    /// Nobody reads so many.
    #[error("at most {MOST_CVES} vulnerabilities can be named")]
    TooManyCves,
}

/// A reason as it may be recorded.
pub fn check_reason(reason: Option<&str>) -> Result<&str, StatementError> {
    let reason = reason.unwrap_or_default().trim();
    if reason.is_empty() {
        return Err(StatementError::NoReason);
    }
    match reason.chars().count() > LONGEST_REASON || reason.contains(char::is_control) {
        true => Err(StatementError::BadReason),
        false => Ok(reason),
    }
}

/// Records what was said with a verb.
pub fn record(
    governance: &mut Governance,
    verb: Verb,
    said: &Statement,
    actor: &str,
    now_ms: i64,
) -> Result<(), StatementError> {
    let notice = |needed: bool| {
        let reason = match check_reason(said.reason.as_deref()) {
            Err(StatementError::NoReason) if !needed => "",
            other => other?,
        };
        Ok(Notice {
            reason: reason.to_owned(),
            actor: actor.to_owned(),
            at_ms: now_ms,
        })
    };
    match verb {
        Verb::Deprecate | Verb::Obsolete => {
            check_dates(said, now_ms)?;
            governance.deprecated = Some(notice(false)?);
            governance.replacement = said.replacement.clone();
            governance.obsolete_ms = said.obsolete_ms;
            governance.retire_ms = said.retire_ms;
        }
        Verb::Publish => withdraw_notice(governance),
        Verb::Reinstate => {
            notice(true)?;
            withdraw_notice(governance);
        }
        Verb::Revoke => {
            if said.cves.len() > MOST_CVES {
                return Err(StatementError::TooManyCves);
            }
            governance.revoked = Some(Revocation {
                notice: notice(true)?,
                cves: said.cves.clone(),
                cascade: said.cascade,
                through: said.through.clone(),
            });
            if said.replacement.is_some() {
                governance.replacement = said.replacement.clone();
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_dates(said: &Statement, now_ms: i64) -> Result<(), StatementError> {
    if [said.obsolete_ms, said.retire_ms]
        .into_iter()
        .any(|date| has_come(date, now_ms))
    {
        return Err(StatementError::PastDate);
    }
    match (said.obsolete_ms, said.retire_ms) {
        (Some(obsolete), Some(retire)) if retire < obsolete => Err(StatementError::Order),
        _ => Ok(()),
    }
}

/// Nothing speaks against it any more. Its end of life stays, and so does a hold.
fn withdraw_notice(governance: &mut Governance) {
    governance.deprecated = None;
    governance.replacement = None;
    governance.obsolete_ms = None;
    governance.retire_ms = None;
}

fn has_come(date: Option<i64>, now_ms: i64) -> bool {
    date.is_some_and(|date| date <= now_ms)
}

/// The verb that a date of a version asks for now.
pub fn due(state: State, governance: &Governance, now_ms: i64) -> Option<Verb> {
    let is_offered = state.is_clonable();
    let is_obsolete =
        has_come(governance.obsolete_ms, now_ms) || governance.is_past_end_of_life(now_ms);
    if is_offered && is_obsolete {
        return Some(Verb::Obsolete);
    }
    let can_retire = is_offered || state == State::Obsolete;
    (can_retire && has_come(governance.retire_ms, now_ms)).then_some(Verb::Retire)
}

/// When the next date of a version comes, or came.
pub fn next_due_ms(state: State, governance: &Governance) -> Option<i64> {
    let Governance {
        obsolete_ms,
        retire_ms,
        end_of_life_ms,
        ..
    } = governance;
    let dates = match state {
        _ if state.is_clonable() => [*obsolete_ms, *end_of_life_ms, *retire_ms],
        State::Obsolete => [*retire_ms, None, None],
        _ => [None; 3],
    };
    dates.into_iter().flatten().min()
}

/// The state that a version is treated as: what its dates say, whether or not somebody has come by
/// to record it.
pub fn standing_state(state: State, governance: &Governance, now_ms: i64) -> State {
    match due(state, governance, now_ms) {
        Some(Verb::Obsolete) => State::Obsolete,
        Some(_) => State::Retired,
        None => state,
    }
}
