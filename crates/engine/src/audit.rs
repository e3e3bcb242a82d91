//! The audit as evidence: signed checkpoints, and whether every record is still what it was.
//!
//! Records are tied to one another by links (`stampo_store`), so that what was changed, taken away or
//! put elsewhere does not fit. A checkpoint signs the newest link with the site's key, which is made
//! when it is first needed; so records that were cut off at the end are missed, too.
//!
//! What this file can *not* see: records after the last checkpoint that were cut off, and everything
//! that somebody changed who can read the site's key and signed it again. Both show in a checkpoint
//! that is kept elsewhere.

use crate::engine::Engine;
use crate::error::EngineError;
use serde::{Deserialize, Serialize};
use stampo_attest::canonical;
use stampo_attest::signature::{
    AUDIT_NAMESPACE, Key, new_key, plain_line, plain_signature, public_of, sign,
};
use stampo_image::{durable, regular};
use stampo_store::{AuditRow, CheckpointRow, Tx};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The site's private key, in the home.
const KEY: &str = "site-key";
/// So many records after the last one a checkpoint is made.
const EVERY_RECORDS: u64 = 256;
/// So long after a record a checkpoint is made, in milliseconds.
const EVERY_MS: i64 = 60 * 60 * 1000;
/// What the text of a checkpoint says it is.
const SCHEMA: &str = "stampo.audit-checkpoint/1";
/// How many records are read at once.
const AT_ONCE: u32 = 4096;
/// More faults than this say nothing new.
const MOST_FAULTS: usize = 100;
/// The longest checkpoint that is read, in bytes.
const LONGEST: usize = 16 << 10;

/// A checkpoint as it can be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// What is signed, canonical JSON.
    pub text: String,
    /// The SSHSIG over it, in the namespace `stampo-audit`.
    pub signature: String,
    /// The public key.
    pub key: String,
}

/// What a checkpoint's text says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Covered {
    schema: String,
    /// The newest record.
    sequence: u64,
    /// Its link.
    link: String,
    /// When, in milliseconds since 1970.
    at_ms: i64,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFault {
    /// The record or the checkpoint that it shows at.
    pub sequence: u64,
    /// What is wrong.
    pub what: String,
}

/// What a look at the whole audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditVerified {
    /// How many records there are.
    pub records: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The newest record that a checkpoint covers; 0 when there is none.
    pub covered: u64,
    /// The fingerprint of the site's key; empty when there is none yet.
    pub key: String,
    /// What is not as it was written; empty when all is.
    pub faults: Vec<AuditFault>,
}

impl AuditVerified {
    fn fault(&mut self, sequence: u64, what: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            let what = what.into();
            self.faults.push(AuditFault { sequence, what });
        }
    }

    /// What could be gone without a trace here.
    pub fn unseen(&self) -> String {
        let after = self.records.saturating_sub(self.covered);
        format!(
            "{after} records are after the last checkpoint: of such, some could have been cut off at \
             the end; and whoever can read the site's key could have written everything anew; keep \
             checkpoints elsewhere: stampo audit checkpoint"
        )
    }
}

impl Engine {
    fn site_key_path(&self) -> PathBuf {
        self.home.join(KEY)
    }

    /// The site's private key and the line of its public key; made when there is none. Called while
    /// the catalog is locked for writing, so that there is only ever one.
    pub(crate) fn ensure_site_key(&self) -> Result<(String, String), EngineError> {
        let path = self.site_key_path();
        let failed = |error: stampo_attest::signature::SignatureError| {
            EngineError::room("make the site's key")(error)
        };
        if let Some(private) = self.site_key()? {
            let public = public_of(&private).map_err(failed)?;
            return Ok((private, public));
        }
        let (private, _) = new_key(rand::random(), "stampo site").map_err(failed)?;
        durable::write_file_durably(&path, private.as_bytes(), 0o600)
            .map_err(EngineError::room("keep the site's key"))?;
        self.faults.reach("checkpoint.key");
        let public = public_of(&private).map_err(failed)?;
        Ok((private, public))
    }

    fn site_key(&self) -> Result<Option<String>, EngineError> {
        let path = self.site_key_path();
        match regular::read(&path, LONGEST as u64) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::io("read", path)(error)),
        }
    }

    /// Makes a checkpoint if so many records came since the last one, or so long ago. Whether one
    /// was made.
    pub fn checkpoint_if_due(&self) -> Result<bool, EngineError> {
        let is_due = self.store.read(|tx| {
            let last = tx.last_audit()?.map_or(0, |(sequence, _)| sequence);
            let covered = tx.last_checkpoint()?.map_or(0, |(sequence, _)| sequence);
            if last <= covered {
                return Ok(false);
            }
            let first_ms = tx.first_audit_after(covered)?.unwrap_or(i64::MAX);
            let is_old = self.now_ms().saturating_sub(first_ms) >= EVERY_MS;
            Ok::<_, EngineError>(last - covered >= EVERY_RECORDS || is_old)
        })?;
        if is_due {
            self.audit_checkpoint()?;
        }
        Ok(is_due)
    }

    /// Signs what the audit is now; nothing when there are no records. One that covers the newest
    /// record already is given again.
    pub fn audit_checkpoint(&self) -> Result<Option<Checkpoint>, EngineError> {
        let made = self.store.write_durably(|tx| {
            let Some((sequence, link)) = tx.last_audit()? else {
                return Ok(None);
            };
            let rows = tx.checkpoints()?;
            if let Some(row) = rows.into_iter().rfind(|row| row.sequence == sequence) {
                return Ok(Some(row));
            }
            let (private, key) = self.ensure_site_key()?;
            let at_ms = self.now_ms();
            let covered = Covered {
                schema: SCHEMA.to_owned(),
                sequence,
                link,
                at_ms,
            };
            let text = canonical::to_text(&covered).map_err(EngineError::room("sign the audit"))?;
            let signature = sign(&private, AUDIT_NAMESPACE, &text)
                .map_err(EngineError::room("sign the audit"))?;
            let row = CheckpointRow {
                sequence,
                at_ms,
                text,
                signature,
                key,
            };
            tx.add_checkpoint(&row)?;
            Ok::<_, EngineError>(Some(row))
        })?;
        self.faults.reach("checkpoint.made");
        Ok(made.map(|row| Checkpoint {
            text: row.text,
            signature: row.signature,
            key: row.key,
        }))
    }

    /// Looks at every record and every checkpoint, and at checkpoints that were kept elsewhere.
    pub fn audit_verify(&self, kept: &[Checkpoint]) -> Result<AuditVerified, EngineError> {
        let key = match self.site_key()? {
            Some(private) => public_of(&private)
                .and_then(|line| Key::parse(&line))
                .map(Some)
                .map_err(EngineError::room("read the site's key"))?,
            None => None,
        };
        self.store.read(|tx| {
            let mut found = AuditVerified {
                key: key.as_ref().map(Key::fingerprint).unwrap_or_default(),
                ..AuditVerified::default()
            };
            let mut links = self.links_to_see(tx, kept, key.as_ref(), &mut found)?;
            check_records(tx, &mut links, &mut found)?;
            for (sequence, link) in links {
                let what = match link {
                    Wanted::Seen => continue,
                    Wanted::Link(_) => {
                        "a checkpoint covers this record, and it is not there: records were removed"
                    }
                };
                found.fault(sequence, what);
            }
            for table in ["audit", "audit_checkpoints"] {
                if tx.has_damage(table, None)? {
                    found.fault(0, format!("a row of {table} has a wrong checksum"));
                }
            }
            Ok(found)
        })
    }

    /// The links that checkpoints say there are, by record.
    fn links_to_see(
        &self,
        tx: &Tx<'_>,
        kept: &[Checkpoint],
        site: Option<&Key>,
        found: &mut AuditVerified,
    ) -> Result<BTreeMap<u64, Wanted>, EngineError> {
        let mut links = BTreeMap::new();
        let rows = match tx.checkpoints() {
            Ok(rows) => rows,
            Err(error) if error.is_damage() => {
                found.fault(0, "a checkpoint can't be read");
                return Ok(links);
            }
            Err(error) => return Err(error.into()),
        };
        found.checkpoints = rows.len() as u64;
        for row in rows {
            let checkpoint = Checkpoint {
                text: row.text,
                signature: row.signature,
                key: row.key,
            };
            match covered(&checkpoint, site) {
                Ok(covered) if (covered.sequence, covered.at_ms) == (row.sequence, row.at_ms) => {
                    found.covered = found.covered.max(covered.sequence);
                    links.insert(covered.sequence, Wanted::Link(covered.link));
                }
                Ok(_) => found.fault(row.sequence, "the checkpoint is not of this place"),
                Err(why) => {
                    found.fault(row.sequence, format!("the checkpoint here is wrong: {why}"))
                }
            }
        }
        for checkpoint in kept {
            // Whoever kept it says that it is of this site: its own key is the one to check with.
            match covered(checkpoint, Key::parse(&checkpoint.key).ok().as_ref()) {
                Ok(covered) => {
                    let other = links.get(&covered.sequence);
                    let wanted = Wanted::Link(covered.link);
                    if other.is_some_and(|other| *other != wanted) {
                        let what = "the checkpoint that was kept elsewhere says something else";
                        found.fault(covered.sequence, what);
                    }
                    links.insert(covered.sequence, wanted);
                }
                Err(why) => {
                    found.fault(0, format!("the checkpoint that was given is wrong: {why}"))
                }
            }
        }
        Ok(links)
    }
}

/// A link that a checkpoint wants at a record.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Link(String),
    Seen,
}

/// What a checkpoint says, if its signature is right and by this key.
fn covered(checkpoint: &Checkpoint, key: Option<&Key>) -> Result<Covered, String> {
    let key = key.ok_or("there is no key of the site")?;
    let given = Key::parse(&checkpoint.key).map_err(|error| error.to_string())?;
    if given != *key || checkpoint.key != plain_line(&checkpoint.key) {
        return Err("it is by another key than the site's".to_owned());
    }
    key.verify(AUDIT_NAMESPACE, &checkpoint.text, &checkpoint.signature)
        .map_err(|error| error.to_string())?;
    if checkpoint.signature != plain_signature(&checkpoint.signature) {
        return Err("its signature is written in another way".to_owned());
    }
    let covered: Covered = canonical::from_text(&checkpoint.text, LONGEST)
        .map_err(|error| crate::error::chain(&error))?;
    match covered.schema == SCHEMA {
        true => Ok(covered),
        false => Err("it is of another form".to_owned()),
    }
}

/// Follows the links from the first record to the last.
fn check_records(
    tx: &Tx<'_>,
    links: &mut BTreeMap<u64, Wanted>,
    found: &mut AuditVerified,
) -> Result<(), EngineError> {
    let (mut last, mut before) = (0, String::new());
    loop {
        let rows = match tx.audit_after(last, AT_ONCE) {
            Ok(rows) => rows,
            Err(error) if error.is_damage() => {
                found.fault(last + 1, "a record from here on can't be read");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            check_record(&row, last, &before, links, found);
            last = row.sequence;
            before = row.link;
            found.records += 1;
        }
    }
}

fn check_record(
    row: &AuditRow,
    last: u64,
    before: &str,
    links: &mut BTreeMap<u64, Wanted>,
    found: &mut AuditVerified,
) {
    if row.sequence != last + 1 {
        let what = format!("records {} to {} are missing", last + 1, row.sequence - 1);
        found.fault(row.sequence, what);
    } else if row.link != row.link_after(before) {
        let what = "it was changed, or is not where it was written";
        found.fault(row.sequence, what);
    }
    if let Some(wanted) = links.get_mut(&row.sequence) {
        if *wanted != Wanted::Link(row.link.clone()) {
            found.fault(row.sequence, "it is not the record that was signed");
        }
        *wanted = Wanted::Seen;
    }
}
