//! The system calls that change something, and what the tracer says about one.
//!
//! Left out are calls that only read, and locks: a process that dies at a lock leaves the disk as
//! the call before left it. Kept are writes to pipes, so that a reader of images is killed in the
//! middle of its report, too.

use nix::libc::{self, c_long, user_regs_struct};
use nix::unistd::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a call does, as far as it decides which errors it may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes into a file; the argument with their count can be made smaller.
    Write { count: usize },
    /// A new name, or room for bytes.
    Make,
    /// A name, or a mode, changes or goes.
    Change,
    /// Waits until something is durable.
    Sync,
}

/// Where in its arguments a call names its file.
#[derive(Debug, Clone, Copy)]
enum File {
    Descriptor(usize),
    Path(usize),
    /// A directory's descriptor, and a path in it.
    At(usize, usize),
}

const WRITE: Kind = Kind::Write { count: 2 };
use File::{At, Descriptor, Path as Named};
use Kind::{Change, Make, Sync};

const CALLS: &[(c_long, &str, Kind, File)] = &[
    (libc::SYS_open, "open", Make, Named(0)),
    (libc::SYS_creat, "creat", Make, Named(0)),
    (libc::SYS_openat, "openat", Make, At(0, 1)),
    (libc::SYS_write, "write", WRITE, Descriptor(0)),
    (libc::SYS_pwrite64, "pwrite64", WRITE, Descriptor(0)),
    (libc::SYS_writev, "writev", WRITE, Descriptor(0)),
    (libc::SYS_pwritev, "pwritev", WRITE, Descriptor(0)),
    (libc::SYS_pwritev2, "pwritev2", WRITE, Descriptor(0)),
    (
        libc::SYS_sendfile,
        "sendfile",
        Kind::Write { count: 3 },
        Descriptor(0),
    ),
    (
        libc::SYS_splice,
        "splice",
        Kind::Write { count: 4 },
        Descriptor(2),
    ),
    (
        libc::SYS_copy_file_range,
        "copy_file_range",
        Kind::Write { count: 4 },
        Descriptor(2),
    ),
    (libc::SYS_ioctl, "ioctl(FICLONE)", Make, Descriptor(0)),
    (libc::SYS_truncate, "truncate", Make, Named(0)),
    (libc::SYS_ftruncate, "ftruncate", Make, Descriptor(0)),
    (libc::SYS_fallocate, "fallocate", Make, Descriptor(0)),
    (libc::SYS_mkdir, "mkdir", Make, Named(0)),
    (libc::SYS_mkdirat, "mkdirat", Make, At(0, 1)),
    (libc::SYS_link, "link", Make, Named(1)),
    (libc::SYS_linkat, "linkat", Make, At(2, 3)),
    (libc::SYS_symlink, "symlink", Make, Named(1)),
    (libc::SYS_symlinkat, "symlinkat", Make, At(1, 2)),
    (libc::SYS_mknod, "mknod", Make, Named(0)),
    (libc::SYS_mknodat, "mknodat", Make, At(0, 1)),
    (libc::SYS_rename, "rename", Make, Named(1)),
    (libc::SYS_renameat, "renameat", Make, At(2, 3)),
    (libc::SYS_renameat2, "renameat2", Make, At(2, 3)),
    (libc::SYS_unlink, "unlink", Change, Named(0)),
    (libc::SYS_unlinkat, "unlinkat", Change, At(0, 1)),
    (libc::SYS_rmdir, "rmdir", Change, Named(0)),
    (libc::SYS_chmod, "chmod", Change, Named(0)),
    (libc::SYS_fchmod, "fchmod", Change, Descriptor(0)),
    (libc::SYS_fchmodat, "fchmodat", Change, At(0, 1)),
    (libc::SYS_chown, "chown", Change, Named(0)),
    (libc::SYS_lchown, "lchown", Change, Named(0)),
    (libc::SYS_fchown, "fchown", Change, Descriptor(0)),
    (libc::SYS_fchownat, "fchownat", Change, At(0, 1)),
    (libc::SYS_utimensat, "utimensat", Change, At(0, 1)),
    (libc::SYS_setxattr, "setxattr", Make, Named(0)),
    (libc::SYS_lsetxattr, "lsetxattr", Make, Named(0)),
    (libc::SYS_fsetxattr, "fsetxattr", Make, Descriptor(0)),
    (libc::SYS_removexattr, "removexattr", Change, Named(0)),
    (
        libc::SYS_fremovexattr,
        "fremovexattr",
        Change,
        Descriptor(0),
    ),
    (libc::SYS_fsync, "fsync", Sync, Descriptor(0)),
    (libc::SYS_fdatasync, "fdatasync", Sync, Descriptor(0)),
    (
        libc::SYS_sync_file_range,
        "sync_file_range",
        Sync,
        Descriptor(0),
    ),
    (libc::SYS_syncfs, "syncfs", Sync, Descriptor(0)),
];

/// ioctl_ficlone(2): `_IOW(0x94, 9, int)` and `_IOW(0x94, 13, struct file_clone_range)`.
const FICLONES: [u64; 2] = [0x4004_9409, 0x4020_940d];

/// One call that is about to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one it is of all that were traced, from 1.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The file that it is about; for a renaming, its new name.
    pub path: PathBuf,
    /// Its old name, for a renaming.
    pub old_path: Option<PathBuf>,
    /// The program that makes it, by the name of its thread (proc(5), `comm`).
    pub program: String,
    /// How many bytes are to be written; 0 when it is no write.
    pub count: u64,
    /// The inode behind its descriptor, if it has one.
    pub inode: Option<u64>,
    /// Whether the call before it was a sync of one of SQLite's files.
    pub follows_catalog: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "call {} {} {} by {}",
            self.number,
            self.name,
            self.path.display(),
            self.program
        )
    }
}

impl Call {
    /// Reads what a stopped thread is about to do.
    pub fn of(number: usize, thread: Pid, registers: &user_regs_struct) -> Call {
        let nr = registers.orig_rax as c_long;
        let found = CALLS.iter().find(|(known, ..)| *known == nr);
        let (_, name, kind, file) = *found.expect("only these calls are traced");
        let path = match file {
            Descriptor(at) => behind(thread, argument(registers, at)),
            Named(at) => resolve(thread, None, argument(registers, at)),
            At(dir, at) => resolve(
                thread,
                Some(argument(registers, dir)),
                argument(registers, at),
            ),
        };
        let old_path = match nr {
            libc::SYS_rename => Some(resolve(thread, None, argument(registers, 0))),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                let dir = Some(argument(registers, 0));
                Some(resolve(thread, dir, argument(registers, 1)))
            }
            _ => None,
        };
        let program = std::fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        let descriptor = match file {
            Descriptor(at) => Some(argument(registers, at) as i32),
            _ => None,
        };
        let inode = descriptor.and_then(|number| {
            let path = format!("/proc/{thread}/fd/{number}");
            std::fs::metadata(path).ok()
        });
        Call {
            number,
            name,
            kind,
            path,
            old_path,
            program: program.trim_end().to_owned(),
            count: match kind {
                Kind::Write { count } => argument(registers, count),
                _ => 0,
            },
            inode: inode.map(|found| std::os::unix::fs::MetadataExt::ino(&found)),
            follows_catalog: false,
        }
    }

    /// Whether it is about a file or directory below `dir`.
    pub fn is_below(&self, dir: &Path) -> bool {
        self.path.starts_with(dir)
    }

    /// Whether it is about a file or a directory, not a pipe or an eventfd.
    pub fn is_of_file(&self) -> bool {
        self.path.is_absolute() && !self.path.starts_with("/proc")
    }

    /// Whether it is about the catalog: SQLite's own files.
    pub fn is_of_catalog(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("catalog.db")
    }
}

/// Whether a stopped thread is about to wait for durability.
pub fn is_sync(registers: &user_regs_struct) -> bool {
    let nr = registers.orig_rax as c_long;
    let found = CALLS.iter().find(|(known, ..)| *known == nr);
    found.is_some_and(|(_, _, kind, _)| *kind == Sync)
}

/// An argument of the call, from 0 (syscall(2), x86-64).
fn argument(registers: &user_regs_struct, at: usize) -> u64 {
    let r = registers;
    [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9][at]
}

/// Changes an argument of the call.
pub fn set_argument(registers: &mut user_regs_struct, at: usize, value: u64) {
    let r = registers;
    *[
        &mut r.rdi, &mut r.rsi, &mut r.rdx, &mut r.r10, &mut r.r8, &mut r.r9,
    ][at] = value;
}

/// Makes a call that writes several parts, from `struct iovec`s (writev(2)), write half of the first.
/// The list is a new one, below what the thread's stack uses: the program goes on with its own.
pub fn halve_first_part(thread: Pid, registers: &mut user_regs_struct) {
    const BELOW: u64 = 4096;
    let memory = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/{thread}/mem"))
        .expect("a stopped thread has memory");
    let mut part = [0_u8; 16];
    memory
        .read_exact_at(&mut part, argument(registers, 1))
        .expect("a list of parts");
    let length = u64::from_le_bytes(part[8..].try_into().expect("8 bytes"));
    assert!(length > 1, "half of {length} bytes is not less");
    part[8..].copy_from_slice(&(length / 2).to_le_bytes());
    let at = (registers.rsp - BELOW) & !15;
    memory
        .write_all_at(&part, at)
        .expect("room below the stack");
    set_argument(registers, 1, at);
    set_argument(registers, 2, 1);
}

/// What a descriptor leads to.
fn behind(thread: Pid, descriptor: u64) -> PathBuf {
    let link = format!("/proc/{thread}/fd/{}", descriptor as i32);
    std::fs::read_link(&link).unwrap_or_else(|_| PathBuf::from(link))
}

/// A path in the thread's memory, made absolute.
fn resolve(thread: Pid, dir: Option<u64>, address: u64) -> PathBuf {
    let given = text_at(thread, address);
    let from = match dir {
        Some(descriptor) if descriptor as i32 != libc::AT_FDCWD => behind(thread, descriptor),
        _ => std::fs::read_link(format!("/proc/{thread}/cwd")).unwrap_or_default(),
    };
    // An empty path, or none, means the descriptor itself (futimens(3)).
    if given.as_os_str().is_empty() {
        from
    } else {
        from.join(given)
    }
}

/// A text that ends with a zero byte. A page at a time: the next one may not be there.
fn text_at(thread: Pid, address: u64) -> PathBuf {
    const PAGE: u64 = 4096;
    let mut text = Vec::new();
    let Ok(memory) = std::fs::File::open(format!("/proc/{thread}/mem")) else {
        return PathBuf::new();
    };
    let mut at = address;
    while text.len() < libc::PATH_MAX as usize {
        let mut page = vec![0; (PAGE - at % PAGE) as usize];
        let Ok(read) = memory.read_at(&mut page, at) else {
            break;
        };
        let end = page[..read].iter().position(|byte| *byte == 0);
        text.extend_from_slice(&page[..end.unwrap_or(read)]);
        if end.is_some() || read == 0 {
            break;
        }
        at += read as u64;
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(text))
}

/// A filter that stops a thread at each of these calls and lets all others pass.
pub fn filter() -> BpfProgram {
    let when = |conditions: Vec<SeccompCondition>| {
        SeccompRule::new(conditions).expect("a rule has conditions")
    };
    let bits = |at, wanted: i32| {
        let op = SeccompCmpOp::MaskedEq(wanted as u64);
        when(vec![
            SeccompCondition::new(at, SeccompCmpArgLen::Dword, op, wanted as u64)
                .expect("an argument from 0 to 5"),
        ])
    };
    let opens = |at| {
        [
            libc::O_CREAT,
            libc::O_TRUNC,
            libc::O_TMPFILE & !libc::O_DIRECTORY,
        ]
        .map(|wanted| bits(at, wanted))
        .to_vec()
    };
    let is = |value| {
        let op = SeccompCmpOp::Eq;
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, op, value).expect("argument 1")
    };
    let mut rules = BTreeMap::new();
    for (nr, ..) in CALLS {
        let rule = match *nr {
            libc::SYS_open => opens(1),
            libc::SYS_openat => opens(2),
            libc::SYS_ioctl => FICLONES.iter().map(|code| when(vec![is(*code)])).collect(),
            _ => Vec::new(),
        };
        rules.insert(*nr, rule);
    }
    let here = TargetArch::try_from(std::env::consts::ARCH).expect("x86-64");
    let (other, listed) = (SeccompAction::Allow, SeccompAction::Trace(0));
    let filter = SeccompFilter::new(rules, other, listed, here).expect("a filter");
    filter.try_into().expect("it compiles")
}
