//! Table `facts`: the identity items of every guest, as salted hashes.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::{Row, params};
use stampo_core::identity::{FactValue, IdentityFact};
use stampo_core::ids::GuestId;
use stampo_core::names::GuestName;
use std::collections::HashMap;

/// One identity item of one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactRow {
    /// The item, its place and its value.
    pub fact: IdentityFact,
}

fn columns(value: &FactValue) -> (&'static str, Option<&str>, Option<&str>) {
    match value {
        FactValue::Present(hash) => ("present", Some(hash), None),
        FactValue::Regenerated => ("regenerated", None, None),
        FactValue::Kept(why) => ("kept", None, Some(why)),
        FactValue::Unknown(why) => ("unknown", None, Some(why)),
    }
}

fn read(row: &Row<'_>) -> Result<FactRow, StoreError> {
    let state: String = row.get("state")?;
    let text = |column: &str| {
        row.get::<_, Option<String>>(column)
            .map(Option::unwrap_or_default)
    };
    let value = match state.as_str() {
        "present" => FactValue::Present(text("hash")?),
        "regenerated" => FactValue::Regenerated,
        "kept" => FactValue::Kept(text("detail")?),
        "unknown" => FactValue::Unknown(text("detail")?),
        _ => {
            return Err(StoreError::Damaged {
                table: "facts",
                column: "state",
                text: state,
            });
        }
    };
    let fact = IdentityFact {
        item: row.get("item")?,
        location: row.get("location")?,
        value,
    };
    Ok(FactRow { fact })
}

impl Tx<'_> {
    /// Replaces all facts of a guest.
    pub fn put_facts(&self, guest: GuestId, facts: &[IdentityFact]) -> Result<(), StoreError> {
        self.sql
            .execute("DELETE FROM facts WHERE guest_id = ?1", [guest.to_string()])?;
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO facts (guest_id, item, location, state, hash, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for fact in facts {
            let (state, hash, detail) = columns(&fact.value);
            statement.execute(params![
                guest.to_string(),
                fact.item,
                fact.location,
                state,
                hash,
                detail
            ])?;
        }
        Ok(())
    }

    /// The facts of a guest, by item.
    pub fn facts(&self, guest: GuestId) -> Result<Vec<FactRow>, StoreError> {
        let sql = "SELECT * FROM facts WHERE guest_id = ?1 ORDER BY item, location";
        collect(
            &mut self.sql.prepare_cached(sql)?,
            [guest.to_string()],
            read,
        )
    }

    /// For each of these facts that has a value, the other guests that hold the same value of the
    /// same item, keyed by item and hash.
    pub fn holders(
        &self,
        guest: GuestId,
        facts: &[IdentityFact],
    ) -> Result<HashMap<(String, String), Vec<GuestName>>, StoreError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT guests.name FROM facts JOIN guests ON guests.id = facts.guest_id
             WHERE item = ?1 AND hash = ?2 AND guest_id <> ?3 ORDER BY guests.name",
        )?;
        let mut found = HashMap::new();
        for fact in facts {
            if let FactValue::Present(hash) = &fact.value {
                let key = params![fact.item, hash, guest.to_string()];
                let names = collect(&mut statement, key, |row| parsed(row, "guests", "name"))?;
                if !names.is_empty() {
                    found.insert((fact.item.clone(), hash.clone()), names);
                }
            }
        }
        Ok(found)
    }
}
