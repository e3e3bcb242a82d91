//! A checksum in every row, so that rot in the catalog's file shows.
//!
//! SQLite's own check sees pages that do not fit together, and indexes that do not fit their table.
//! A changed letter in a text that no index holds is a good row to it. So every table has a column
//! `row_sum`: the first 8 bytes of BLAKE3 over the table's name and all other columns. Triggers keep
//! it, whichever statement writes; they call a function that every connection of ours has. Another
//! program can read the catalog, and can't write to it.
//!
//! What this file does *not* do: mend, or say what a row is worth. A row that another program
//! removed whole is not missed here; foreign keys and sidecars tell.

use crate::connection::{StoreError, Tx};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

/// The column that holds the checksum.
const COLUMN: &str = "row_sum";
/// The function that computes it.
const FUNCTION: &str = "stampo_row_sum";

/// A row whose checksum is not that of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its table.
    pub table: String,
    /// SQLite's number of the row.
    pub rowid: i64,
    /// Its primary key; the columns of a key of several are separate.
    pub key: Vec<String>,
}

/// Gives a connection the function that the triggers call.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function(FUNCTION, -1, flags, |context| Ok(sum(context)))
}

/// The checksum over the arguments: type, length and bytes of each.
fn sum(context: &Context<'_>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for at in 0..context.len() {
        let (tag, bytes): (u8, &[u8]) = match context.get_raw(at) {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(number) => {
                hasher.update(&[1]).update(&number.to_le_bytes());
                continue;
            }
            ValueRef::Real(number) => {
                hasher.update(&[2]).update(&number.to_le_bytes());
                continue;
            }
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}

/// A table and what its checksum is made of.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
    has_sum: bool,
}

/// Every table of the catalog.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
               ORDER BY name";
    let names: Vec<String> = connection
        .prepare(sql)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    names
        .into_iter()
        .map(|name| table(connection, name))
        .collect()
}

fn table(connection: &Connection, name: String) -> rusqlite::Result<Table> {
    let sql = "SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid";
    let mut columns: Vec<(String, u32)> = connection
        .prepare(sql)?
        .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let count = columns.len();
    columns.retain(|(column, _)| column != COLUMN);
    let mut key: Vec<_> = columns.iter().filter(|(_, pk)| *pk > 0).cloned().collect();
    key.sort_by_key(|(_, pk)| *pk);
    Ok(Table {
        name,
        has_sum: columns.len() < count,
        columns: columns.into_iter().map(|(column, _)| column).collect(),
        key: key.into_iter().map(|(column, _)| column).collect(),
    })
}

impl Table {
    /// The call that computes a row's checksum; `of` is put in front of each column.
    fn call(&self, of: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|c| format!("{of}{c}")).collect();
        format!("{FUNCTION}('{}', {})", self.name, columns.join(", "))
    }

    /// The statements that make the triggers anew.
    fn triggers(&self) -> String {
        let Table { name, columns, .. } = self;
        let set = format!(
            "BEGIN UPDATE {name} SET {COLUMN} = {} WHERE rowid = NEW.rowid; END;",
            self.call("NEW.")
        );
        let columns = columns.join(", ");
        format!(
            "DROP TRIGGER IF EXISTS {name}_inserted;
             DROP TRIGGER IF EXISTS {name}_updated;
             CREATE TRIGGER {name}_inserted AFTER INSERT ON {name} {set}
             CREATE TRIGGER {name}_updated AFTER UPDATE OF {columns} ON {name} {set}"
        )
    }
}

/// Gives every table its checksums, after its columns have changed.
pub(crate) fn ensure(tx: &Tx<'_>) -> Result<(), StoreError> {
    for table in tables(&tx.sql)?.iter().filter(|table| table.has_sum) {
        tx.sql.execute_batch(&table.triggers())?;
        let sql = format!("UPDATE {} SET {COLUMN} = {}", table.name, table.call(""));
        tx.sql.execute_batch(&sql)?;
    }
    Ok(())
}

impl Tx<'_> {
    /// The rows whose checksum is not that of their content. Reads the whole catalog.
    pub fn damaged_rows(&self) -> Result<Vec<DamagedRow>, StoreError> {
        let mut damaged = Vec::new();
        for table in tables(&self.sql)? {
            damaged.append(&mut self.damaged_rows_of(&table)?);
        }
        Ok(damaged)
    }

    fn damaged_rows_of(&self, table: &Table) -> Result<Vec<DamagedRow>, StoreError> {
        let sql = format!(
            "SELECT rowid, {} FROM {} WHERE {COLUMN} IS NOT {}",
            table.key.join(", "),
            table.name,
            table.call("")
        );
        let mut statement = self.sql.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut damaged = Vec::new();
        while let Some(row) = rows.next()? {
            let key = (1..=table.key.len()).map(|at| row.get_ref(at).map(text));
            damaged.push(DamagedRow {
                table: table.name.clone(),
                rowid: row.get(0)?,
                key: key.collect::<Result<_, _>>()?,
            });
        }
        Ok(damaged)
    }

    /// Whether a row of this table has a checksum that is not that of its content; with a column
    /// and a value, only of the rows that have this value there.
    pub fn has_damage(&self, name: &str, only: Option<(&str, &str)>) -> Result<bool, StoreError> {
        // Without a column a constant is compared with itself.
        let (column, value) = only.unwrap_or(("''", ""));
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {name} WHERE {column} = ?1 AND {})",
            self.damage_of(name)?
        );
        Ok(self.sql.query_row(&sql, [value], |row| row.get(0))?)
    }

    /// The condition that a row of this table is damaged, for a statement that reads it.
    pub(crate) fn damage_of(&self, name: &str) -> Result<String, StoreError> {
        let table = table(&self.sql, name.to_owned())?;
        Ok(format!("{COLUMN} IS NOT {}", table.call("")))
    }

    /// The ids of the guests whose rows have a wrong checksum, as they are written there.
    pub fn damaged_guest_ids(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.damaged_rows_of(&table(&self.sql, "guests".to_owned())?)?;
        Ok(rows.into_iter().map(|row| row.key.concat()).collect())
    }

    /// Takes a damaged row away, to be made anew.
    pub fn delete_damaged_row(&self, row: &DamagedRow) -> Result<(), StoreError> {
        let table = table(&self.sql, row.table.clone())?;
        let sql = format!("DELETE FROM {} WHERE rowid = ?1", table.name);
        self.sql.execute(&sql, params![row.rowid])?;
        Ok(())
    }

    /// Takes a damaged row as it is from now on: nothing knows what it held before.
    pub fn keep_damaged_row(&self, row: &DamagedRow) -> Result<(), StoreError> {
        let table = table(&self.sql, row.table.clone())?;
        let sql = format!(
            "UPDATE {} SET {COLUMN} = {} WHERE rowid = ?1",
            table.name,
            table.call("")
        );
        self.sql.execute(&sql, params![row.rowid])?;
        Ok(())
    }
}

/// A value of any type as text, for a message.
fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}
