//! Table `scrubs`: when the disk of an image was last read from the medium and found right.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::params;
use stampo_core::ids::ImageId;
use std::collections::BTreeMap;

impl Tx<'_> {
    /// Records that an image was found right.
    pub fn put_scrub(&self, image: &ImageId, at_ms: i64) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO scrubs (image_id, at_ms) VALUES (?1, ?2)
             ON CONFLICT (image_id) DO UPDATE SET at_ms = excluded.at_ms",
            params![image.as_str(), at_ms],
        )?;
        Ok(())
    }

    /// When each image was last found right, in milliseconds since 1970.
    pub fn scrubs(&self) -> Result<BTreeMap<ImageId, i64>, StoreError> {
        let mut statement = self.sql.prepare_cached("SELECT * FROM scrubs")?;
        let rows = collect(&mut statement, [], |row| {
            Ok((parsed(row, "scrubs", "image_id")?, row.get("at_ms")?))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Forgets images that no version has any more.
    pub fn forget_scrubs_of_lost_images(&self) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM scrubs WHERE NOT EXISTS
             (SELECT 1 FROM versions WHERE image_id = scrubs.image_id AND state <> 'purged')",
            [],
        )?;
        Ok(())
    }
}
