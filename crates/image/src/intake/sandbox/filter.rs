//! The system-call filter: an allow-list; everything else kills the process.
//!
//! Calls on descriptors are allowed on the one descriptor that they are for. There is no call to
//! open, connect, execute, clone, signal, or make memory executable. What the list allows beyond the
//! parser's own calls is what the allocator, the channels between threads (`sched_yield`, only under
//! contention) and the runtime's exit need. A kill is in the kernel's log: `audit: type=1326`.

use super::super::error::Fault;
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// The source, the destination, and the pipe to the parent.
const SOURCE: u64 = 0;
const DESTINATION: u64 = 1;
const MESSAGES: u64 = 2;

/// Allowed on one descriptor only.
const ON_DESCRIPTOR: &[(c_long, u64)] = &[
    (libc::SYS_pread64, SOURCE),
    (libc::SYS_lseek, SOURCE),
    (libc::SYS_fstat, SOURCE),
    (libc::SYS_pwrite64, DESTINATION),
    (libc::SYS_ftruncate, DESTINATION),
    (libc::SYS_write, MESSAGES),
];

/// Allowed whatever the arguments.
const ANYWHERE: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Allowed while the third argument, the protection, has no `PROT_EXEC`.
const NOT_EXECUTABLE: &[c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// Compiles and installs the filter for all threads of this process. It can't be taken off.
pub fn install() -> Result<(), Fault> {
    let program = compile().map_err(|error| fault(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| fault(&error))
}

fn compile() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules = BTreeMap::new();
    for (call, descriptor) in ON_DESCRIPTOR {
        rules.insert(*call, vec![rule(0, SeccompCmpOp::Eq, *descriptor)?]);
    }
    for call in NOT_EXECUTABLE {
        let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        rules.insert(*call, vec![rule(2, executable, 0)?]);
    }
    rules.extend(ANYWHERE.iter().map(|call| (*call, Vec::new())));
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let (other, listed) = (SeccompAction::KillProcess, SeccompAction::Allow);
    Ok(SeccompFilter::new(rules, other, listed, architecture)?.try_into()?)
}

fn rule(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn fault(error: &seccompiler::Error) -> Fault {
    Fault::Sandbox {
        step: format!("system-call filter: {error}"),
        errno: 0,
    }
}
