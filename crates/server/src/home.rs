//! Making sure that the home is ours alone before anything in it is believed.
//!
//! Whoever can put links into the home, or write to it, can make stampo read, write and remove
//! things elsewhere. So a home that belongs to somebody else, or that others may write to, is
//! refused, and so are links in the place of its directories.

use stampo_api::{Kind, Problem};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is in a home and must be a directory, never a link.
const DIRECTORIES: [&str; 5] = ["images", "guests", "staging", "trash", "downloads"];
/// What is in a home and must be a file, never a link.
const FILES: [&str; 3] = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];
/// Permission bits that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Checks a home that exists.
pub(crate) fn check(home: &Path) -> Result<(), Problem> {
    let me = rustix::process::geteuid().as_raw();
    let refuse = |path: &Path, why: &str| {
        let what = format!("use {} as home: {} {why}", home.display(), path.display());
        Err(Problem::new(Kind::Denied, what).hint("stampo --home DIR …, a directory of your own"))
    };
    let failed = |error: std::io::Error| {
        Problem::new(Kind::Failed, format!("examine {}: {error}", home.display()))
    };
    let meta = std::fs::metadata(home).map_err(failed)?;
    if meta.uid() != me {
        return refuse(home, "belongs to another user");
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        return refuse(home, "may be written by others");
    }
    for (names, is_directory) in [(DIRECTORIES.as_slice(), true), (FILES.as_slice(), false)] {
        for name in names {
            let path = home.join(name);
            let Ok(meta) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() != is_directory || meta.is_symlink() {
                return refuse(&path, "is not what stampo made there");
            }
            if meta.uid() != me {
                return refuse(&path, "belongs to another user");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn links_and_open_homes_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir_all(home.join("images")).expect("made");
        std::fs::create_dir(&elsewhere).expect("made");
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).expect("set");
        assert!(check(&home).is_ok());
        symlink(&elsewhere, home.join("trash")).expect("linked");
        assert!(check(&home).expect_err("a link").message.contains("trash"));
        std::fs::remove_file(home.join("trash")).expect("removed");
        symlink(&elsewhere, home.join("catalog.db")).expect("linked");
        assert!(check(&home).is_err());
        std::fs::remove_file(home.join("catalog.db")).expect("removed");
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o777)).expect("set");
        assert!(
            check(&home)
                .expect_err("open")
                .message
                .contains("written by others")
        );
    }
}
