//! From a recipe file to a complete recipe: syntax, unknown keys, files of the host, defaults.
//!
//! Files that a recipe names are read here and nowhere else. They must lie inside the recipe's
//! directory, also after symbolic links are followed: a recipe that came from somebody else
//! can't put this host's secrets into an image.

use crate::lock::{LockError, PackageLock};
use crate::recipe::{FileSource, Recipe, RecipeFile, SysctlValue};
use crate::validate::RecipeError;
use stampo_core::personalisation::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

/// The most that one file may hold, and all of a recipe together.
const FILES_LIMIT_BYTES: u64 = 256 << 20;

/// Why a recipe can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("read the recipe, line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What is wrong, and the nearest known key where one is near.
        message: String,
    },
    /// A file of the host.
    #[error("read {path:?} for the recipe")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source path that leaves the recipe's directory, or that is no file.
    #[error("copy {path:?} into the image: {why}")]
    Source {
        /// As written.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The package lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A value that can't be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// A recipe file with everything read that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// As written. What a child recipe (`from`) left out is told from what it set.
    pub written: RecipeFile,
    /// Complete and checked. With `from` it still lacks the parent: see [`crate::inherit()`].
    pub recipe: Recipe,
}

impl RecipeFile {
    /// Reads the text of a recipe.
    pub fn from_toml(text: &str) -> Result<Self, LoadError> {
        toml::from_str(text).map_err(|error| syntax(text, &error))
    }
}

impl Loaded {
    /// Reads the recipe at `path` and every file that it names.
    pub fn from_path(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Loaded::from_toml(&text, dir.unwrap_or(Path::new(".")))
    }

    /// Reads the text of a recipe; the files that it names are relative to `dir`.
    pub fn from_toml(text: &str, dir: &Path) -> Result<Self, LoadError> {
        let written = RecipeFile::from_toml(text)?;
        let recipe = complete(&written, dir)?;
        recipe.check()?;
        Ok(Loaded { written, recipe })
    }
}

/// The line of an error and its text, with a hint where an unknown key is near a known one.
fn syntax(text: &str, error: &toml::de::Error) -> LoadError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    LoadError::Syntax {
        line,
        message: with_hint(error.message()),
    }
}

/// serde lists every known key after an unknown one; people want the one that they meant.
fn with_hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let (true, Some(wrong)) = (unknown, quoted.next()) else {
        return message.lines().next().unwrap_or_default().to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let kind = if message.starts_with("unknown field") {
        "key"
    } else {
        "value"
    };
    let near = known
        .iter()
        .map(|key| (nearness(wrong, key), key))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((score, key)) if score > 0.75 => {
            format!("there is no {kind} {wrong:?}: did you mean {key:?}?")
        }
        _ => format!(
            "there is no {kind} {wrong:?}: the {kind}s here are {}",
            known.join(", ")
        ),
    }
}

/// From 0 to 1: how likely one key was meant by the other. A key whose words are all in the other
/// (`ssh_keys` for `ssh_authorized_keys`) is near, however long the rest is.
fn nearness(wrong: &str, key: &str) -> f64 {
    let subset = wrong
        .split(['_', '-'])
        .all(|word| !word.is_empty() && key.split('_').any(|k| k == word));
    strsim::jaro_winkler(wrong, key).max(if subset { 0.9 } else { 0.0 })
}

/// Fills in the defaults and reads what the file names.
fn complete(file: &RecipeFile, dir: &Path) -> Result<Recipe, LoadError> {
    let default = Recipe::default();
    let lock = file
        .lock
        .as_ref()
        .map(|path| read_lock(dir, path))
        .transpose()?;
    let text = |value: &SysctlValue| match value {
        SysctlValue::Number(number) => number.to_string(),
        SysctlValue::Text(text) => text.clone(),
    };
    Ok(Recipe {
        description: file.description.clone(),
        labels: file.labels.clone(),
        from: file.from.clone(),
        release: file.release.clone().unwrap_or(default.release),
        components: file.components.clone().unwrap_or(default.components),
        mirror: file.mirror.clone(),
        sources: file.sources.clone(),
        snapshot: file.snapshot.clone(),
        source_date_epoch: file.source_date_epoch,
        lock,
        packages: file.packages.clone(),
        recommends: file.recommends.unwrap_or(default.recommends),
        slim: file.slim.unwrap_or(default.slim),
        kernel: file.kernel.clone().unwrap_or(default.kernel),
        kernel_command_line: file
            .kernel_command_line
            .clone()
            .unwrap_or(default.kernel_command_line),
        cloud_init: file.cloud_init.unwrap_or(default.cloud_init),
        guest_agent: file.guest_agent.unwrap_or(default.guest_agent),
        ssh_server: file.ssh_server.unwrap_or(default.ssh_server),
        locale: file.locale.clone().unwrap_or(default.locale),
        time_zone: file.time_zone.clone().unwrap_or(default.time_zone),
        disk: file.disk.clone().unwrap_or(default.disk),
        hardware: file.hardware.clone().unwrap_or(default.hardware),
        services: file.services.clone(),
        sysctl: file
            .sysctl
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
        files: read_files(&file.files, dir)?,
        users: file.users.clone(),
    })
}

fn read_lock(dir: &Path, path: &Path) -> Result<PackageLock, LoadError> {
    let place = inside(dir, path)?;
    let mut left = FILES_LIMIT_BYTES;
    let text = String::from_utf8(read_limited(&place, &mut left)?)
        .map_err(|_| LockError::Syntax("it is not text".to_owned()))?;
    Ok(PackageLock::from_toml(&text)?)
}

fn read_files(sources: &[FileSource], dir: &Path) -> Result<Vec<File>, LoadError> {
    let mut files = Vec::new();
    let mut left = FILES_LIMIT_BYTES;
    for source in sources {
        let wrong = |key, why| RecipeError::Value {
            key,
            value: source.path.clone(),
            why,
        };
        match (&source.source, &source.content) {
            (Some(path), None) => {
                let place = inside(dir, path)?;
                collect(&place, &source.path, source, &mut left, &mut files)?;
            }
            (None, Some(content)) => {
                let content = content.clone().into_bytes();
                files.push(file(source, source.path.clone(), content, 0o644)?);
            }
            (Some(_), Some(_)) => {
                return Err(wrong("files", "give either source or content, not both").into());
            }
            (None, None) => return Err(wrong("files", "give source or content").into()),
        }
    }
    Ok(files)
}

/// The real path of `path` below `dir`; an error when it is anywhere else.
fn inside(dir: &Path, path: &Path) -> Result<PathBuf, LoadError> {
    let refuse = |why| LoadError::Source {
        path: path.to_owned(),
        why,
    };
    if path
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(refuse("write a path relative to the recipe, without '..'"));
    }
    let real = |path: &Path| {
        path.canonicalize().map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let (root, place) = (real(dir)?, real(&dir.join(path))?);
    if place.starts_with(&root) {
        Ok(place)
    } else {
        Err(refuse("it leads out of the recipe's directory"))
    }
}

/// One file, or every file below a directory, in the order of their names.
fn collect(
    place: &Path,
    target: &str,
    source: &FileSource,
    left: &mut u64,
    files: &mut Vec<File>,
) -> Result<(), LoadError> {
    let read_error = |error| LoadError::Read {
        path: place.to_owned(),
        source: error,
    };
    let kind = std::fs::symlink_metadata(place).map_err(read_error)?;
    if kind.is_dir() {
        let entries = std::fs::read_dir(place).map_err(read_error)?;
        let mut names: Vec<PathBuf> = entries
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(read_error)?;
        names.sort();
        for child in names {
            let name = child
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(|| LoadError::Source {
                    path: child.clone(),
                    why: "its name is not UTF-8",
                })?;
            let target = format!("{}/{name}", target.trim_end_matches('/'));
            collect(&child, &target, source, left, files)?;
        }
        return Ok(());
    }
    if !kind.is_file() {
        let why =
            "it is neither a file nor a directory (links inside a directory are not followed)";
        return Err(LoadError::Source {
            path: place.to_owned(),
            why,
        });
    }
    let mode = if kind.permissions().mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    };
    files.push(file(
        source,
        target.to_owned(),
        read_limited(place, left)?,
        mode,
    )?);
    Ok(())
}

/// The content of a file; `left` goes down by its size.
fn read_limited(path: &Path, left: &mut u64) -> Result<Vec<u8>, LoadError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        std::fs::File::open(path)?
            .take(*left + 1)
            .read_to_end(&mut content)?;
        Ok(content)
    };
    let content = read().map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    *left = left
        .checked_sub(content.len() as u64)
        .ok_or_else(|| LoadError::Source {
            path: path.to_owned(),
            why: "the files of a recipe may hold 256 MiB together; make a package of more",
        })?;
    Ok(content)
}

fn file(source: &FileSource, path: String, content: Vec<u8>, mode: u32) -> Result<File, LoadError> {
    let root = || "root".to_owned();
    let mode = match &source.mode {
        None => mode,
        Some(text) => u32::from_str_radix(text, 8).map_err(|_| RecipeError::Value {
            key: "files.mode",
            value: text.clone(),
            why: "write permission bits in octal, as in \"0640\"",
        })?,
    };
    Ok(File {
        path,
        content,
        mode,
        owner: source.owner.clone().unwrap_or_else(root),
        group: source.group.clone().unwrap_or_else(root),
    })
}
