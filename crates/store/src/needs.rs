//! Who needs an image, as the tables themselves say: the questions before bytes are deleted.
//!
//! The rows of a table have checksums, and its indexes have none: an index with one changed bit
//! hides a row that is right. So no index is asked here, and each answer costs a reading of the
//! table. What only informs somebody asks the indexes; see `guests.rs` and `versions.rs`.

use crate::connection::{StoreError, Tx};
use crate::convert::collect;
use crate::guests::GuestRow;
use crate::operations::OperationRow;
use crate::versions::VersionRow;
use stampo_core::ids::ImageId;

impl Tx<'_> {
    /// The versions that have this image and whose bytes are not purged. A version whose template is
    /// missing is an error.
    pub fn image_holders(&self, image: &ImageId) -> Result<Vec<VersionRow>, StoreError> {
        let sql = "SELECT versions.*, templates.name AS template
             FROM versions NOT INDEXED
             LEFT JOIN templates NOT INDEXED ON templates.id = versions.template_id
             WHERE image_id = ?1 AND state <> 'purged'";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [image.as_str()], crate::versions::read)
    }

    /// The guests that need this image, by name: linked clones, and full clones that are still
    /// being made of it.
    pub fn image_readers(&self, image: &ImageId) -> Result<Vec<GuestRow>, StoreError> {
        // Of whom `GuestRow::reads_image` says so.
        let sql = "SELECT * FROM guests NOT INDEXED WHERE image_id = ?1
             AND (kind = 'linked' OR state IN ('planned', 'disk_ready', 'defined'))
             ORDER BY length(name), name";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [image.as_str()], crate::guests::read)
    }

    /// The operations that have not ended, any of which may be about to need an image.
    pub fn image_workers(&self) -> Result<Vec<OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations NOT INDEXED WHERE state = 'running'";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [], crate::operations::read)
    }
}
