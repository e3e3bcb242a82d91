//! Checks of the host itself: processor, rights, memory, limits.

use super::{Check, DoctorOptions, Status, human};
use crate::host::{Host, bridge_helper};
use crate::probe;
use rustix::process::{Resource, geteuid, getrlimit};
use stampo_driver::Acceleration;
use std::fs;
use std::path::Path;

/// Below this not even one small guest fits beside the host's own work.
const LITTLE_MEMORY_BYTES: u64 = 1 << 30;

/// Each guest takes about twenty descriptors of its own process; the server holds some for each.
const FEW_OPEN_FILES: u64 = 1024;

pub(super) fn add(checks: &mut Vec<Check>, options: &DoctorOptions) {
    checks.push(kvm_rights());
    checks.push(acceleration(options));
    checks.push(namespaces());
    checks.push(bridge());
    checks.push(memory());
    checks.push(open_files());
}

fn kvm_rights() -> Check {
    const WHY: &str = "with KVM guests run at the processor's speed";
    match probe::open_kvm() {
        Ok(()) => Check::ok("kvm-rights", WHY, format!("{} can be opened", probe::KVM)),
        Err(found) if Path::new(probe::KVM).exists() => {
            let remedy = "add yourself to its group (`sudo adduser $USER kvm`) and log in again";
            Check::bad("kvm-rights", Status::Warn, WHY, found, remedy)
        }
        Err(found) => {
            let remedy = "switch virtualisation on in the firmware, or nested virtualisation at the provider; guests run by emulation until then";
            Check::bad("kvm-rights", Status::Warn, WHY, found, remedy)
        }
    }
}

fn acceleration(options: &DoctorOptions) -> Check {
    const WHY: &str = "emulated guests are five to twenty times slower";
    // The answer is shared with the driver only when the home is there to keep it.
    let host = Host::new(options.driver.clone(), &options.home);
    match host.acceleration() {
        Ok(Acceleration::Kvm) => Check::ok("acceleration", WHY, "KVM; a test guest ran with it"),
        Ok(Acceleration::Tcg { reason }) => {
            let remedy = "nothing must be done: guests run by emulation; for speed use a host where KVM works";
            Check::bad(
                "acceleration",
                Status::Warn,
                WHY,
                format!("emulation: {reason}"),
                remedy,
            )
        }
        Err(error) => Check::bad(
            "acceleration",
            Status::Unknown,
            WHY,
            error.to_string(),
            "install QEMU first",
        ),
    }
}

fn namespaces() -> Check {
    const ID: &str = "user-namespaces";
    const WHY: &str = "templates are built without root in a user namespace";
    if geteuid().is_root() {
        return Check::ok(ID, WHY, "not needed: this is root");
    }
    let number = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    };
    let off = |setting: &str, value: u64| {
        let remedy = format!("sudo sysctl -w {setting}={value}");
        Check::bad(
            ID,
            Status::Warn,
            WHY,
            format!("user namespaces are switched off by {setting}"),
            remedy,
        )
    };
    if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return off("kernel.unprivileged_userns_clone", 1);
    }
    if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return off("kernel.apparmor_restrict_unprivileged_userns", 0);
    }
    match number("/proc/sys/user/max_user_namespaces") {
        None => Check::bad(
            ID,
            Status::Unknown,
            WHY,
            "the kernel does not tell",
            "see user_namespaces(7)",
        ),
        Some(0) => off("user.max_user_namespaces", 10_000),
        Some(_) => subordinate_ids(ID, WHY),
    }
}

/// Whether the user has subordinate ids (`subuid(5)`) and the program that maps them.
fn subordinate_ids(id: &'static str, why: &'static str) -> Check {
    if crate::program::find("newuidmap").is_none() {
        return Check::bad(
            id,
            Status::Warn,
            why,
            "newuidmap is not installed",
            "on Debian: apt install uidmap",
        );
    }
    let uid = geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))
        .and_then(|line| line.split(':').next());
    let given = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split(':').next())
            .any(|owner| Some(owner) == name || owner == uid)
    };
    if given("/etc/subuid") && given("/etc/subgid") {
        return Check::ok(id, why, "allowed, with subordinate ids");
    }
    let remedy = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER";
    Check::bad(
        id,
        Status::Warn,
        why,
        "this user has no range in /etc/subuid and /etc/subgid",
        remedy,
    )
}

fn bridge() -> Check {
    const WHY: &str =
        "guests on a bridge of the host are attached by it; the default network does not need it";
    match bridge_helper() {
        Ok(path) => Check::ok("bridge", WHY, format!("{} can be used", path.display())),
        Err(found) => {
            let remedy = "only for guests on bridges: put `allow BRIDGE` into /etc/qemu/bridge.conf and `sudo chmod u+s` the helper";
            Check::bad("bridge", Status::Warn, WHY, found, remedy)
        }
    }
}

fn memory() -> Check {
    const WHY: &str = "each guest takes its memory from the host";
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> =
        line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
    match kib.map(|kib| kib << 10) {
        None => Check::bad(
            "memory",
            Status::Unknown,
            WHY,
            "/proc/meminfo does not tell",
            "look with `free -h`",
        ),
        Some(bytes) if bytes < LITTLE_MEMORY_BYTES => {
            let remedy = "end other programs, or give guests less memory";
            Check::bad(
                "memory",
                Status::Warn,
                WHY,
                format!("{} available", human(bytes)),
                remedy,
            )
        }
        Some(bytes) => Check::ok("memory", WHY, format!("{} available", human(bytes))),
    }
}

fn open_files() -> Check {
    const WHY: &str = "many guests at once need many open files";
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW_OPEN_FILES => {
            let found = format!("at most {limit} open files");
            Check::bad(
                "open-files",
                Status::Warn,
                WHY,
                found,
                "raise it: `ulimit -n 4096`, or in limits.conf(5)",
            )
        }
        Some(limit) => Check::ok("open-files", WHY, format!("at most {limit} open files")),
        None => Check::ok("open-files", WHY, "no limit"),
    }
}
