//! Bytes of the secrets that a plan takes away, to look for on the whole disk afterwards.
//!
//! `rm` leaves a file's bytes in free blocks, in the journal and in stale copies. A few short
//! samples of each secret, taken before it goes, are enough to notice any block of it that stayed.
//!
//! Samples come from what is particular to the secret: no comments, no PEM armour, and of files
//! that are rewritten only the lines that go. Each lies inside one kilobyte of its file, so that
//! a fragmented file does not tear it apart.

use super::plan::{Change, SealPlan, State, Step};
use crate::fs::{FileKind, FsError, GuestRead, MAX_DEPTH};

/// The length of a sample; shorter secrets are sampled whole.
pub const NEEDLE_BYTES: usize = 32;
/// A shorter text is found by chance, or is no secret.
const SHORTEST_BYTES: usize = 12;
/// Fewer different bytes are padding, not a secret.
const FEWEST_DIFFERENT: usize = 8;
/// Samples of one file.
const PER_FILE: usize = 3;
/// Files that are larger are sampled by no one: nothing that is an id or a key is.
const LARGEST_FILE_BYTES: u64 = 4 << 20;
/// Most samples of one plan.
const MOST: usize = 4096;
/// A sample never crosses a multiple of this offset in its file; the smallest block of ext4.
const BLOCK_BYTES: usize = 1024;

/// A sample of one secret. Its bytes are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Needle {
    /// The row that takes the secret away.
    pub item: &'static str,
    /// Where the secret was.
    pub path: String,
    /// The sample.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Needle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Needle({} of {}, {} bytes)",
            self.item,
            self.path,
            self.bytes.len()
        )
    }
}

/// Samples of every secret that `plan` takes away; to be called before the plan is applied.
pub fn needles(reader: &dyn GuestRead, plan: &SealPlan) -> Result<Vec<Needle>, FsError> {
    let mut all: Vec<Needle> = Vec::new();
    for change in plan.changes.iter().filter(|change| change.secret) {
        for path in files(reader, change)? {
            if all.len() >= MOST {
                return Ok(all);
            }
            let Some(content) = content(reader, &path)? else {
                continue;
            };
            for bytes in samples(&content, stays(change)) {
                if !all.iter().any(|needle| needle.bytes == bytes) {
                    all.push(Needle {
                        item: change.item,
                        path: path.clone(),
                        bytes,
                    });
                }
            }
        }
    }
    Ok(all)
}

/// The regular files that a change takes away or rewrites.
fn files(reader: &dyn GuestRead, change: &Change) -> Result<Vec<String>, FsError> {
    match change.before {
        State::File { .. } => Ok(vec![change.path.clone()]),
        State::Directory { .. } => below(reader, &change.path),
        _ => Ok(Vec::new()),
    }
}

/// Every regular file below a directory that pattern matching has seen already.
fn below(reader: &dyn GuestRead, directory: &str) -> Result<Vec<String>, FsError> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in reader.read_dir(&directory)? {
            let Ok(name) = String::from_utf8(entry.name) else {
                continue;
            };
            let path = format!("{directory}/{name}");
            match entry.kind {
                FileKind::File => files.push(path),
                FileKind::Directory if path.matches('/').count() < MAX_DEPTH => open.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// How lines begin that hold nothing of a secret: comments, PEM armour, and the fields of debconf's
/// databases that name a question. Those names stand in other files of every Debian.
const ARMOUR: [&[u8]; 6] = [
    b"#",
    b"-----",
    b"Name: ",
    b"Template: ",
    b"Owners: ",
    b"Flags: ",
];

/// A file's content, unless it is too large.
fn content(reader: &dyn GuestRead, path: &str) -> Result<Option<Vec<u8>>, FsError> {
    match reader.read(path, LARGEST_FILE_BYTES) {
        Ok(content) => Ok(Some(content)),
        Err(FsError::Unsuitable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a change leaves in the file.
fn stays(change: &Change) -> &[u8] {
    match &change.step {
        Step::Write(content, _) => &content.0,
        _ => &[],
    }
}

/// Up to [`PER_FILE`] samples: of the middle, of three quarters, and of the end of what goes.
fn samples(content: &[u8], stays: &[u8]) -> Vec<Vec<u8>> {
    let kept: std::collections::HashSet<&[u8]> = stays.split(|byte| *byte == b'\n').collect();
    let mut candidates: Vec<&[u8]> = Vec::new();
    let mut at = 0;
    for line in content.split(|byte| *byte == b'\n') {
        let armour = ARMOUR.iter().any(|start| line.starts_with(start)) || kept.contains(line);
        if !armour {
            pieces(content, at, at + line.len(), &mut candidates);
        }
        at += line.len() + 1;
    }
    let count = candidates.len();
    let mut chosen: Vec<usize> = vec![count / 2, count * 3 / 4, count.saturating_sub(1)];
    chosen.dedup();
    chosen.truncate(PER_FILE);
    chosen
        .into_iter()
        .filter_map(|index| candidates.get(index))
        .map(|piece| piece.to_vec())
        .collect()
}

/// The end of each kilobyte of a line, where it is long and varied enough.
fn pieces<'a>(content: &'a [u8], from: usize, to: usize, into: &mut Vec<&'a [u8]>) {
    let mut start = from;
    while start < to {
        let end = to.min((start / BLOCK_BYTES + 1) * BLOCK_BYTES);
        let piece = &content[end.saturating_sub(NEEDLE_BYTES).max(start)..end];
        let mut seen = [false; 256];
        piece.iter().for_each(|byte| seen[*byte as usize] = true);
        let different = seen.iter().filter(|seen| **seen).count();
        if piece.len() >= SHORTEST_BYTES && different >= FEWEST_DIFFERENT {
            into.push(piece);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;
    use crate::seal::{Selection, plan};

    #[test]
    fn what_is_common_to_all_such_files_is_no_sample() {
        let iqn = b"## DO NOT EDIT OR REMOVE THIS FILE!\nInitiatorName=iqn.1993-08.org.debian:01:1ff5fe7b1fe0\n";
        assert_eq!(
            samples(iqn, b""),
            [b"1993-08.org.debian:01:1ff5fe7b1fe0"[2..].to_vec()]
        );
        let debconf = b"Name: shim/secureboot_key\nTemplate: shim/secureboot_key\nOwners: shim\n";
        assert!(
            samples(debconf, b"").is_empty(),
            "names of questions are no secret"
        );
        let pem = b"-----BEGIN KEY-----\nAAAAB3NzaC1yc2EAAAADAQABAAABgQC7\n-----END KEY-----\n";
        assert_eq!(
            samples(pem, b""),
            [b"AAAAB3NzaC1yc2EAAAADAQABAAABgQC7".to_vec()]
        );
        assert!(samples(&[0; 4096], b"").is_empty(), "padding is no secret");
    }

    #[test]
    fn of_a_rewritten_file_only_what_goes() {
        let before = b"root:$6$salt$abcdefghijklmnop:1\nann:$6$salt$qrstuvwxyzabcdef:1\n";
        let after = b"root:*:1\nann:$6$salt$qrstuvwxyzabcdef:1\n";
        let samples = samples(before, after);
        assert_eq!(samples, [b"root:$6$salt$abcdefghijklmnop:1".to_vec()]);
    }

    #[test]
    fn samples_lie_inside_one_block_of_their_file() {
        let mut line = vec![b'x'; 1010];
        line.extend((0u8..=255).cycle().filter(|b| *b != b'\n').take(3000));
        for sample in samples(&line, b"") {
            let at = line
                .windows(sample.len())
                .position(|w| w == sample)
                .expect("it is from there");
            assert_eq!(at / BLOCK_BYTES, (at + sample.len() - 1) / BLOCK_BYTES);
        }
    }

    #[test]
    fn trees_and_files_of_a_plan_are_sampled_and_logs_are_not() {
        let tree = TreeFixture::new()
            .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
            .file(
                "/var/lib/puppet/ssl/private_keys/web.pem",
                "MIIEpAIBAAKCAQEAx0123456789abcdefgh",
            )
            .file("/var/log/syslog", "a line that is long enough to be one");
        let plan = plan(&tree, &Selection::default()).expect("readable");
        let needles = needles(&tree, &plan).expect("readable");
        let items: Vec<&str> = needles.iter().map(|needle| needle.item).collect();
        assert_eq!(items, ["machine-id", "puppet"]);
        assert!(!format!("{needles:?}").contains("0123456789abcdef"));
    }
}
