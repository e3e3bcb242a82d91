//! Everything that the checks may ask about, read from a disk once.
//!
//! It joins what `stampo-guest` tells (the inspection and the seal proof) with what only policies
//! want to know: sizes, owners and rights of single entries ([`entries`]) and a few more files
//! ([`files`]). It can be kept as JSON and judged again later without the disk. It holds no secret.
//! What could not be read is in it by name: a check that needed it is unknown.

pub mod entries;
pub mod files;

use crate::evidence::entries::{Entries, Notice};
use crate::evidence::files::Files;
use serde::{Deserialize, Serialize};
use stampo_guest::fs::{Ext4Reader, FsError, GuestRead, Space, find_root, space};
use stampo_guest::inspect::look::Look;
use stampo_guest::inspect::{Inspection, inspect_tree_with};
use stampo_guest::seal::proof::{Exception, Proof, prove, text_matches};
use stampo_image::device::BlockDevice;
use std::sync::Arc;

/// Grows with each change of what is kept.
pub const SCHEMA: u32 = 1;

/// A finding of the seal proof that was accepted for this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The id of the finding; `*` stands for any text.
    pub finding: String,
    /// The path; `None` for every path.
    pub path: Option<String>,
    /// Why.
    pub reason: String,
}

/// What the imported indexes of security updates say about a guest's packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityUpdates {
    /// The updates that there are.
    pub missing: Vec<MissingUpdate>,
    /// Why there may be more; empty when every package was compared.
    pub unknown: Vec<String>,
}

/// A package for which there is a security update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingUpdate {
    /// The package.
    pub package: String,
    /// The version that is installed.
    pub installed: String,
    /// The version that there is.
    pub available: String,
}

/// What a disk tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`SCHEMA`] when it was gathered.
    pub schema: u32,
    /// What the guest is.
    pub inspection: Inspection,
    /// Identity and secrets in it.
    pub proof: Proof,
    /// The space of the root filesystem; `None` for a bare tree.
    pub space: Option<Space>,
    /// Single entries of the tree.
    pub entries: Entries,
    /// More files.
    pub files: Files,
    /// What could not be read besides the inspection's unknowns.
    pub unknowns: Vec<String>,
    /// Findings of the seal proof that were accepted.
    #[serde(default)]
    pub accepted: Vec<Accepted>,
    /// What no disk tells: which security updates its packages lack. `None` where no index was
    /// imported when it was gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<SecurityUpdates>,
}

/// Reads everything from a disk: its first Linux system, and the disk around it.
///
/// # Errors
/// When there is no system that can be read. A damaged file or directory is no error: it is in
/// the evidence as unknown.
pub fn gather(disk: Arc<dyn BlockDevice>) -> Result<Evidence, FsError> {
    let root = find_root(Arc::clone(&disk))?;
    let open = || Ext4Reader::open(Arc::clone(&root.device));
    let (proof_fs, fs) = (open()?, open()?);
    // The two halves read about as long, and neither needs the other.
    let (proof, evidence) = std::thread::scope(|scope| {
        let proof = scope.spawn(|| prove(proof_fs.as_ref(), READER));
        let mut evidence = gather_but_proof(fs.as_ref());
        match space(Arc::clone(&root.device)) {
            Ok(found) => evidence.space = Some(found),
            Err(error) => evidence.unknowns.push(format!("space: failed to {error}")),
        }
        (proof.join(), evidence)
    });
    let mut evidence = evidence;
    match proof {
        Ok(proof) => evidence.proof = proof,
        Err(panic) => std::panic::resume_unwind(panic),
    }
    evidence.inspection.add_disk(&disk, root.number)?;
    Ok(evidence)
}

/// What reads the tree for the proof.
const READER: &str = "stampo ext4 reader";

/// Reads everything from a bare tree of files.
pub fn gather_tree(fs: &dyn GuestRead) -> Evidence {
    Evidence {
        proof: prove(fs, READER),
        ..gather_but_proof(fs)
    }
}

fn gather_but_proof(fs: &dyn GuestRead) -> Evidence {
    let mut notice = Notice::default();
    let inspection = inspect_tree_with(fs, &mut |found| notice.entry(found));
    let mut look = Look::new(fs);
    let files = Files::read(&mut look, &inspection.kernels);
    Evidence {
        schema: SCHEMA,
        inspection,
        proof: Proof {
            reader: READER.to_owned(),
            edition: stampo_guest::seal::proof::EDITION,
            findings: Vec::new(),
            checked: Vec::new(),
            unknown: Vec::new(),
        },
        space: None,
        entries: notice.finish(),
        files,
        unknowns: look.into_unknowns(),
        accepted: Vec::new(),
        updates: None,
    }
}

impl Evidence {
    /// Takes over what was accepted for the version.
    pub fn accept(&mut self, exceptions: &[Exception]) {
        let accepted = |exception: &Exception| Accepted {
            finding: exception.finding().to_owned(),
            path: exception.path().map(str::to_owned),
            reason: exception.reason().to_owned(),
        };
        self.accepted = exceptions.iter().map(accepted).collect();
    }

    pub(crate) fn accepted_reason(&self, id: &str, path: &str) -> Option<String> {
        let applies = |accepted: &&Accepted| {
            let of_path = accepted.path.as_deref();
            text_matches(&accepted.finding, id) && of_path.is_none_or(|p| text_matches(p, path))
        };
        let found = self.accepted.iter().find(applies);
        found.map(|accepted| accepted.reason.clone())
    }

    /// BLAKE3 over the evidence as JSON, in hexadecimal.
    pub fn digest(&self) -> String {
        digest(self)
    }

    /// What could not be read of these paths and topics; see [`crate::Check::reads`].
    pub(crate) fn unknown_about(&self, reads: &[&str]) -> Vec<String> {
        let all = self.inspection.unknowns.iter().chain(&self.unknowns);
        let concerns = |line: &&String| reads.iter().any(|read| concerns(line, read));
        all.filter(concerns).cloned().collect()
    }

    /// What could not be read of anything.
    pub fn all_unknown(&self) -> Vec<String> {
        let all = self.inspection.unknowns.iter().chain(&self.unknowns);
        all.cloned().collect()
    }
}

/// BLAKE3 over `value` as compact JSON. Everything that is digested keeps its maps in order.
pub fn digest<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_vec(value).expect("plain values always become JSON");
    blake3::hash(&json).to_hex().to_string()
}

/// Whether what `line` says could not be read is, holds, or is held by `read`.
fn concerns(line: &str, read: &str) -> bool {
    // The list of unknowns was cut: it may have been anything.
    if line == "more could not be read" {
        return true;
    }
    let subject = line.split(": ").next().unwrap_or(line);
    match (read, subject.starts_with('/')) {
        ("*", true) => true,
        // FAT knows no owners, rights or special files: what asks about the whole tree asks of those.
        ("*", false) => line.starts_with("partition ") && !line.contains("(vfat)"),
        (read, true) => is_inside(subject, read) || is_inside(read, subject),
        (read, false) => subject == read,
    }
}

/// Whether `path` is `directory` or below it.
fn is_inside(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_file_concerns_what_holds_it_and_what_it_holds() {
        let line = "/etc/ssh: failed to read it";
        for read in ["/etc/ssh", "/etc/ssh/sshd_config", "/etc", "*"] {
            assert!(concerns(line, read), "{read}");
        }
        for read in ["/etc/sshd", "/etc/passwd", "packages", "/usr"] {
            assert!(!concerns(line, read), "{read}");
        }
        assert!(concerns("packages: the database can't be read", "packages"));
        assert!(concerns(
            "partition 2: its files (xfs) were not looked into",
            "*"
        ));
        assert!(!concerns(
            "partition 3: its files (vfat) were not looked into",
            "*"
        ));
        assert!(concerns("more could not be read", "/etc/passwd"));
    }
}
