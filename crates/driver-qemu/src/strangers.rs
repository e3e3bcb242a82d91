//! QEMU processes of this host that belong to no guest of this home.
//!
//! They are found among all processes by the name of their program, and ours are told from them by the
//! directory that they were started in. What they have open is read from `/proc/PID/fd` (proc(5)):
//! nothing of their disks is parsed.

use crate::process::{ProcessName, is_gone};
use stampo_driver::{Foreign, ForeignFile};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How QEMU's programs are called: by its own name, and by those of Red Hat and of Proxmox.
const PROGRAMS: [&str; 3] = ["qemu-system-", "qemu-kvm", "kvm"];
/// Where files are that are no disks: firmware, and what is no file at all.
const NO_DISKS: [&str; 4] = ["/usr/", "/dev/", "/proc/", "/memfd:"];

/// All of them.
pub(crate) fn find(guests: &Path) -> io::Result<Vec<Foreign>> {
    let guests = fs::canonicalize(guests)?;
    let home = guests.parent().unwrap_or(&guests);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match look_at(pid, home) {
            Err(error) if is_gone(&error) => {}
            stranger => found.extend(stranger?),
        }
    }
    found.sort_by_key(|foreign| foreign.pid);
    Ok(found)
}

fn look_at(pid: u32, home: &Path) -> io::Result<Option<Foreign>> {
    let Some(process) = ProcessName::of(pid)? else {
        return Ok(None);
    };
    let arguments = process.arguments()?;
    let program = Path::new(arguments.first().map_or("", String::as_str)).file_name();
    let program = program.unwrap_or_default().to_string_lossy();
    let is_machine = |name: &str| match name.ends_with('-') {
        true => program.starts_with(name),
        false => program == name,
    };
    if !PROGRAMS.into_iter().any(is_machine) || !arguments.iter().any(|a| a.starts_with('-')) {
        return Ok(None);
    }
    let of_process = Path::new("/proc").join(pid.to_string());
    let is_ours = match fs::read_link(of_process.join("cwd")) {
        Ok(started_in) => started_in.starts_with(home),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
        Err(error) => return Err(error),
    };
    // Probes of what QEMU can do have no machine.
    let has_none = arguments.windows(2).any(|pair| {
        matches!(pair[0].as_str(), "-machine" | "-M") && pair[1].split(',').next() == Some("none")
    });
    if is_ours || has_none {
        return Ok(None);
    }
    Ok(Some(Foreign {
        name: name_in(&arguments),
        pid,
        files: files_of(&of_process)?,
    }))
}

/// What `-name` says: `NAME`, or `guest=NAME` among other things.
fn name_in(arguments: &[String]) -> String {
    let named = arguments.windows(2).find(|pair| pair[0] == "-name");
    let text = named.map_or("", |pair| pair[1].as_str());
    let mut parts = text.split(',');
    let guest = parts.clone().find_map(|part| part.strip_prefix("guest="));
    guest
        .or_else(|| parts.next())
        .unwrap_or_default()
        .to_owned()
}

fn files_of(of_process: &Path) -> io::Result<Option<Vec<ForeignFile>>> {
    let entries = match fs::read_dir(of_process.join("fd")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        read => read?,
    };
    let mut files: Vec<ForeignFile> = Vec::new();
    for entry in entries {
        let link = entry?.path();
        let (Ok(path), Ok(meta)) = (fs::read_link(&link), fs::metadata(&link)) else {
            // Closed in the meantime.
            continue;
        };
        let is_disk = meta.is_file()
            && path.extension().is_none_or(|extension| extension != "log")
            && !NO_DISKS.iter().any(|dir| path.starts_with(dir));
        let id = (meta.dev(), meta.ino());
        if is_disk && !files.iter().any(|file| file.id == id) {
            files.push(ForeignFile { path, id });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_machine_is_called_as_its_command_line_says() {
        for (line, name) in [
            ("qemu-system-x86_64 -name web", "web"),
            (
                "qemu-system-x86_64 -name guest=db,debug-threads=on -m 1",
                "db",
            ),
            ("qemu-system-x86_64 -name debug-threads=on,guest=x", "x"),
            ("qemu-system-x86_64 -m 1", ""),
            ("qemu-system-x86_64 -name", ""),
        ] {
            assert_eq!(name_in(&words(line)), name, "{line}");
        }
    }
}
