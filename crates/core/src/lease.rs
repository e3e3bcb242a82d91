//! Leases: guests that end by themselves.
//!
//! ```text
//! begin ──────────── warned ──── end ─→ removed, or kept in the trash for a while
//!    └ whoever it is tied to has gone ─↗
//! ```
//! The time is the caller's; who looks, and how somebody is warned, is the engine's.

use crate::ids::GuestId;
use crate::text_form::text_form;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest lease: 10 years.
const LONGEST_S: u64 = 10 * 365 * 86_400;

/// Nobody is warned earlier than this before the end.
const WARNING_MS: i64 = 5 * 60 * 1000;

/// A length of time as people write it: `90s`, `15m`, `12h`, `7d`. More than none,
/// and at most 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a time: write a number with s, m, h or d, from 1s to 3650d")]
pub struct SpanError(String);

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Span {
    /// This many seconds, at most 10 years.
    pub const fn of_seconds(seconds: u64) -> Span {
        Span(if seconds > LONGEST_S {
            LONGEST_S
        } else {
            seconds
        })
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// In milliseconds.
    pub const fn ms(self) -> i64 {
        // At most 10 years: this fits.
        (self.0 * 1000).cast_signed()
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.to_owned());
        let unit = text.chars().last().ok_or_else(wrong)?;
        let (_, factor) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let digits = &text[..text.len() - 1];
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let seconds = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor));
        seconds
            .filter(|seconds| (1..=LONGEST_S).contains(seconds))
            .map(Span)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &(char, u64)| self.0.is_multiple_of(*factor) && self.0 >= *factor;
        let (unit, factor) = UNITS.into_iter().find(fits).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

text_form!(Span, SpanError);

/// What becomes of a guest when its lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It is gone.
    Remove,
    /// It is stopped, and can be brought back for a while.
    Trash,
}

impl Ending {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::Remove => "remove",
            Ending::Trash => "trash",
        }
    }
}

/// A text that is not an ending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as the end of a lease")]
pub struct EndingError(String);

impl FromStr for Ending {
    type Err = EndingError;
    fn from_str(text: &str) -> Result<Self, EndingError> {
        let found = [Ending::Remove, Ending::Trash]
            .into_iter()
            .find(|ending| ending.as_str() == text);
        found.ok_or_else(|| EndingError(text.to_owned()))
    }
}

/// The lease of one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The guest.
    pub guest: GuestId,
    /// When it ends, in milliseconds since 1970.
    pub until_ms: i64,
    /// How long it was given last.
    pub span: Span,
    /// Whether somebody was warned of this end.
    pub warned: bool,
    /// What becomes of the guest.
    pub ending: Ending,
}

/// What a lease asks for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time, in milliseconds since 1970.
    At(i64),
    /// Somebody is to be warned.
    Warn,
    /// The guest is to go.
    End,
}

impl Lease {
    /// When somebody is warned: a fifth of the lease before its end, at most five minutes.
    pub fn warn_at_ms(&self) -> i64 {
        self.until_ms - WARNING_MS.min(self.span.ms() / 5)
    }

    /// What is to be done at this time, when whoever the guest is tied to, if anybody, lives or not.
    pub fn due(&self, now_ms: i64, tied_to_living: bool) -> Due {
        if !tied_to_living || now_ms >= self.until_ms {
            return Due::End;
        }
        match self.warned {
            true => Due::At(self.until_ms),
            false if now_ms >= self.warn_at_ms() => Due::Warn,
            false => Due::At(self.warn_at_ms()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(text.parse::<Span>().map(Span::seconds), Ok(seconds));
            let again: Result<Span, _> = Span::of_seconds(seconds).to_string().parse();
            assert_eq!(again.map(Span::seconds), Ok(seconds));
        }
        assert_eq!(Span::of_seconds(0).to_string(), "0s");
        assert_eq!(Span::of_seconds(3660).to_string(), "61m");
        for bad in [
            "",
            "7",
            "0s",
            "d",
            "-1h",
            "+1h",
            "1w",
            "3651d",
            "1.5h",
            "é",
            "99999999999999999999s",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_lease_warns_once_and_then_ends() {
        let lease = |warned| Lease {
            guest: GuestId(Uuid::nil()),
            until_ms: 900_000,
            span: Span::of_seconds(900),
            warned,
            ending: Ending::Remove,
        };
        // A fifth of fifteen minutes before the end.
        assert_eq!(lease(false).due(0, true), Due::At(720_000));
        assert_eq!(lease(false).due(720_000, true), Due::Warn);
        assert_eq!(lease(true).due(720_000, true), Due::At(900_000));
        assert_eq!(lease(false).due(900_000, true), Due::End);
        assert_eq!(lease(true).due(1_000_000, true), Due::End);
        assert_eq!(lease(false).due(0, false), Due::End, "its client is gone");
        let long = Lease {
            span: Span::of_seconds(86_400),
            ..lease(false)
        };
        assert_eq!(long.warn_at_ms(), 600_000, "five minutes at most");
    }
}
