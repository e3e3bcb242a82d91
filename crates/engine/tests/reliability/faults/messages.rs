//! What a command that failed says: what it was doing, to which file, and what the system said.

use super::calls::Call;
use super::tracer::Traced;
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// How a sentence after "failed to" begins. A new one is added after it was read as a user would.
const VERBS: [&str; 36] = [
    "bring",
    "build",
    "capture",
    "copy",
    "deprecate",
    "edit",
    "examine",
    "flatten",
    "fsync",
    "grow",
    "keep",
    "list",
    "make",
    "measure",
    "mend",
    "move",
    "name",
    "open",
    "plan",
    "protect",
    "put",
    "record",
    "remove",
    "rename",
    "renew",
    "replace",
    "retire",
    "run",
    "seal",
    "set",
    "start",
    "sweep",
    "take",
    "tend",
    "use",
    "write",
];

/// What a disk that is full or bad makes the system say, or us for it.
const NO_ROOM: [&str; 4] = [
    "No space left on device",
    "no space or quota is left",
    "are free where",
    "database or disk is full",
];
const NO_QUOTA: [&str; 3] = [
    "Disk quota exceeded",
    "no space or quota is left",
    "database or disk is full",
];
const BAD: [&str; 1] = ["Input/output error"];
/// SQLite says no more than this of its own files, whatever the system said.
const SQLITE: [&str; 3] = [
    "disk I/O error",
    "unable to open database file",
    "database or disk is full",
];
/// The sandboxed reader can't say why it ended when it may not write.
const READER: &str = "the reader died";

/// Fails unless the child's error names the act, the file and the reason. The call met this error, or
/// was cut short.
pub fn check_message(traced: &Traced, errno: Option<Errno>, what: &str) -> Result<(), String> {
    let of_call = |call: &'_ Call| [Some(call.path.clone()), call.old_path.clone()];
    let paths: Vec<PathBuf> = traced.calls.iter().flat_map(of_call).flatten().collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let mut reasons = reasons(errno);
    if traced.calls.iter().any(Call::is_of_catalog) {
        reasons.extend(SQLITE);
    }
    check_words(&traced.said, what, &paths, &reasons)
}

/// What may be said of an error; of none, whatever a disk makes a program say.
pub fn reasons(errno: Option<Errno>) -> Vec<&'static str> {
    let mut reasons = vec![READER];
    match errno {
        Some(Errno::ENOSPC) => reasons.extend(NO_ROOM),
        Some(Errno::EDQUOT) => reasons.extend(NO_QUOTA),
        Some(_) => reasons.extend(BAD),
        None => reasons.extend(NO_ROOM.into_iter().chain(NO_QUOTA).chain(BAD)),
    }
    reasons
}

/// The same of words that are about one of these paths.
pub fn check_words(
    said: &str,
    what: &str,
    paths: &[&Path],
    reasons: &[&str],
) -> Result<(), String> {
    if said.contains("panicked") {
        return Err(format!("{what}: {said}"));
    }
    let error = said.lines().find_map(|line| line.strip_prefix("error: "));
    let Some(error) = error else {
        return Err(format!("{what}: it failed without an error: {said}"));
    };
    let lacks = |part: &str| Err(format!("{what}: the error names no {part}: {error}"));
    let verb = error.split([' ', ':']).next().unwrap_or_default();
    if !VERBS.contains(&verb) {
        return lacks("act");
    }
    // Refused before anything is written: the place is named, there is no file yet.
    let is_planned = error.contains("are free where guests are kept");
    if !is_planned && !paths.iter().any(|path| names(error, path)) {
        return lacks("file");
    }
    // A program's own words, as it was said what they are.
    let is_quoted = error.contains(" said: ");
    if !is_quoted && !reasons.iter().any(|reason| error.contains(reason)) {
        return lacks("reason");
    }
    Ok(())
}

/// Whether a text has the path, or a directory that it is in and that has a name of its own: the
/// one of a guest, an image, or unfinished work.
fn names(text: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("catalog.db") {
        return text.contains("catalog.db");
    }
    let is_room = |dir: &Path| {
        ["guests", "images", "staging", "home"]
            .iter()
            .any(|room| dir.ends_with(room))
    };
    let near = path.ancestors().skip(1).take_while(|dir| !is_room(dir));
    let parent = path.parent().into_iter();
    [path]
        .into_iter()
        .chain(parent)
        .chain(near)
        .any(|path| text.contains(&*path.to_string_lossy()))
}
