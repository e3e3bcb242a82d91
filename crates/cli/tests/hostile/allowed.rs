//! The files outside of its home that stampo and its helpers may touch, one by one, and why.
//!
//! Whatever is not in here and is touched while a hostile disk is worked on fails the test.

use std::path::{Path, PathBuf};

/// Where programs are looked for in a watched run, whatever the tests are run with.
pub const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// What a call does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Asks whether it is there and what it is.
    Look,
    /// Opens it for reading, or executes it.
    Read,
    /// Anything else.
    Change,
}

impl Access {
    /// What a line of strace does.
    pub fn of(call: &str) -> Access {
        let looks = [
            "stat",
            "lstat",
            "newfstatat",
            "statx",
            "statfs",
            "access",
            "faccessat",
            "faccessat2",
            "readlink",
            "readlinkat",
            "getcwd",
            "lgetxattr",
            "getxattr",
        ];
        let name = call.split('(').next().unwrap_or_default();
        let changes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"];
        match name {
            name if looks.contains(&name) => Access::Look,
            // A search along PATH; the call that found it is told as `<unfinished ...>`, too.
            "execve"
                if [" = -1 ENOENT", "<unfinished ...>"]
                    .iter()
                    .any(|end| call.contains(end)) =>
            {
                Access::Look
            }
            "execve" | "chdir" => Access::Read,
            "open" | "openat" | "openat2" if !changes.iter().any(|flag| call.contains(flag)) => {
                Access::Read
            }
            _ => Access::Change,
        }
    }
}

/// Files and directories that may be read: the path, or everything below it when it ends in `/`.
const READABLE: [&str; 26] = [
    // The dynamic loader.
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    // The Rust runtime and glibc: their own stack, processors, memory.
    "/proc/self/",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup/",
    "/sys/devices/system/cpu/",
    // Who a process is: a reused process id must fool nobody.
    "/proc/sys/kernel/random/boot_id",
    // e2fsck: whether the file is a mounted device or swap space.
    "/usr/sbin/e2fsck",
    "/sbin/e2fsck",
    "/etc/e2fsck.conf",
    "/etc/mtab",
    "/proc/mounts",
    "/proc/swaps",
    // e2fsck: the time in its complaints.
    "/etc/localtime",
    "/usr/share/zoneinfo/",
    // e2fsck: whether the machine runs on a battery.
    "/proc/acpi/",
    "/proc/apm",
    "/sys/class/power_supply/",
    "/dev/urandom",
    "/dev/null",
    // Firmware that clones could be started with.
    "/usr/share/qemu/",
    "/etc/qemu/",
    "/usr/share/OVMF/",
];

/// libblkid's settings and its list of devices, which only root writes. e2fsck asks for them to be
/// left out; libblkid does as it is asked for root alone (`safe_getenv` in util-linux).
const OF_BLKID: [&str; 2] = ["/etc/blkid.conf", BLKID_DEVICES];
const BLKID_DEVICES: &str = "/run/blkid/blkid.tab";

/// The places of one home.
pub struct Allowed {
    /// The directory of the case, with the home and the image in it. Everything is allowed there.
    own: PathBuf,
    /// The programs that are tested.
    programs: Vec<PathBuf>,
}

impl Allowed {
    /// For a case in the directory `own`, worked on by `program`.
    pub fn new(own: &Path, program: &Path) -> Allowed {
        Allowed {
            own: own.to_owned(),
            programs: vec![program.to_owned()],
        }
    }

    /// Whether this may be done with this path.
    pub fn path(&self, path: &Path, access: Access) -> bool {
        if path.starts_with(&self.own) {
            return true;
        }
        let text = path.to_string_lossy();
        let read = self.programs.iter().any(|program| program == path)
            || READABLE.iter().any(|known| match known.strip_suffix('/') {
                Some(directory) => path.starts_with(directory),
                None => path == Path::new(known),
            })
            || is_process(&text)
            || !is_root() && OF_BLKID.iter().any(|known| path == Path::new(known));
        match access {
            // The way to the home, step by step; devices, by e2fsck; where programs are looked for.
            Access::Look => {
                read || self.own.starts_with(path)
                    || text.starts_with("/dev/")
                    || is_program(&text)
                    || !is_root() && is_known_to_blkid(path)
            }
            // An intake child goes to the root, so that it holds no directory of the user's.
            Access::Read => read || path == Path::new("/"),
            Access::Change => path == Path::new("/dev/null"),
        }
    }

    /// Sockets are made to find free ports of the loopback; nothing is sent.
    pub fn network(&self, call: &str) -> bool {
        let loopback = call.starts_with("bind(") && call.contains("inet_addr(\"127.0.0.1\")");
        let made = [
            "socket(AF_INET,",
            "socket(AF_UNIX,",
            "socketpair(AF_UNIX,",
            "setsockopt(",
            "listen(",
            "getsockname(",
        ];
        // The standard library waits for a started program's error over a pair of its own.
        let own_pair = call.starts_with("recvfrom(") || call.starts_with("sendto(");
        loopback
            || made.iter().any(|start| call.starts_with(start))
            || own_pair && !call.contains("AF_INET")
    }

    /// A guest's sockets are in the home.
    pub fn connect(&self, call: &str) -> bool {
        call.contains("sun_path=\"/proc/self/fd/")
            || call.contains(&format!("sun_path=\"{}", self.own.display()))
    }
}

/// `/proc/NUMBER/stat`, and what `/proc/self/…` leads to.
fn is_process(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/proc/") else {
        return false;
    };
    let (number, what) = rest.split_once('/').unwrap_or((rest, ""));
    number.bytes().all(|byte| byte.is_ascii_digit())
        && ["", "stat", "maps", "cgroup", "mounts", "mountinfo", "fd"].contains(&what)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The way to a device, or a file taken for one, that libblkid has on its list: it looks whether
/// each is still there. `<device NAME="VALUE" …>PATH</device>` is on a line (libblkid, save.c).
fn is_known_to_blkid(path: &Path) -> bool {
    let list = std::fs::read_to_string(BLKID_DEVICES).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.rsplit_once("</device>")?.0.rsplit_once('>'))
        .any(|(_, device)| Path::new(device).starts_with(path))
}

/// A program in one of the directories of [`SEARCH_PATH`].
fn is_program(path: &str) -> bool {
    let directory = Path::new(path).parent().and_then(Path::to_str);
    directory.is_some_and(|directory| SEARCH_PATH.split(':').any(|known| known == directory))
}
