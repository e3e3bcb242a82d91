//! A package's header as RPM keeps it in its database.
//!
//! Two big-endian numbers (how many entries, how many bytes of data), then entries of 16 bytes
//! (tag, type, offset, count), then the data; see "Package File Format" in RPM's manual. Every
//! number is checked before it is used. Only texts and 32-bit numbers are looked at; signatures
//! and digests are not: the disk is not trusted, and its own digests would prove nothing.

/// Most entries of a header, as RPM itself allows.
const MAX_ENTRIES: usize = 0xffff;
/// Bytes of one entry.
const ENTRY_BYTES: usize = 16;

/// The number of a value in a header (`rpmtag.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The package's name.
    Name = 1000,
    /// Its version.
    Version = 1001,
    /// Its release.
    Release = 1002,
    /// Its epoch.
    Epoch = 1003,
    /// Its architecture.
    Arch = 1022,
    /// The file name of the source package.
    SourceRpm = 1044,
}

const TYPE_INT32: u32 = 4;
const TYPE_STRING: u32 = 6;

/// Why a header makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Its counts do not fit its length.
    #[error("read a header of {0} bytes: its counts do not fit")]
    Counts(usize),
    /// A value lies outside of it.
    #[error("read value {0} of a header: it lies outside")]
    Outside(u32),
    /// A value that every package has is missing.
    #[error("read a header: it has no {0:?}")]
    Missing(Tag),
}

/// A header whose counts fit its length.
#[derive(Debug, Clone, Copy)]
pub struct Header<'b> {
    entries: &'b [u8],
    data: &'b [u8],
}

impl<'b> Header<'b> {
    /// Checks the counts.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn new(blob: &'b [u8]) -> Result<Header<'b>, HeaderError> {
        let bad = HeaderError::Counts(blob.len());
        let count = number(blob, 0).ok_or(bad)? as usize;
        let data_bytes = number(blob, 4).ok_or(bad)? as usize;
        if count > MAX_ENTRIES {
            return Err(bad);
        }
        let rest = blob.get(8..).ok_or(bad)?;
        let (entries, data) = rest.split_at_checked(count * ENTRY_BYTES).ok_or(bad)?;
        if data.len() != data_bytes {
            return Err(bad);
        }
        Ok(Header { entries, data })
    }

    /// A text; `None` when there is none.
    ///
    /// # Errors
    /// When it lies outside of the header.
    pub fn text(&self, tag: Tag) -> Result<Option<String>, HeaderError> {
        let Some(offset) = self.offset(tag, TYPE_STRING) else {
            return Ok(None);
        };
        let outside = HeaderError::Outside(tag as u32);
        let from = self.data.get(offset..).ok_or(outside)?;
        let end = from.iter().position(|byte| *byte == 0).ok_or(outside)?;
        Ok(Some(String::from_utf8_lossy(&from[..end]).into_owned()))
    }

    /// A number; `None` when there is none.
    ///
    /// # Errors
    /// When it lies outside of the header.
    pub fn number(&self, tag: Tag) -> Result<Option<u32>, HeaderError> {
        let Some(offset) = self.offset(tag, TYPE_INT32) else {
            return Ok(None);
        };
        let found = number(self.data, offset).ok_or(HeaderError::Outside(tag as u32))?;
        Ok(Some(found))
    }

    /// Where the value of this tag and type begins.
    fn offset(&self, tag: Tag, kind: u32) -> Option<usize> {
        let mut entries = self.entries.chunks_exact(ENTRY_BYTES);
        let entry = entries.find(|entry| {
            let is = |at, wanted| number(entry, at) == Some(wanted);
            is(0, tag as u32) && is(4, kind) && number(entry, 12).is_some_and(|count| count > 0)
        })?;
        number(entry, 8).map(|offset| offset as usize)
    }
}

/// A big-endian number of 32 bits.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(raw.try_into().ok()?))
}
