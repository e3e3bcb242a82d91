//! A source that is being imported: what documents say, into rows.

use crate::error::EngineError;
use stampo_inventory::advisories::{Of, Statement, Status, csaf, debian, kev, osv};
use stampo_store::{AdvisoryRow, AvailableRow, ExploitedRow, InsideTx, SourceRow};
use std::collections::BTreeSet;
use std::io::BufRead;

/// A source, and the releases that it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The source.
    pub source: SourceRow,
    /// The releases, as `debian:12`.
    pub ecosystems: Vec<String>,
}

impl Loaded {
    /// `kind name`.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.source.kind, self.source.name)
    }
}

/// Where statements go.
pub(super) struct Loading<'a, 'tx> {
    tx: &'a InsideTx<'tx>,
    now_ms: i64,
    source: SourceRow,
    covered: BTreeSet<String>,
}

impl<'a, 'tx> Loading<'a, 'tx> {
    /// Nothing is being imported yet.
    pub(super) fn new(tx: &'a InsideTx<'tx>, now_ms: i64) -> Self {
        Loading {
            tx,
            now_ms,
            source: SourceRow {
                number: 0,
                kind: String::new(),
                name: String::new(),
                as_of_ms: None,
                imported_ms: now_ms,
                entries: 0,
                skipped: 0,
            },
            covered: BTreeSet::new(),
        }
    }

    /// Begins with a source: what it said before is forgotten.
    pub(super) fn begin(&mut self, kind: &str, name: &str) -> Result<(), EngineError> {
        self.source = SourceRow {
            number: 0,
            kind: kind.to_owned(),
            name: name.to_owned(),
            as_of_ms: None,
            imported_ms: self.now_ms,
            entries: 0,
            skipped: 0,
        };
        self.covered.clear();
        self.source.number = self.tx.begin_source(&self.source)?;
        Ok(())
    }

    /// Ends it.
    pub(super) fn end(&mut self) -> Result<Loaded, EngineError> {
        let covered = self.covered.iter().map(String::as_str);
        self.tx.end_source(&self.source, covered)?;
        Ok(Loaded {
            source: self.source.clone(),
            ecosystems: self.covered.iter().cloned().collect(),
        })
    }

    /// One OSV document.
    pub(super) fn osv(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let said = osv::read(bytes).map_err(EngineError::room("read a document"))?;
        self.source.skipped += said.skipped as u64;
        self.dated(&said.modified);
        said.statements
            .into_iter()
            .try_for_each(|one| self.put(one))
    }

    /// One CSAF document.
    pub(super) fn csaf(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let said = csaf::read(bytes).map_err(EngineError::room("read a document"))?;
        self.source.skipped += said.skipped as u64;
        self.dated(&said.modified);
        said.statements
            .into_iter()
            .try_for_each(|one| self.put(one))
    }

    /// The Debian tracker's document. It has no date of its own.
    pub(super) fn tracker(&mut self, text: impl BufRead) -> Result<(), EngineError> {
        let mut failed = None;
        let read = debian::read(text, &mut |statement| {
            failed = self.put(statement).err();
            failed.is_none()
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(EngineError::room("read a document")(error)),
            (None, Ok(skipped)) => {
                self.source.skipped += skipped;
                Ok(())
            }
        }
    }

    /// The catalogue of exploited vulnerabilities.
    pub(super) fn kev(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let (date, entries, skipped) =
            kev::read(bytes).map_err(EngineError::room("read a document"))?;
        self.source.skipped += skipped;
        self.dated(&date);
        for one in entries {
            self.source.entries += 1;
            self.tx.insert_exploited(&ExploitedRow {
                source: self.source.number,
                cve: one.cve,
                added: one.added,
                due: one.due,
            })?;
        }
        Ok(())
    }

    /// A package of a security index.
    pub(super) fn offer(&mut self, row: &AvailableRow) -> Result<(), EngineError> {
        self.source.entries += 1;
        Ok(self.tx.insert_available(self.source.number, row)?)
    }

    /// That the source speaks of a release.
    pub(super) fn cover(&mut self, ecosystem: &str) {
        self.covered.insert(ecosystem.to_owned());
    }

    /// The latest date that the source has by its own words.
    pub(super) fn dated(&mut self, text: &str) {
        let at_ms = text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_millisecond);
        self.dated_ms(at_ms);
    }

    pub(super) fn dated_ms(&mut self, at_ms: Option<i64>) {
        self.source.as_of_ms = self.source.as_of_ms.max(at_ms);
    }

    fn put(&mut self, statement: Statement) -> Result<(), EngineError> {
        self.source.entries += 1;
        if !self.covered.contains(&statement.ecosystem.0) {
            self.covered.insert(statement.ecosystem.0.clone());
        }
        Ok(self
            .tx
            .insert_advisory(&row(self.source.number, statement))?)
    }
}

fn row(source: i64, statement: Statement) -> AdvisoryRow {
    let (status, introduced, fixed, last_affected) = match statement.status {
        Status::Affected {
            introduced,
            fixed,
            last,
        } => ("affected", introduced, fixed, last),
        Status::NotAffected => ("not-affected", None, None, None),
        Status::Unknown => ("unknown", None, None, None),
    };
    AdvisoryRow {
        source,
        cve: statement.cve,
        id: statement.id,
        ecosystem: statement.ecosystem.0,
        package: statement.package,
        subject: match statement.of {
            Of::Source => "source".to_owned(),
            Of::Binary => "binary".to_owned(),
        },
        status: status.to_owned(),
        introduced,
        fixed,
        last_affected,
    }
}

/// Back from its row. What no row of ours holds is not known.
pub(super) fn statement(row: &AdvisoryRow) -> (Of, Status) {
    let of = match row.subject.as_str() {
        "source" => Of::Source,
        _ => Of::Binary,
    };
    let status = match row.status.as_str() {
        "affected" => Status::Affected {
            introduced: row.introduced.clone(),
            fixed: row.fixed.clone(),
            last: row.last_affected.clone(),
        },
        "not-affected" => Status::NotAffected,
        _ => Status::Unknown,
    };
    (of, status)
}
