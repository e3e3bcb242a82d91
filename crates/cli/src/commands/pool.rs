//! `pool`, `lease` and `tend`.

use super::Session;
use super::guests::GuestLine;
use crate::args::{
    CloneArgs, CloneHardware, InstantArg, LeaseCommand, PoolCommand, PoolCreateArgs, Sign, TakeArgs,
};
use crate::output;
use crate::progress::Show;
use crate::signals;
use crate::spec::clone_spec;
use serde::Serialize;
use stampo_api::{Kind, Lease, LeaseRequest, Pool, PoolChange, PoolRequest, Problem, Reply};
use stampo_api::{TakeFrom, TakeRequest, Taken};
use stampo_core::lease::{Ending, Span};
use stampo_core::names::PoolName;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a pool is looked at while its first member is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A pool as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct PoolLine(Pool);

impl output::Row for PoolLine {
    const COLUMNS: &'static [&'static str] = &[
        "NAME", "FROM", "VERSION", "DEPTH", "WARM", "READY", "COMING", "GOING", "ERROR",
    ];
    const NARROW: usize = 9;

    fn cells(&self) -> Vec<String> {
        let pool = &self.0;
        let dash = || "-".to_owned();
        vec![
            pool.name.clone(),
            pool.from.clone(),
            pool.version.clone().unwrap_or_else(dash),
            pool.depth.to_string(),
            pool.warm.to_string(),
            pool.ready.len().to_string(),
            pool.coming.to_string(),
            pool.going.len().to_string(),
            pool.error.clone().unwrap_or_else(dash),
        ]
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }
}

/// A member that was taken, as the line of a guest.
#[derive(Serialize)]
#[serde(transparent)]
struct TakenLine(Taken);

impl output::Row for TakenLine {
    const COLUMNS: &'static [&'static str] = GuestLine::COLUMNS;
    const NARROW: usize = GuestLine::NARROW;

    fn cells(&self) -> Vec<String> {
        GuestLine(self.0.guest.clone()).cells()
    }

    fn name(&self) -> String {
        self.0.guest.name.clone()
    }
}

/// A lease as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct LeaseLine(Lease);

impl output::Row for LeaseLine {
    const COLUMNS: &'static [&'static str] = &["GUEST", "LEFT", "OF", "THEN", "WARNED", "TIED"];
    const NARROW: usize = 6;

    fn cells(&self) -> Vec<String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            self.0.guest.clone(),
            left(self.0.left_ms),
            self.0.span.to_string(),
            self.0.ending.as_str().to_owned(),
            yes(self.0.warned),
            yes(self.0.tied),
        ]
    }

    fn name(&self) -> String {
        self.0.guest.clone()
    }
}

/// A time that is left, for people.
fn left(ms: i64) -> String {
    match ms {
        ..=0 => "over".to_owned(),
        _ => Span::of_seconds(ms.cast_unsigned().div_ceil(1000)).to_string(),
    }
}

/// `pool`.
pub fn run(session: &Session, command: PoolCommand) -> Result<ExitCode, Problem> {
    match command {
        PoolCommand::Create(args) => create(session, *args),
        PoolCommand::Set(args) => {
            let pool = session.api.change_pool(PoolChange {
                name: args.pool,
                from: args.from,
                warm: args.warm,
                depth: args.depth.map(Into::into),
            })?;
            output::rows(session.global.output, &[PoolLine(pool)])?;
            Ok(ExitCode::SUCCESS)
        }
        PoolCommand::Take(args) => take(session, &args),
        PoolCommand::Ls => {
            let pools: Vec<_> = session.api.pools()?.into_iter().map(PoolLine).collect();
            if pools.is_empty() {
                session.note("no pools; make one: stampo pool create NAME --from VERSION --warm 4");
            }
            output::rows(session.global.output, &pools)?;
            Ok(ExitCode::SUCCESS)
        }
        PoolCommand::Show(args) => {
            let pool = session.api.pool(&args.pool)?;
            output::value(session.global.output, &pool)?;
            Ok(ExitCode::SUCCESS)
        }
        PoolCommand::Rm { pools } => {
            for pool in &pools {
                session.api.remove_pool(pool)?;
                session.note(&format!("pool {pool} removed"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn create(session: &Session, args: PoolCreateArgs) -> Result<ExitCode, Problem> {
    let (name, timeout) = (args.name.clone(), Duration::from_secs(args.timeout));
    let waits = !args.no_wait && args.warm > 0;
    let request = PoolRequest {
        name: args.name.clone(),
        from: args.from.clone(),
        warm: args.warm,
        depth: args.depth.into(),
        spec: {
            let (spec, notes) = clone_spec(&as_clone(args))?;
            notes.iter().for_each(|note| session.note(note));
            spec
        },
    };
    let mut pool = session.api.create_pool(request)?;
    if waits {
        pool = first_member(session, &name, timeout)?;
    }
    output::rows(session.global.output, &[PoolLine(pool)])?;
    Ok(ExitCode::SUCCESS)
}

/// The options of a pool's members as those of clones.
fn as_clone(args: PoolCreateArgs) -> CloneArgs {
    CloneArgs {
        command: None,
        version: Some(args.from),
        name: None,
        count: None,
        full: false,
        linked: false,
        instant: Some(InstantArg::Only),
        overcommit_memory: args.overcommit_memory,
        goal: None,
        no_start: false,
        no_wait: true,
        wait_for: Sign::default(),
        timeout: args.timeout,
        dry_run: false,
        ttl: None,
        spec: args.spec,
        hardware: CloneHardware {
            cpus: None,
            memory: None,
            disk_size: None,
            extra_disks: Vec::new(),
        },
        personal: args.personal,
    }
}

/// Waits until one member can be taken, or none can be made.
fn first_member(session: &Session, name: &PoolName, timeout: Duration) -> Reply<Pool> {
    signals::install();
    let show = Show::new(session.global.quiet);
    show.busy(&format!("waiting for the first member of {name}"));
    let begun = Instant::now();
    loop {
        let pool = session.api.pool(name)?;
        if !pool.ready.is_empty() {
            return Ok(pool);
        }
        let why = match &pool.error {
            Some(why) => why.clone(),
            None if begun.elapsed() > timeout => {
                format!("none is ready after {} s", timeout.as_secs())
            }
            None if signals::interrupted() => "interrupted".to_owned(),
            None => {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        let what = format!("wait for the first member of pool {name}: {why}");
        return Err(Problem::new(Kind::Failed, what)
            .hint(format!(
                "the pool is there and goes on trying: stampo pool show {name}"
            ))
            .hint(format!("stampo pool rm {name}")));
    }
}

fn take(session: &Session, args: &TakeArgs) -> Result<ExitCode, Problem> {
    let lease = args.ttl.map(|span| LeaseRequest {
        span,
        ending: Ending::Remove,
        tied: false,
    });
    let request = TakeRequest {
        from: TakeFrom::Pool(args.pool.clone()),
        lease,
    };
    let Some(taken) = session.api.take(request)? else {
        let what = format!("take a member of {}: none is ready", args.pool);
        return Err(Problem::new(Kind::Conflict, what)
            .hint(format!("stampo pool show {}", args.pool))
            .hint(format!("stampo pool set {} --warm COUNT", args.pool)));
    };
    session.note(&format!(
        "{} proven to be a machine of its own in {} ms",
        taken.guest.name, taken.took_ms
    ));
    output::rows(session.global.output, &[TakenLine(taken)])?;
    Ok(ExitCode::SUCCESS)
}

/// `lease`.
pub fn lease(session: &Session, command: LeaseCommand) -> Result<ExitCode, Problem> {
    match command {
        LeaseCommand::Set { guest, ttl, remove } => {
            let ending = if remove {
                Ending::Remove
            } else {
                Ending::Trash
            };
            let request = LeaseRequest {
                span: ttl,
                ending,
                tied: false,
            };
            let lease = session.api.set_lease(&guest, request)?;
            output::rows(session.global.output, &[LeaseLine(lease)])?;
        }
        LeaseCommand::Clear { guests } => {
            for guest in &guests {
                let had = session.api.clear_lease(guest)?;
                session.note(&match had {
                    true => format!("{guest} stays"),
                    false => format!("{guest} had no lease"),
                });
            }
        }
        LeaseCommand::Ls => {
            let found = session.api.leases()?;
            for guest in &found.damaged {
                session.note(&format!(
                    "the lease of {guest} is damaged in the catalog, so {guest} stays; give it \
                     another: stampo lease set {guest} 1h, or none: stampo lease clear {guest}"
                ));
            }
            let leases: Vec<_> = found.leases.into_iter().map(LeaseLine).collect();
            if leases.is_empty() && found.damaged.is_empty() {
                session.note("no leases; give one: stampo lease set GUEST 2h");
            }
            output::rows(session.global.output, &leases)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `tend`: one look.
pub fn tend(session: &Session) -> Result<ExitCode, Problem> {
    let tended = session.api.tend()?;
    session.note(&format!(
        "{} members made, {} drained, {} missing still",
        tended.made, tended.drained, tended.missing
    ));
    for failure in &tended.failures {
        session.note(failure);
    }
    Ok(match tended.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(6),
    })
}
