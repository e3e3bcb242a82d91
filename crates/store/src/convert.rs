//! Columns of text that hold something narrower: ids, states, JSON.

use crate::connection::StoreError;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// The value of a text column, parsed; a text that does not parse is damage, and named.
pub fn parsed<T: FromStr>(
    row: &Row<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| StoreError::Damaged {
        table,
        column,
        text,
    })
}

/// As [`parsed`], for a column that may be empty.
pub fn parsed_option<T: FromStr>(
    row: &Row<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        text.parse().map_err(|_| StoreError::Damaged {
            table,
            column,
            text,
        })
    })
    .transpose()
}

/// The value of a JSON column. Its text is not shown when it does not parse: it may hold secrets.
pub fn json<T: DeserializeOwned>(
    row: &Row<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Damaged {
        table,
        column,
        text: format!("({error})"),
    })
}

/// A value as JSON text.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types serialise: no maps with non-text keys")
}

/// Collects the rows of a query, stopping at the first that can't be read.
pub fn collect<T>(
    statement: &mut rusqlite::CachedStatement<'_>,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Turns a uniqueness failure into [`StoreError::Exists`].
pub fn unique(what: impl FnOnce() -> String) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => StoreError::Exists { what: what() },
        _ => error.into(),
    }
}
