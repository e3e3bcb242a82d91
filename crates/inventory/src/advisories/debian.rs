//! Debian's security tracker: everything in one JSON document, by source package, by vulnerability, by
//! release. It is large, so it is read as a stream and never kept as a whole.

use super::{AdvisoryError, Of, Statement, Status, is_cve, is_short};
use crate::end_of_life::ecosystem_of_codename;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

const FORMAT: &str = "the Debian security tracker's JSON";

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    releases: BTreeMap<String, Release>,
}

#[derive(Deserialize)]
struct Release {
    status: String,
    #[serde(default)]
    fixed_version: Option<String>,
}

/// Calls `take` for every statement; how many entries made no sense. `take` says whether to go on.
///
/// # Errors
/// When it is not this format, or `take` wants no more.
pub fn read(
    text: impl Read,
    take: &mut dyn FnMut(Statement) -> bool,
) -> Result<u64, AdvisoryError> {
    let mut skipped = 0;
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let sources = Sources {
        take,
        skipped: &mut skipped,
    };
    let read = sources.deserialize(&mut deserializer);
    read.and_then(|()| deserializer.end())
        .map_err(|source| AdvisoryError::Json {
            format: FORMAT,
            source,
        })?;
    Ok(skipped)
}

/// Source packages by name.
struct Sources<'a> {
    take: &'a mut dyn FnMut(Statement) -> bool,
    skipped: &'a mut u64,
}

impl<'de> DeserializeSeed<'de> for Sources<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Sources<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("source packages by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(package) = map.next_key::<String>()? {
            let entries = Entries {
                package: &package,
                take: &mut *self.take,
                skipped: &mut *self.skipped,
            };
            map.next_value_seed(entries)?;
        }
        Ok(())
    }
}

/// The vulnerabilities of one source package, by id.
struct Entries<'a> {
    package: &'a str,
    take: &'a mut dyn FnMut(Statement) -> bool,
    skipped: &'a mut u64,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vulnerabilities by id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(id) = map.next_key::<String>()? {
            // Those without an id have a working name, TEMP-….
            if !is_cve(&id) || !is_short(self.package) {
                *self.skipped += 1;
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let entry: Entry = map.next_value()?;
            for (codename, release) in entry.releases {
                let Some(status) = status(&release).filter(|_| is_short(&codename)) else {
                    *self.skipped += 1;
                    continue;
                };
                let statement = Statement {
                    cve: id.clone(),
                    id: id.clone(),
                    ecosystem: ecosystem_of_codename("debian", &codename),
                    package: self.package.to_owned(),
                    of: Of::Source,
                    status,
                };
                if !(self.take)(statement) {
                    return Err(serde::de::Error::custom("it can't be kept"));
                }
            }
        }
        Ok(())
    }
}

/// A fixed version of "0" says that the release never had it.
fn status(release: &Release) -> Option<Status> {
    let affected = |fixed| Status::Affected {
        introduced: None,
        fixed,
        last: None,
    };
    match (release.status.as_str(), release.fixed_version.as_deref()) {
        ("resolved", Some("0")) => Some(Status::NotAffected),
        ("resolved", Some(fixed)) if is_short(fixed) => Some(affected(Some(fixed.to_owned()))),
        ("open", _) => Some(affected(None)),
        ("undetermined", _) => Some(Status::Unknown),
        _ => None,
    }
}
