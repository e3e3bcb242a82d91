//! The fork: every item once, and then the evidence. Programs that only have to be told are told when
//! the link is up (`connect.rs`).
//!
//! Nothing stops after a failure. The host destroys a machine that is not proven unique, and its
//! user wants to know everything that was wrong with it. Nothing is undone either: the template's
//! identity is worth nothing here.

use crate::outcome::{Doing, Failure, Step, not_needed, settle};
use crate::{
    boot_id, clock, hooks, identify, logins, names, net, random, services, ssh_keys, storage_ids,
};
use rustix::fs::{Mode, OFlags};
use stampo_agent_protocol::{
    Done, Few, ForkReport, ForkRequest, Hex32, HookOutcome, Item, Outcome,
};
use std::time::{Duration, Instant};

/// Becomes the machine that is asked for.
///
/// # Errors
/// When the machine can't say who it is; what was done stays done.
pub(crate) fn fork(request: &ForkRequest) -> Result<ForkReport, Failure> {
    let begin = Instant::now();
    let mut items = Vec::new();
    let mut hooks = Vec::new();
    let mut item = |item, work: &mut dyn FnMut() -> Step| items.push(done(item, work));
    let hostname = &request.identity.hostname;
    // Before the interfaces change: what watches them would only do work for nothing.
    item(Item::DhcpClient, &mut services::hold);
    item(Item::Randomness, &mut || random::reseed(&request.seed));
    item(Item::Clock, &mut || {
        clock::set(request.clock_unix_ns, begin)
    });
    item(Item::Mac, &mut || macs(request));
    item(Item::Addresses, &mut || addresses(request));
    item(Item::MachineId, &mut || {
        names::set_machine_id(&request.identity.machine_id)
    });
    item(Item::Hostname, &mut || names::set_hostname(hostname));
    item(Item::StorageIds, &mut storage_ids::renew);
    item(Item::BootId, &mut boot_id::renew);
    item(Item::SshKeys, &mut || {
        ssh_keys::replace(&request.ssh_keys, stampo_host_name::short(hostname))
    });
    item(Item::Logins, &mut || logins::set(&request.logins));
    item(Item::Hooks, &mut || run_hooks(request, &mut hooks));
    item(Item::Durable, &mut make_durable);
    let evidence = identify::evidence(request.nonce)?;
    Ok(ForkReport {
        items: Few::first(items),
        hooks: Few::first(hooks),
        took_us: micros(begin),
        evidence,
    })
}

/// Does before a freeze what every fork would do again in the same way, so that the memory image has
/// it: whatever a fork executes is slow the first time.
///
/// # Errors
/// When something could not be done; a fork tries it again.
pub(crate) fn prepare() -> Result<(), Failure> {
    services::hold()?;
    boot_id::mount()?;
    // What a fork executes and reads lies in memory then, and not on the disk.
    identify::evidence(Hex32([0; 32])).map(drop)
}

/// Does one item, and says what it cost.
pub(crate) fn done(item: Item, work: &mut dyn FnMut() -> Step) -> Done {
    let begin = Instant::now();
    let outcome = settle(work());
    Done {
        item,
        outcome,
        took_us: micros(begin),
    }
}

pub(crate) fn micros(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The kernel's MACs, and those in the guest's files.
fn macs(request: &ForkRequest) -> Step {
    let outcome = net::set_macs(&request.nics)?;
    net::persist::follow_macs(&request.nics)?;
    Ok(outcome)
}

/// The kernel's addresses, and where the next start gets them from.
fn addresses(request: &ForkRequest) -> Step {
    let outcome = net::set_addresses(&request.nics)?;
    net::persist::keep_addresses(&request.nics)?;
    Ok(outcome)
}

fn run_hooks(request: &ForkRequest, outcomes: &mut Vec<HookOutcome>) -> Step {
    if !request.run_hooks {
        return not_needed("not asked for");
    }
    let limit = Duration::from_millis(request.hook_limit_ms.into());
    *outcomes = hooks::run(&request.identity, limit);
    match outcomes.iter().find(|hook| hook.code != Some(0)) {
        _ if outcomes.is_empty() => not_needed("the guest has no hooks"),
        None => Ok(Outcome::Done),
        Some(hook) => Err(Failure(format!("{} failed: {}", hook.name, hook.detail))),
    }
}

/// Writes the disk that /etc is on, so that a machine whose power goes does not come up as the
/// template's double.
fn make_durable() -> Step {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let etc = rustix::fs::open("/etc", flags, Mode::empty()).doing("open /etc")?;
    rustix::fs::syncfs(&etc).doing("write the disk")?;
    Ok(Outcome::Done)
}
