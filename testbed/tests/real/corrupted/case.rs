//! What is done with one damaged copy, and what must be true of the outcome.

use super::copy::Copy;
use super::damage::damage;
use stampo_core::ids::{GuestId, ImageId};
use stampo_core::network::Mac;
use stampo_core::personalisation::{Personalisation, User};
use stampo_guest::fs::check::{Verdict, e2fsck_clean};
use stampo_guest::fs::{FileKind, GuestRead, Owner, find_root, open_read, open_write};
use stampo_guest::inspect::inspect;
use stampo_guest::personalise::{Context, Elsewhere, GuestSecrets, personalise};
use stampo_guest::seal::proof::prove;
use stampo_guest::seal::{SealError, SealOptions, SealPlan, Selection, plan_disk, seal_disk};
use stampo_image::device::BlockDevice;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOW_S: i64 = 1_767_225_600;

/// One guest's disk, known by heart before it is damaged.
pub struct Patient {
    copy: Arc<Copy>,
    path: PathBuf,
    start_bytes: u64,
    /// Blocks in which the filesystem keeps its own structures.
    structures: Vec<u64>,
    /// Which file each block of content belongs to.
    owners: HashMap<u64, String>,
}

/// What is known of an entry without its content: it must stay, unless a change was planned.
type Census = BTreeMap<String, (FileKind, u32, u32, u32, u64, i64)>;

fn census(fs: &dyn GuestRead) -> Census {
    let mut census = Census::new();
    let mut rest = vec![String::new()];
    while let Some(directory) = rest.pop() {
        // What can't be listed is told by the proof; here only what can be counts.
        let listed = fs
            .read_dir_with_metadata(&format!("{directory}/"))
            .unwrap_or_default();
        for (entry, metadata) in listed {
            let (Ok(name), Ok(found)) = (String::from_utf8(entry.name), metadata) else {
                continue;
            };
            let path = format!("{directory}/{name}");
            let is_directory = found.kind == FileKind::Directory;
            // A directory's size and time follow from its entries.
            let (size, time) = if is_directory {
                (0, 0)
            } else {
                (found.size_bytes, found.mtime_s)
            };
            let facts = (found.kind, found.mode, found.uid, found.gid, size, time);
            let is_new = census.insert(path.clone(), facts).is_none();
            if is_directory && is_new && path.len() < 4096 {
                rest.push(path);
            }
        }
    }
    census
}

impl Patient {
    /// Learns the disk at `path`, a copy of `pristine`. Both are emptied of what is in the programs
    /// if they are to be `thin`: sealing searches all content for secrets, which takes most of the
    /// time, and nothing else here looks at it.
    pub fn learn(path: &Path, pristine: &Path, thin: bool) -> Patient {
        let copy = Arc::new(Copy::open(path, pristine));
        let disk: Arc<dyn BlockDevice> = Arc::clone(&copy) as Arc<dyn BlockDevice>;
        let start_bytes = find_root(Arc::clone(&disk)).expect("a guest").start_bytes;
        let mut structures = copy.read_by(|| {
            census(open_read(Arc::clone(&disk)).expect("a guest").as_ref());
        });
        structures.extend(copy.read_by(|| {
            let mut fs = open_write(Arc::clone(&disk)).expect("a guest");
            fs.write("/etc/learnt", b"x", Owner::root(0o644))
                .expect("a writable guest");
            fs.finish().expect("a writable guest");
        }));
        copy.restore();
        let fs = open_read(disk).expect("a guest");
        let mut owners = HashMap::new();
        for (path, (kind, ..)) in census(fs.as_ref()) {
            if kind == FileKind::File {
                // The second time the reader knows already where the content is.
                let read = || copy.read_by(|| drop(fs.read(&path, 1 << 30)));
                let (all, content) = (read(), read());
                structures.extend(all.difference(&content));
                owners.extend(content.into_iter().map(|block| (block, path.clone())));
            }
        }
        owners.retain(|block, _| !structures.contains(block));
        if thin {
            let programs = ["/usr/", "/boot/", "/var/cache/", "/var/lib/apt/"];
            let is_program = |path: &str| programs.iter().any(|start| path.starts_with(start));
            let of_programs = owners.iter().filter(|(_, path)| is_program(path));
            copy.empty(of_programs.map(|(block, _)| *block).collect());
        }
        let structures = structures.into_iter().collect();
        Patient {
            copy,
            path: path.to_owned(),
            start_bytes,
            structures,
            owners,
        }
    }

    /// Damages the copy, does everything with it and makes it whole again. The outcome in a few
    /// words; an error is a broken promise.
    pub fn treat(&self, seed: u64) -> Result<String, String> {
        let hit = damage(&self.copy, &self.structures, seed);
        let outcome = self.operate(&hit);
        self.copy.restore();
        outcome
    }

    fn disk(&self) -> Arc<dyn BlockDevice> {
        Arc::clone(&self.copy) as Arc<dyn BlockDevice>
    }

    fn operate(&self, hit: &BTreeSet<u64>) -> Result<String, String> {
        let selection = Selection::default();
        let inspected = inspect(self.disk());
        sensible(error_of(&inspected))?;
        let planned = plan_disk(self.disk(), &selection);
        sensible(error_of(&planned))?;
        if self.copy.has_writes_beside(hit) {
            return Err("looking at the disk wrote to it".into());
        }
        let before = open_read(self.disk())
            .map(|fs| census(fs.as_ref()))
            .unwrap_or_default();
        let content: BTreeMap<u64, Vec<u8>> = hit
            .iter()
            .map(|block| (*block, self.copy.now(*block)))
            .collect();
        let options = SealOptions { now_s: Some(NOW_S) };
        let sealed = seal_disk(self.disk(), &selection, &options);
        sensible(error_of(&sealed))?;
        match sealed {
            Err(error @ (SealError::Open(_) | SealError::Plan(_))) => {
                if self.copy.has_writes_beside(hit) {
                    return Err(format!("changed, though it said: {error}"));
                }
                self.personalise()?;
                Ok("refused untouched".into())
            }
            Err(error) => Ok(format!("refused: {error}")),
            Ok(outcome) if !outcome.residue.is_empty() => Ok("refused for residue".into()),
            Ok(outcome) => match e2fsck_clean(&self.path, self.start_bytes) {
                Ok(Verdict::Clean) => self.sealed(&before, &content, &outcome.plan),
                Ok(Verdict::Dirty(lines)) if lines.is_empty() => {
                    Err("refused without a reason".into())
                }
                Ok(Verdict::Dirty(_)) => Ok("refused by e2fsck".into()),
                Err(error) => sensible(Some(&error)).map(|()| "no verdict of e2fsck".into()),
            },
        }
    }

    /// The gate let it pass: then only what was planned has changed, and it can be cloned.
    fn sealed(
        &self,
        before: &Census,
        damaged: &BTreeMap<u64, Vec<u8>>,
        plan: &SealPlan,
    ) -> Result<String, String> {
        let fs = open_read(self.disk()).map_err(|error| format!("sealed, but: {error}"))?;
        let proof = prove(fs.as_ref(), "corrupted");
        let after = census(fs.as_ref());
        let planned: Vec<&str> = plan
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .collect();
        let is_planned = |path: &str| {
            planned.iter().any(|known| {
                path == *known
                    || path.starts_with(&format!("{known}/"))
                    || known.starts_with(&format!("{path}/"))
            })
        };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for path in names {
            if before.get(path) != after.get(path) && !is_planned(path) {
                return Err(format!(
                    "{path} was not planned: {:?} became {:?}",
                    before.get(path),
                    after.get(path)
                ));
            }
        }
        for block in self.copy.changed() {
            let owner = self.owners.get(&block).filter(|path| !is_planned(path));
            let by_us = damaged
                .get(&block)
                .is_none_or(|bytes| *bytes != self.copy.now(block));
            if let Some(path) = owner.filter(|_| by_us) {
                return Err(format!(
                    "block {block} of {path} was changed and not planned"
                ));
            }
        }
        match self.personalise()? {
            false => Ok("sealed, not cloned".into()),
            true => match e2fsck_clean(&self.path, self.start_bytes) {
                Ok(Verdict::Clean) => Ok(format!(
                    "sealed with {} findings, cloned",
                    proof.findings.len().min(1)
                )),
                other => Err(format!("the clone is broken: {other:?}")),
            },
        }
    }

    /// Whether the copy could be made a clone.
    fn personalise(&self) -> Result<bool, String> {
        let request = Personalisation {
            hostname: "copy".into(),
            users: vec![User {
                name: "app".into(),
                sudo: true,
                ..User::default()
            }],
            ..Personalisation::default()
        };
        let context = Context {
            guest: GuestId(uuid::Uuid::from_u128(7)),
            version: "web@1".into(),
            image: ImageId::from_bytes([7; 32]),
            nics: vec![Mac::from_random([0, 0, 0, 7])],
            grow_root: false,
            elsewhere: Elsewhere::NotSearched,
            now_s: NOW_S,
        };
        let mut fs = match open_write(self.disk()) {
            Ok(fs) => fs,
            Err(error) => return sensible(Some(&error)).map(|()| false),
        };
        let secrets = GuestSecrets::generate(&mut rand::rng()).expect("secrets");
        if let Err(error) = personalise(fs.as_mut(), &request, &secrets, &context) {
            return sensible(Some(&error)).map(|()| false);
        }
        match fs.finish() {
            Ok(()) => Ok(true),
            Err(error) => sensible(Some(&error)).map(|()| false),
        }
    }
}

/// An error says something, and nothing that only its programmer understands.
fn sensible(error: Option<&(dyn std::error::Error + 'static)>) -> Result<(), String> {
    let mut next = error;
    while let Some(error) = next {
        let text = error.to_string();
        let helps = !text.is_empty() && text.len() < 5000 && !text.contains("panicked");
        if !helps {
            return Err(format!("an error that helps nobody: {text:?}"));
        }
        next = error.source();
    }
    Ok(())
}

/// The error of a result, of whatever kind.
fn error_of<T, E: std::error::Error + 'static>(
    result: &Result<T, E>,
) -> Option<&(dyn std::error::Error + 'static)> {
    result.as_ref().err().map(|error| error as _)
}
