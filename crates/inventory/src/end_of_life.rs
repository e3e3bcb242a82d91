//! When a distribution's release stops being maintained: up to three dates, each with a name.
//!
//! "End of life" is not one date: after standard support others maintain a release for longer, for a
//! part of its packages or for money. Which one counts is for whoever asks to say. The dates are
//! bundled in one table, with the day they are as of and where they come from; the caller says what
//! day it is. A release that is not in the table is unknown: the table ages, and a new release must
//! not be taken for one that is maintained for ever.

use crate::inventory::Ecosystem;
use serde::{Deserialize, Serialize};

/// What is bundled of Debian and Ubuntu, with the day that it is as of.
const DISTRO_INFO: (&str, &str) = ("distro-info-data 0.58+deb12u6", "2025-10-18");
/// The day that what other projects publish was read.
const PROJECTS_AS_OF: &str = "2026-11-22";

const TABLE: &str = include_str!("../data/end-of-life.csv");

/// One of the dates at which support ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportEnd {
    /// Which support: `standard`, and the distribution's names for what comes after it.
    pub support: String,
    /// The last day, as in 2026-07-11.
    pub day: String,
}

/// The dates of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates {
    /// The dates, the earliest first; one at least.
    pub ends: Vec<SupportEnd>,
    /// Where they come from.
    pub source: &'static str,
    /// The day that they are as of.
    pub as_of: &'static str,
}

/// What is known about the end of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndOfLife {
    /// Its dates.
    Known(Dates),
    /// Nothing, and why.
    Unknown(String),
}

struct Release<'t> {
    distribution: &'t str,
    number: &'t str,
    codename: &'t str,
    days: [&'t str; 3],
    source: &'t str,
}

fn releases() -> impl Iterator<Item = Release<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let [
            distribution,
            number,
            codename,
            _,
            standard,
            long_term,
            extended,
            source,
        ] = fields[..]
        else {
            return None;
        };
        Some(Release {
            distribution,
            number,
            codename,
            days: [standard, long_term, extended],
            source,
        })
    })
}

/// The number of a release that is named by its code name, as in `bookworm`.
pub fn number_of(distribution: &str, codename: &str) -> Option<&'static str> {
    let mut releases = releases();
    let found = releases.find(|of| of.distribution == distribution && of.codename == codename);
    found.map(|of| of.number)
}

/// The ecosystem of a release that is named by its code name.
pub fn ecosystem_of_codename(distribution: &str, codename: &str) -> Ecosystem {
    Ecosystem::new(
        distribution,
        number_of(distribution, codename).unwrap_or(codename),
    )
}

/// When support of a release ends; see [`Ecosystem::of`].
pub fn of(ecosystem: Option<&Ecosystem>) -> EndOfLife {
    let Some(ecosystem) = ecosystem else {
        return EndOfLife::Unknown("the system does not say which release it is".into());
    };
    let is_it = |of: &Release<'_>| {
        of.distribution == ecosystem.id() && [of.number, of.codename].contains(&ecosystem.release())
    };
    let Some(release) = releases().find(is_it) else {
        return EndOfLife::Unknown(format!("no dates of {ecosystem} are known"));
    };
    let names = match release.distribution {
        "ubuntu" => ["standard", "ESM", "legacy"],
        "rhel" => ["standard", "extended", "ELS"],
        _ => ["standard", "LTS", "ELTS"],
    };
    let dates = names.into_iter().zip(release.days);
    let ends: Vec<SupportEnd> = dates
        .filter(|(_, day)| !day.is_empty())
        .map(|(support, day)| SupportEnd {
            support: support.into(),
            day: day.into(),
        })
        .collect();
    if ends.is_empty() {
        return EndOfLife::Unknown(format!("{ecosystem} has no dates yet"));
    }
    let (source, as_of) = match release.source {
        "distro-info-data" => DISTRO_INFO,
        project => (project, PROJECTS_AS_OF),
    };
    EndOfLife::Known(Dates {
        ends,
        source,
        as_of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(id: &str, release: &str) -> Vec<String> {
        match of(Ecosystem::of(id, Some(release), None).as_ref()) {
            EndOfLife::Known(dates) => {
                let line = |end: &SupportEnd| format!("{} {}", end.support, end.day);
                dates.ends.iter().map(line).collect()
            }
            EndOfLife::Unknown(why) => vec![why],
        }
    }

    #[test]
    fn three_dates_have_their_names() {
        assert_eq!(
            days("debian", "12"),
            ["standard 2026-07-11", "LTS 2028-06-30", "ELTS 2033-06-30"]
        );
        assert_eq!(
            days("ubuntu", "22.04"),
            ["standard 2027-06-01", "ESM 2032-04-21", "legacy 2034-04-25"]
        );
        assert_eq!(days("ubuntu", "25.10"), ["standard 2026-07-09"]);
        assert_eq!(days("debian", "14"), ["debian:14 has no dates yet"]);
        assert_eq!(days("alpine", "3.20.3"), ["standard 2026-04-01"]);
        assert_eq!(days("rocky", "8.10"), ["standard 2029-05-31"]);
        assert_eq!(days("rhel", "8.4").last().expect("one"), "ELS 2032-05-31");
        for (id, release) in [("slackware", "15"), ("debian", "1"), ("debian", "120")] {
            assert_eq!(
                days(id, release),
                [format!("no dates of {id}:{release} are known")]
            );
        }
        assert_eq!(number_of("debian", "trixie"), Some("13"));
    }

    #[test]
    fn every_date_is_a_day_and_has_a_source_and_none_goes_back() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(releases().count(), lines.count(), "every line is read");
        for release in releases() {
            let days = release.days.iter().filter(|day| !day.is_empty());
            let starts: Vec<i64> = days
                .map(|day| stampo_core::date::start_of(day).expect(day))
                .collect();
            let name = format!("{} {}", release.distribution, release.number);
            assert!(starts.is_sorted(), "{name}");
            let is_theirs = matches!(release.distribution, "debian" | "ubuntu");
            assert_eq!(release.source == "distro-info-data", is_theirs, "{name}");
            assert!(TABLE.contains(&format!("{}\n", release.source)), "{name}");
        }
    }

    /// The bundled dates against the package that they come from, where it is installed.
    #[test]
    fn the_bundled_dates_are_those_of_their_source() {
        for distribution in ["debian", "ubuntu"] {
            let path = format!("/usr/share/distro-info/{distribution}.csv");
            let Ok(text) = std::fs::read_to_string(&path) else {
                eprintln!("skipped: {path} is not there (package distro-info-data)");
                continue;
            };
            let mut compared = 0;
            for release in releases().filter(|of| of.distribution == distribution) {
                let wanted = format!(",{},", release.codename);
                let line = text.lines().find(|line| line.contains(&wanted));
                let line = line.unwrap_or_else(|| panic!("{}", release.codename));
                let fields: Vec<&str> = line.split(',').collect();
                let skipped = if distribution == "ubuntu" {
                    [5, 7, 8]
                } else {
                    [5, 6, 7]
                };
                let theirs = skipped.map(|at| fields.get(at).copied().unwrap_or_default());
                assert_eq!(release.days, theirs, "{}", release.codename);
                compared += 1;
            }
            assert!(compared > 8, "{compared}");
        }
    }
}
