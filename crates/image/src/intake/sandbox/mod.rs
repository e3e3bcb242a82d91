//! The walls around the child, put up by the child itself before it reads a byte of the image.
//!
//! In this order, because each step needs what a later one takes away: inherited descriptors
//! closed → resource limits → nobody, no capabilities → no new privileges → death with the parent
//! → Landlock → no more descriptors → threads → system-call filter for all of them. Everything but Landlock and nobody is
//! required; those two depend on the kernel and on the start, and are reported.

mod filter;

use super::error::Fault;
use super::protocol::{Job, LandlockLevel, SandboxReport};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

/// The user and group that own nothing, by convention of all Linux distributions.
const NOBODY: u32 = 65_534;

/// Puts up all walls. The process is single-threaded until `start`, and keeps descriptors 0, 1, 2.
///
/// `start` may start threads: they inherit the other walls, and the filter, which comes last and
/// forbids more of them, is installed for all.
pub fn enter<T>(job: &Job, start: impl FnOnce() -> T) -> Result<(SandboxReport, T), Fault> {
    crate::descriptors::close_inherited().map_err(|errno| fault("close descriptors", errno))?;
    limit_resources(job).map_err(|errno| fault("resource limits", errno))?;
    let became_nobody = become_nobody();
    drop_capabilities().map_err(|errno| fault("drop capabilities", errno))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| fault("no new privileges", errno))?;
    // Another process of nobody must not trace this one.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| fault("no tracing", errno))?;
    die_with_parent(job)?;
    let landlock = forbid_files_and_network();
    limit(Resource::Nofile, 3, 3).map_err(|errno| fault("no more descriptors", errno))?;
    let started = start();
    filter::install()?;
    let report = SandboxReport {
        landlock,
        became_nobody,
    };
    Ok((report, started))
}

fn limit_resources(job: &Job) -> Result<(), Errno> {
    limit(
        Resource::As,
        job.limits.memory_bytes,
        job.limits.memory_bytes,
    )?;
    // The soft limit sends SIGXCPU, which tells the parent the reason.
    limit(
        Resource::Cpu,
        job.limits.cpu_s,
        job.limits.cpu_s.saturating_add(1),
    )?;
    limit(
        Resource::Fsize,
        job.limits.max_virtual_bytes,
        job.limits.max_virtual_bytes,
    )?;
    limit(Resource::Core, 0, 0)
}

/// Sets soft and hard limit, never above what is there already.
fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let now = rustix::process::getrlimit(resource)
        .maximum
        .unwrap_or(u64::MAX);
    let (current, maximum) = (Some(soft.min(now)), Some(hard.min(now)));
    rustix::process::setrlimit(resource, Rlimit { current, maximum })
}

/// Gives up root. In a user namespace without that id it can't, and goes on without capabilities.
fn become_nobody() -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[]).is_ok()
        && rustix::thread::set_thread_res_gid(gid, gid, gid).is_ok()
        && rustix::thread::set_thread_res_uid(uid, uid, uid).is_ok()
}

fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets)
}

/// After the change of user, which clears the setting (prctl(2), `PR_SET_PDEATHSIG`).
fn die_with_parent(job: &Job) -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| fault("death with the parent", errno))?;
    // It may have died before the line above.
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if parent == job.parent_pid {
        Ok(())
    } else {
        Err(fault("the parent is gone", Errno::SRCH))
    }
}

/// No path can be opened, no port bound or connected to, nobody outside signalled.
fn forbid_files_and_network() -> LandlockLevel {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match status.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => LandlockLevel::Full,
        Ok(RulesetStatus::PartiallyEnforced) => LandlockLevel::Partial,
        Ok(RulesetStatus::NotEnforced) | Err(_) => LandlockLevel::None,
    }
}

fn fault(step: &str, errno: Errno) -> Fault {
    Fault::Sandbox {
        step: step.to_owned(),
        errno: errno.raw_os_error(),
    }
}
