//! Table `settings`: single values that belong to the whole catalog.

use crate::connection::{StoreError, Tx};
use rusqlite::OptionalExtension;

/// The key of the 32 random bytes (hex) that salt every identity hash. They never leave the
/// catalog, so that hashes of two catalogs can't be compared.
pub const SALT: &str = "passport.salt";

/// Makes the salt unless it is there.
pub(crate) fn ensure_salt(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.sql.execute(
        "INSERT INTO settings (key, value) VALUES (?1, lower(hex(randomblob(32))))
         ON CONFLICT (key) DO NOTHING",
        [SALT],
    )?;
    Ok(())
}

impl Tx<'_> {
    /// The value of a setting.
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM settings WHERE key = ?1";
        Ok(self
            .sql
            .query_row(sql, [key], |row| row.get(0))
            .optional()?)
    }

    /// Sets a setting.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO settings (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )?;
        Ok(())
    }
}
