//! The verbs of `template` that decide about versions.

use super::Session;
use super::template::{Line, next_step};
use crate::args::{DeprecateArgs, EndOfLifeArgs, Format, ReasonArgs, RevokeArgs, WithdrawArgs};
use crate::output;
use stampo_api::{Governed, Kind, Problem, Reply, RevokeRequest, Version, WithdrawRequest};
use std::process::ExitCode;

/// `template deprecate`.
pub fn deprecate(session: &Session, args: DeprecateArgs) -> Result<ExitCode, Problem> {
    let request = WithdrawRequest {
        obsolete_ms: args.obsolete_on.as_deref().map(date).transpose()?,
        ..withdrawal(args.withdraw)?
    };
    print_all(session, &session.api.deprecate(request)?)
}

/// `template obsolete`.
pub fn obsolete(session: &Session, args: WithdrawArgs) -> Result<ExitCode, Problem> {
    print_all(session, &session.api.obsolete(withdrawal(args)?)?)
}

fn withdrawal(args: WithdrawArgs) -> Reply<WithdrawRequest> {
    Ok(WithdrawRequest {
        obsolete_ms: None,
        retire_ms: args.retire_on.as_deref().map(date).transpose()?,
        version: args.version,
        reason: args.reason,
        replacement: args.replacement,
    })
}

/// `template revoke`.
pub fn revoke(session: &Session, args: RevokeArgs) -> Result<ExitCode, Problem> {
    let request = RevokeRequest {
        version: args.version,
        reason: args.reason,
        cves: args.cve,
        replacement: args.replacement,
        cascade: args.cascade,
    };
    let done = session.api.revoke(request)?;
    let guests: usize = all(&done).iter().map(|version| version.guests).sum();
    let shown = print_all(session, &done)?;
    if guests > 0 {
        let were = if guests == 1 {
            "guest was"
        } else {
            "guests were"
        };
        session.note(&format!(
            "{guests} {were} cloned from what is revoked now: stampo ps"
        ));
    }
    Ok(shown)
}

/// `template hold`.
pub fn hold(session: &Session, args: &ReasonArgs) -> Result<ExitCode, Problem> {
    let held = session.api.hold(&args.version, &args.reason)?;
    print_one(session, held)
}

/// `template end-of-life`.
pub fn end_of_life(session: &Session, args: &EndOfLifeArgs) -> Result<ExitCode, Problem> {
    let date_ms = args.date.as_deref().map(date).transpose()?;
    print_one(
        session,
        session.api.set_end_of_life(&args.version, date_ms)?,
    )
}

/// Prints one version.
pub fn print_one(session: &Session, version: Version) -> Result<ExitCode, Problem> {
    output::rows(session.global.output, &[Line(version)])?;
    Ok(ExitCode::SUCCESS)
}

/// `template reinstate`.
pub fn reinstate(session: &Session, args: &ReasonArgs) -> Result<ExitCode, Problem> {
    let done = session.api.reinstate(&args.version, &args.reason)?;
    print_all(session, &done)
}

/// Prints the version that was changed, and says which channels were moved.
pub fn print(session: &Session, reply: Reply<Governed>) -> Result<ExitCode, Problem> {
    let done = reply?;
    say(session, &done);
    print_one(session, done.version)
}

/// Prints everything that was changed. JSON and YAML have the channels too, which a table has no
/// place for.
fn print_all(session: &Session, done: &Governed) -> Result<ExitCode, Problem> {
    say(session, done);
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, done)?,
        form => {
            let lines: Vec<Line> = all(done).into_iter().cloned().map(Line).collect();
            output::rows(form, &lines)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(session: &Session, done: &Governed) {
    for moved in &done.channels {
        session.note(&moved.to_string());
    }
    next_step(session, &done.version);
}

fn all(done: &Governed) -> Vec<&Version> {
    std::iter::once(&done.version)
        .chain(&done.descendants)
        .collect()
}

/// A day, which begins at midnight UTC, or a moment, in milliseconds since 1970.
pub(super) fn date(text: &str) -> Reply<i64> {
    let day = text
        .parse::<jiff::civil::Date>()
        .ok()
        .filter(|_| text.len() == 10);
    let at = match day {
        Some(day) => day
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map(|zoned| zoned.timestamp()),
        None => text.parse::<jiff::Timestamp>(),
    };
    at.map(jiff::Timestamp::as_millisecond).map_err(|_| {
        let what = format!("read {text:?} as a date");
        Problem::new(Kind::Usage, what).hint("2027-01-31, or 2027-01-31T18:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_days_in_utc_or_moments_with_their_zone() {
        assert_eq!(date("1970-01-02").ok(), Some(86_400_000));
        assert_eq!(date("1970-01-01T02:00:00+01:00").ok(), Some(3_600_000));
        for bad in [
            "",
            "tomorrow",
            "2027-1-31",
            "2027-02-30",
            "2027-01-31T10:00",
            "31.01.2027",
        ] {
            assert!(date(bad).is_err(), "{bad:?}");
        }
    }
}
