//! Whether anything on an image outside its root filesystem names that filesystem by its UUID.
//!
//! A boot loader in an EFI system partition or behind the partition table may find the root by it;
//! then clones keep the template's. The answer belongs to the image, whose bytes never change, so it
//! is looked for once and kept in the catalog's settings.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::ids::ImageId;
use stampo_guest::fs::residue::residue;
use stampo_guest::fs::{find_root, open_read};
use stampo_guest::personalise::Elsewhere;
use stampo_image::device::{BlockDevice, Window};
use stampo_image::raw::RawFile;
use std::sync::Arc;

/// The most that is searched; what is larger is another system, not a boot loader.
const LIMIT_BYTES: u64 = 2 << 30;

impl Engine {
    /// What is known of an image outside its root filesystem.
    pub(super) fn elsewhere(&self, image: &ImageId) -> Result<Elsewhere, EngineError> {
        let key = format!("elsewhere.{image}");
        if let Some(known) = self.store.read(|tx| tx.setting(&key))? {
            return Ok(if known.is_empty() {
                Elsewhere::Free
            } else {
                Elsewhere::Named(known)
            });
        }
        let found = self.search_elsewhere(image)?;
        let text = match &found {
            Elsewhere::Free => "",
            Elsewhere::Named(why) => why,
            Elsewhere::NotSearched => return Ok(found),
        };
        self.store.write(|tx| tx.set_setting(&key, text))?;
        Ok(found)
    }

    fn search_elsewhere(&self, image: &ImageId) -> Result<Elsewhere, EngineError> {
        let path = self.pool.image_disk(image);
        let file = RawFile::open_read_only(&path).map_err(EngineError::io("open", &path))?;
        let disk: Arc<dyn BlockDevice> = Arc::new(file);
        let act = || EngineError::room("look for a boot loader of the image");
        let root = find_root(disk.clone()).map_err(act())?;
        let uuid = open_read(disk.clone())
            .map_err(act())?
            .uuid()
            .map_err(act())?
            .to_string();
        let upper = uuid.to_uppercase();
        let end = root.start_bytes + root.size_bytes;
        let rest = [(0, root.start_bytes), (end, disk.size_bytes() - end)];
        if rest.iter().map(|(_, size)| size).sum::<u64>() > LIMIT_BYTES {
            return Ok(Elsewhere::NotSearched);
        }
        for (start, size) in rest {
            let window =
                Window::new(disk.clone(), start, size).map_err(EngineError::io("read", &path))?;
            let found = residue(&window, &[uuid.as_bytes(), upper.as_bytes()])
                .map_err(EngineError::io("read", &path))?;
            if let Some(place) = found.first() {
                let at = start + place.offset;
                return Ok(Elsewhere::Named(format!(
                    "a boot loader at byte {at} of the disk names it"
                )));
            }
        }
        Ok(Elsewhere::Free)
    }
}
