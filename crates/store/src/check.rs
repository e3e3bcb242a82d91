//! Checking the catalog's file as a whole: pages, indexes, references, and the schema itself.
//!
//! The schema is compared with that of a new catalog, text by text: a changed letter in a trigger
//! or a default would otherwise be obeyed. This file changes nothing.

use crate::connection::StoreError;
use crate::schema;
use crate::sums;
use rusqlite::Connection;
use std::sync::OnceLock;

/// More faults than this say nothing new.
const MOST: usize = 20;

/// The faults of an open catalog.
pub(crate) fn faults(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            found.push(line);
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        found.push(format!("a row of {table} belongs to none of {parent}"));
    }
    let (expected, has) = (schema_of_new()?, texts(connection)?);
    if has != expected {
        let other = has.iter().find(|text| !expected.contains(text));
        let missing = expected.iter().find(|text| !has.contains(text));
        let text = other.or(missing).map_or("", String::as_str);
        found.push(format!("the schema was changed: {text:?}"));
    }
    found.truncate(MOST);
    Ok(found)
}

/// Everything in a schema, as text. The types of its values too: one bit makes a blob of a text,
/// which reads alike and is equal to no text, so that a table would not be found any more.
fn texts(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') || ' ' ||
               typeof(type) || ' ' || typeof(name) || ' ' || typeof(tbl_name) || ' ' || typeof(sql)
               FROM sqlite_schema ORDER BY 1";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The schema as this program makes it. It is made once: that takes milliseconds.
fn schema_of_new() -> Result<&'static [String], StoreError> {
    static SCHEMA: OnceLock<Vec<String>> = OnceLock::new();
    if let Some(known) = SCHEMA.get() {
        return Ok(known);
    }
    let mut connection = Connection::open_in_memory()?;
    sums::register(&connection)?;
    let tx = crate::connection::Tx {
        sql: connection.transaction()?,
    };
    for step in schema::STEPS {
        tx.sql.execute_batch(step)?;
    }
    sums::ensure(&tx)?;
    let made = texts(&tx.sql)?;
    Ok(SCHEMA.get_or_init(|| made))
}
