//! Checks of programs and firmware files.

use super::{Check, DoctorOptions, Status};
use crate::firmware;
use crate::program::{self, Qemu};
use std::path::Path;
use std::time::Duration;

/// A program of which only the presence matters.
struct Tool {
    id: &'static str,
    program: &'static str,
    package: &'static str,
    missing: Status,
    why: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool {
        id: "qemu-img",
        program: "qemu-img",
        package: "qemu-utils",
        missing: Status::Fail,
        why: "images of other formats are converted with it",
    },
    Tool {
        id: "e2fsck",
        program: "e2fsck",
        package: "e2fsprogs",
        missing: Status::Fail,
        why: "every sealed disk is checked with it before it is published",
    },
    Tool {
        id: "mmdebstrap",
        program: "mmdebstrap",
        package: "mmdebstrap",
        missing: Status::Warn,
        why: "`stampo template build` makes templates from Debian packages with it",
    },
    Tool {
        id: "ssh",
        program: "ssh",
        package: "openssh-client",
        missing: Status::Warn,
        why: "`stampo ssh` connects to guests with it",
    },
    Tool {
        id: "swtpm",
        program: "swtpm",
        package: "swtpm",
        missing: Status::Warn,
        why: "guests that ask for a TPM get one from it",
    },
];

pub(super) fn add(checks: &mut Vec<Check>, options: &DoctorOptions) {
    checks.push(qemu(options));
    checks.extend(TOOLS.iter().map(tool));
    checks.push(uefi());
}

fn qemu(options: &DoctorOptions) -> Check {
    const WHY: &str = "it runs the guests";
    match Qemu::find(options.driver.qemu.as_deref()) {
        Ok(qemu) => Check::ok(
            "qemu",
            WHY,
            format!("QEMU {} at {}", qemu.version, qemu.path.display()),
        ),
        Err(error) => {
            let remedy = format!(
                "install QEMU {} or newer; on Debian: apt install qemu-system-x86",
                program::OLDEST_QEMU
            );
            Check::bad("qemu", Status::Fail, WHY, error.to_string(), remedy)
        }
    }
}

fn tool(tool: &Tool) -> Check {
    let Some(path) = program::find(tool.program) else {
        let remedy = format!("on Debian: apt install {}", tool.package);
        return Check::bad(
            tool.id,
            tool.missing,
            tool.why,
            format!("{} is not installed", tool.program),
            remedy,
        );
    };
    match first_line(&path, tool.id) {
        Some(line) if tool.id == "e2fsck" && older_than_1_47(&line) => {
            let remedy = "install e2fsprogs 1.47.0 or newer: older ones refuse new file systems";
            Check::bad(
                tool.id,
                tool.missing,
                tool.why,
                format!("{line} at {}", path.display()),
                remedy,
            )
        }
        Some(line) => Check::ok(tool.id, tool.why, format!("{line} at {}", path.display())),
        None => {
            let found = format!("{} is there and does not run", path.display());
            let remedy = format!(
                "install it again; on Debian: apt install --reinstall {}",
                tool.package
            );
            Check::bad(tool.id, tool.missing, tool.why, found, remedy)
        }
    }
}

/// The first line of the program's version message.
fn first_line(path: &Path, id: &str) -> Option<String> {
    let flag = if matches!(id, "e2fsck" | "ssh") {
        "-V"
    } else {
        "--version"
    };
    let output = program::run_ok(
        path,
        &[flag.as_ref()],
        Path::new("/"),
        Duration::from_secs(20),
    )
    .ok()?;
    output.lines().next().map(crate::wire::printable)
}

/// Whether "e2fsck 1.46.5 (30-Dec-2021)" names a version that does not know the features that
/// Debian 13 makes file systems with (`orphan_file`, since 1.47.0).
fn older_than_1_47(line: &str) -> bool {
    let number = line.split(' ').nth(1).unwrap_or_default();
    let mut parts = number
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) < (Some(1), Some(47))
}

fn uefi() -> Check {
    const WHY: &str = "guests with UEFI firmware start with it";
    match firmware::find() {
        Some(found) => Check::ok("uefi", WHY, format!("OVMF at {}", found.code.display())),
        None => Check::bad(
            "uefi",
            Status::Warn,
            WHY,
            "no UEFI firmware was found",
            "on Debian: apt install ovmf",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_e2fsck_is_told_from_a_new_one() {
        for (line, old) in [
            ("e2fsck 1.46.5 (30-Dec-2021)", true),
            ("e2fsck 1.47.0 (5-Feb-2023)", false),
            ("e2fsck 1.47.2 (1-Jan-2025)", false),
            ("e2fsck 2.0 (1-Jan-2030)", false),
            ("e2fsck", true),
        ] {
            assert_eq!(older_than_1_47(line), old, "{line}");
        }
    }
}
