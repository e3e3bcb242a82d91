//! Until when distributions are maintained: their published dates.
//!
//! Debian and Ubuntu as in Debian's package `distro-info-data`; the others as the projects publish
//! them. A release that is not in the table is unknown and never passes: the table ages, and a new
//! release must not be taken for one that is maintained for ever.

use stampo_guest::inspect::os::Os;

/// When the table was last brought up to date.
pub(crate) const AS_OF: &str = "2026-11-22";

/// One release with its dates: standard, long-term and extended maintenance, where there is one.
pub(crate) struct Release {
    id: &'static str,
    version: &'static str,
    /// The last day of the maintenance that everybody gets.
    pub(crate) standard: &'static str,
    /// The last day of any maintenance that is free, where it is longer.
    pub(crate) long_term: Option<&'static str>,
    /// The last day of maintenance that is paid for.
    pub(crate) extended: Option<&'static str>,
}

const fn release(
    id: &'static str,
    version: &'static str,
    standard: &'static str,
    long_term: Option<&'static str>,
    extended: Option<&'static str>,
) -> Release {
    Release {
        id,
        version,
        standard,
        long_term,
        extended,
    }
}

const RELEASES: &[Release] = &[
    release(
        "debian",
        "9",
        "2020-07-18",
        Some("2022-06-30"),
        Some("2027-06-30"),
    ),
    release(
        "debian",
        "10",
        "2022-09-10",
        Some("2024-06-30"),
        Some("2029-06-30"),
    ),
    release(
        "debian",
        "11",
        "2024-08-14",
        Some("2026-08-31"),
        Some("2031-06-30"),
    ),
    release(
        "debian",
        "12",
        "2026-07-11",
        Some("2028-06-30"),
        Some("2033-06-30"),
    ),
    release(
        "debian",
        "13",
        "2028-08-09",
        Some("2030-06-30"),
        Some("2035-06-30"),
    ),
    release("ubuntu", "16.04", "2021-04-30", None, Some("2026-04-23")),
    release("ubuntu", "18.04", "2023-05-31", None, Some("2028-04-26")),
    release("ubuntu", "20.04", "2025-05-29", None, Some("2030-04-23")),
    release("ubuntu", "22.04", "2027-06-01", None, Some("2032-04-21")),
    release("ubuntu", "24.04", "2029-05-31", None, Some("2034-04-25")),
    release("ubuntu", "24.10", "2025-07-10", None, None),
    release("ubuntu", "25.04", "2026-01-15", None, None),
    release("ubuntu", "25.10", "2026-07-09", None, None),
    release("ubuntu", "26.04", "2031-05-29", None, Some("2036-04-23")),
    release("alpine", "3.17", "2024-11-22", None, None),
    release("alpine", "3.18", "2025-05-09", None, None),
    release("alpine", "3.19", "2025-11-01", None, None),
    release("alpine", "3.20", "2026-04-01", None, None),
    release("alpine", "3.21", "2026-11-01", None, None),
    release("alpine", "3.22", "2027-05-01", None, None),
    release("centos", "7", "2024-06-30", None, None),
    release("centos", "8", "2024-05-31", None, None),
    release("rhel", "7", "2024-06-30", None, Some("2028-06-30")),
    release("rhel", "8", "2029-05-31", None, Some("2032-05-31")),
    release("rhel", "9", "2032-05-31", None, Some("2035-05-31")),
    release("almalinux", "8", "2029-03-01", None, None),
    release("almalinux", "9", "2032-05-31", None, None),
    release("rocky", "8", "2029-05-31", None, None),
    release("rocky", "9", "2032-05-31", None, None),
];

impl Release {
    /// The release that a guest has. `3.20.3` is of `3.20`, `8.10` of `8`.
    pub(crate) fn of(os: &Os) -> Option<&'static Release> {
        let version = os.version_id.as_deref()?;
        let fits = |release: &&Release| {
            let rest = version.strip_prefix(release.version);
            release.id == os.id && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        RELEASES.iter().find(fits)
    }

    /// The last day of maintenance that anybody can have.
    pub(crate) fn last(&self) -> &'static str {
        self.extended.or(self.long_term).unwrap_or(self.standard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date::start_of;

    #[test]
    fn every_date_is_a_day_and_none_goes_back() {
        for release in RELEASES {
            let days = [Some(release.standard), release.long_term, release.extended];
            let days: Vec<i64> = days
                .into_iter()
                .flatten()
                .map(|day| start_of(day).expect(day))
                .collect();
            assert!(days.is_sorted(), "{} {}", release.id, release.version);
        }
        assert!(start_of(AS_OF).is_some());
    }

    #[test]
    fn minor_versions_are_of_their_release() {
        let of = |id: &str, version: &str| {
            let version_id = Some(version.to_owned());
            Release::of(&Os {
                id: id.into(),
                version_id,
                ..Os::default()
            })
            .map(|r| r.version)
        };
        assert_eq!(of("alpine", "3.20.3"), Some("3.20"));
        assert_eq!(of("rocky", "8.10"), Some("8"));
        assert_eq!(of("debian", "120"), None);
        assert_eq!(of("debian", "1"), None);
    }
}
