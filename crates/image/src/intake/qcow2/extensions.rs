//! Header extensions (qcow2.txt, section "Header extensions"): an allow-list.
//!
//! Only the backing format (harmless without a backing file, which is refused) and the feature
//! name table (text for people) pass. What this file does *not* do: use any of them.

use super::super::error::Stop;
use super::super::refusal::{Refusal, printable};
use super::super::source::Source;
use super::header::be_u32;

const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const FEATURE_NAMES: u32 = 0x6803_f857;
const BITMAPS: u32 = 0x2385_2875;
const ENCRYPTION: u32 = 0x0537_be77;
const DATA_FILE: u32 = 0x4441_5441;

/// Walks the extensions from `start` until the end mark or the end of the first cluster.
pub fn check(source: &Source<'_>, start: u64, cluster_size: u64) -> Result<(), Stop> {
    // A small image may be shorter than its first cluster.
    let end = cluster_size.min(source.size_bytes());
    let mut area = vec![0; end.saturating_sub(start) as usize];
    source.read("the header extensions", start, &mut area)?;
    let mut rest = area.as_slice();
    let mut seen = Vec::new();
    while rest.len() >= 8 {
        let (id, length) = (be_u32(rest), be_u32(&rest[4..]) as usize);
        if id == END {
            return Ok(());
        }
        let padded = length.saturating_add(8).next_multiple_of(8);
        let Some(data) = rest.get(8..8usize.saturating_add(length)) else {
            return Err(Refusal::BadExtension { id }.into());
        };
        check_one(id, data)?;
        if seen.contains(&id) {
            return Err(Refusal::BadExtension { id }.into());
        }
        seen.push(id);
        rest = rest.get(padded..).unwrap_or(&[]);
    }
    Ok(())
}

fn check_one(id: u32, data: &[u8]) -> Result<(), Refusal> {
    match id {
        BACKING_FORMAT | FEATURE_NAMES => Ok(()),
        BITMAPS => Err(Refusal::Bitmaps),
        // 2 is the crypt_method of LUKS, to which this extension belongs.
        ENCRYPTION => Err(Refusal::Encrypted { method: 2 }),
        DATA_FILE => Err(named_file(data, |name| Refusal::DataFile { name })),
        _ => Err(Refusal::UnknownExtension { id }),
    }
}

/// The refusal of another file's name: a `json:` description has a reason of its own.
pub fn named_file(name: &[u8], plain: impl FnOnce(String) -> Refusal) -> Refusal {
    let shown = printable(name);
    if name.starts_with(b"json:") {
        Refusal::JsonName { name: shown }
    } else {
        plain(shown)
    }
}
