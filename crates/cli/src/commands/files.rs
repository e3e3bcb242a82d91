//! `cp`: one file, between the host and a guest.

use super::Session;
use crate::args::CpArgs;
use stampo_api::{Kind, Problem, Reply};
use stampo_core::names::GuestName;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One side of a copy.
enum Side {
    Host(PathBuf),
    Guest(GuestName, String),
}

fn side(text: &str) -> Reply<Side> {
    match text.split_once(":/") {
        Some((name, path)) if !name.contains('/') => {
            let name = name
                .parse()
                .map_err(|error| Problem::from_error(Kind::Usage, &error))?;
            Ok(Side::Guest(name, format!("/{path}")))
        }
        _ => Ok(Side::Host(PathBuf::from(text))),
    }
}

/// `cp`.
pub fn cp(session: &Session, args: &CpArgs) -> Result<ExitCode, Problem> {
    match (side(&args.from)?, side(&args.to)?) {
        (Side::Guest(guest, path), Side::Host(to)) => {
            let content = session.api.read_file(&guest, &path)?;
            write_host(&host_target(&to, &path), &content)?;
        }
        (Side::Host(from), Side::Guest(guest, path)) => {
            let content = crate::spec::read(&from)?;
            session.api.write_file(&guest, &path, &content)?;
        }
        _ => {
            let what = "copy: write one side as GUEST:/path, the other as a file of this host";
            return Err(Problem::new(Kind::Usage, what));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Into a directory the file keeps its name. The name comes from our user, never from the guest.
fn host_target(to: &Path, guest_path: &str) -> PathBuf {
    match Path::new(guest_path).file_name() {
        Some(name) if to.is_dir() => to.join(name),
        _ => to.to_owned(),
    }
}

fn write_host(path: &Path, content: &[u8]) -> Reply<()> {
    // Content of a guest may be a secret, and must not become executable by accident.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(content))
        .map_err(|error| Problem::new(Kind::Failed, format!("write {}: {error}", path.display())))
}
