//! `passport`.

use super::Session;
use crate::args::{Format, PassportArgs};
use crate::output;
use stampo_api::{FactVerdict, Passport, Problem};
use stampo_core::identity::Verdict;
use stampo_core::names::GuestName;
use std::process::ExitCode;

/// The exit code when something is shared that should not be, or nothing is known of a guest.
const NOT_PASSED: u8 = 4;

/// Prints the passports; exit code 4 when any item is duplicated, or a guest could not be compared.
pub fn run(session: &Session, args: &PassportArgs) -> Result<ExitCode, Problem> {
    let passports = session.api.passports(&args.guests)?;
    match session.global.output {
        Format::Table | Format::Wide => {
            for passport in &passports {
                print_one(session, passport)?;
            }
        }
        Format::Name => {
            let duplicated = passports.iter().filter(|p| p.has_duplicates());
            let names: Vec<&str> = duplicated.map(|p| p.guest.as_str()).collect();
            output::print(&names.join("\n"))?;
        }
        form => output::value(form, &passports)?,
    }
    let count = |is_such: fn(&Passport) -> bool| passports.iter().filter(|p| is_such(p)).count();
    let (duplicates, unknown) = (count(Passport::has_duplicates), count(Passport::is_unknown));
    let all = passports.len();
    if duplicates > 0 {
        session.note(&format!(
            "{duplicates} of {all} guests share identity items"
        ));
    }
    if unknown > 0 {
        session.note(&format!("of {unknown} of {all} guests nothing is known"));
    }
    if duplicates + unknown > 0 {
        return Ok(ExitCode::from(NOT_PASSED));
    }
    session.note(&format!("{all} guests, nothing duplicated"));
    Ok(ExitCode::SUCCESS)
}

fn print_one(session: &Session, passport: &Passport) -> Result<(), Problem> {
    let count = |wanted: fn(&Verdict) -> bool| {
        passport
            .items
            .iter()
            .filter(|item| wanted(&item.verdict))
            .count()
    };
    let origin = match passport.standing.as_str() {
        "current" | "" => String::new(),
        standing => format!("; its version {} is {standing}", passport.version),
    };
    let summary = format!(
        "{}: {} unique, {} regenerated, {} kept, {} duplicated, {} unknown (read from its {}){origin}",
        passport.guest,
        count(|v| matches!(v, Verdict::Unique)),
        count(|v| matches!(v, Verdict::Regenerated)),
        count(|v| matches!(v, Verdict::Kept(_))),
        count(|v| matches!(v, Verdict::Duplicated(_))),
        count(|v| matches!(v, Verdict::Unknown(_))),
        passport.source,
    );
    output::print(&summary)?;
    // Unique and regenerated items are what everyone expects; -o wide shows them too.
    let wide = session.global.output == Format::Wide;
    let shown: Vec<&FactVerdict> = passport
        .items
        .iter()
        .filter(|item| wide || !matches!(item.verdict, Verdict::Unique | Verdict::Regenerated))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let rows = shown.into_iter().map(|item| {
        let (verdict, detail) = words(&item.verdict);
        vec![
            format!("  {}", item.item),
            item.location.clone(),
            verdict.to_owned(),
            detail,
        ]
    });
    output::print(&output::grid(
        &["  ITEM", "WHERE", "VERDICT", "DETAIL"],
        rows,
    ))
}

fn words(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Unique => ("unique", String::new()),
        Verdict::Regenerated => (
            "regenerated",
            "made by the guest at its first boot".to_owned(),
        ),
        Verdict::Kept(why) => ("kept", why.clone()),
        Verdict::Unknown(why) => ("unknown", why.clone()),
        Verdict::Duplicated(with) => {
            let names: Vec<&str> = with.iter().map(GuestName::as_str).collect();
            ("duplicated", format!("with {}", names.join(", ")))
        }
    }
}
