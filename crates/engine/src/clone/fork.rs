//! Instant clones: from a disk and a memory image to a machine of its own.
//!
//! ```text
//! defined ─ resume ─ told who it is ─ what it claims meets that ─ unlike every other guest ─ identified
//!         (links down)                                            └──── one transaction ────┘
//! verified ─ boots from now on ─ links up ─ all others of the operation, too ─ has its addresses ─→ ready
//! ```
//! Until it is identified it is the frozen machine's double: its links are down, and it is thrown
//! away when anything fails or whoever works on it dies ([`Engine::undo_fork`]). What a guest says
//! of itself proves nothing by itself, as it may lie; that it differs from all others, in what only
//! its kernel's generator and its disk can give, is what is asked.

use super::told::{fork_request, now_ns};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::Sample;
use crate::work::Work;
use stampo_agent_protocol::{ConnectRequest, Evidence, ForkReport, Mac, Request, Response, unmet};
use stampo_core::guest::GuestState;
use stampo_core::identity::IdentityFact;
use stampo_core::instant::Fork;
use stampo_driver::{Ensured, Power, StopMethod};
use stampo_image::durable;
use stampo_store::GuestRow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a fork may take to become itself, its hooks included. Emulated ones need a second; many
/// at once wait for each other.
const BECOME_LIMIT: Duration = Duration::from_secs(90);

/// How long a fork may take to get its addresses once its links are up. Emulated ones that many others
/// slow down were seen to need 49 seconds.
const CONNECT: Duration = Duration::from_secs(180);

/// How much longer than that its answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// How often it is looked whether a fork that connects is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Engine {
    /// Makes a fork a machine of its own, unless it is one. `begun` becomes the moment at which it
    /// has been resumed, which is an event of its own.
    pub(super) fn ensure_identified(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        begun: &mut Instant,
    ) -> Result<String, EngineError> {
        let Some(fork) = row.plan.fork.clone() else {
            return Ok(String::new());
        };
        let mut detail = "was done".to_owned();
        if !fork.identified {
            let _turn = self.turns.take();
            let resumed = Instant::now();
            // It goes on once only: what it was made of must not be missing after a power loss.
            self.wait_for_names(row)?;
            self.start_row(row)?;
            self.faults.reach("fork.resumed");
            work.event(row.name.as_str(), "resume", "", resumed.elapsed())?;
            *begun = Instant::now();
            let report = self.tell(work, row, &fork)?;
            self.faults.reach("fork.told");
            let facts = self.fork_facts(work, row, &report.evidence)?;
            self.accept_fork(row, &report.evidence, &facts)?;
            self.faults.reach("fork.identified");
            let ms = report.took_us / 1000;
            detail = format!("{} identity items, {ms} ms in the guest", facts.len());
        }
        self.write_guest_sidecar(row)?;
        Ok(detail)
    }

    /// Waits until everything in a guest's directory has its name for good.
    pub(super) fn wait_for_names(&self, row: &GuestRow) -> Result<(), EngineError> {
        durable::fsync_dir(&self.guest_dir(row.id))
            .map_err(EngineError::room("make the guest's directory durable"))
    }

    /// Tells a resumed guest who it is. What it answers meets that, as far as its word goes.
    fn tell(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
        fork: &Fork,
    ) -> Result<ForkReport, EngineError> {
        let request = fork_request(&row.plan, fork)?;
        let asked = Request::Fork(Box::new(request.clone()));
        let Response::Forked(report) = self.ask_while_wanted(work, row, asked)? else {
            return Err(unproven(row, "it answered something else".to_owned()));
        };
        let mut missing: Vec<String> = unmet(&request, &report, now_ns()?)
            .iter()
            .map(ToString::to_string)
            .collect();
        let nics = request.nics.iter().map(|nic| nic.new_mac);
        let plugged = |mac: &Mac| {
            let interfaces = report.evidence.interfaces.iter();
            interfaces.clone().any(|nic| nic.mac == *mac && nic.link_up)
        };
        missing.extend(
            nics.filter(plugged)
                .map(|mac| format!("{mac} has a link already")),
        );
        let hooks = report.hooks.iter().filter(|hook| hook.code != Some(0));
        for hook in hooks {
            tracing::warn!(guest = %row.name, hook = %hook.name, detail = %hook.detail, "a hook failed");
        }
        if missing.is_empty() {
            return Ok(*report);
        }
        Err(unproven(row, missing.join("; ")))
    }

    /// Asks a fork's agent, and stops waiting when nobody wants the fork any more. What still waits
    /// then ends with the guest.
    fn ask_while_wanted(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
        asked: Request,
    ) -> Result<Response, EngineError> {
        let (driver, id) = (self.driver.clone(), row.id);
        let (answer, answered) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            // Nobody listens when it is not wanted any more.
            answer.send(driver.ask_agent(id, &asked, BECOME_LIMIT)).ok();
        });
        loop {
            match answered.recv_timeout(LOOK_EVERY) {
                Ok(answer) => return Ok(answer?),
                Err(RecvTimeoutError::Timeout) if work.is_cancelled() => {
                    return Err(EngineError::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(unproven(row, "it could not be asked".to_owned()));
                }
            }
        }
    }

    /// The facts of a fork: what the host gives it, and what it showed of itself.
    fn fork_facts(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
        evidence: &Evidence,
    ) -> Result<Vec<IdentityFact>, EngineError> {
        let keys: Vec<(String, String)> = evidence
            .host_keys
            .iter()
            .map(|key| {
                let name = key.kind.file_name();
                (
                    format!("ssh.host-key.{name}"),
                    format!("/etc/ssh/ssh_host_{name}_key.pub"),
                )
            })
            .collect();
        let told = "told by its agent when it was forked";
        let mut values: Vec<Sample<'_>> = vec![
            (
                "machine-id",
                "/etc/machine-id",
                evidence.machine_id.as_bytes(),
            ),
            ("hostname", "/etc/hostname", evidence.hostname.as_bytes()),
            ("fork.randomness", told, &evidence.randomness.0),
            ("fork.uuid", told, evidence.uuid.as_bytes()),
            ("fork.boot-id", told, evidence.boot_id.as_bytes()),
        ];
        for ((item, place), key) in keys.iter().zip(evidence.host_keys.iter()) {
            values.push((item, place, key.public.as_bytes()));
        }
        self.facts_of_fork(row, &values, &work.versions)
    }

    /// Records a fork as itself if it shares nothing with any other guest. One transaction: of two
    /// forks that come at once, the later sees the earlier.
    fn accept_fork(
        &self,
        row: &mut GuestRow,
        evidence: &Evidence,
        facts: &[IdentityFact],
    ) -> Result<(), EngineError> {
        let mut own = row.clone();
        let keys = evidence.host_keys.iter();
        own.host_keys = keys.map(|key| key.public.clone()).collect();
        own.changed_ms = self.now_ms();
        if let Some(fork) = &mut own.plan.fork {
            fork.identified = true;
        }
        let shared = self.store.write(|tx| {
            let shared = self.put_and_compare(tx, &own, facts)?;
            if shared.is_empty() {
                tx.update_guest(&own)?;
            }
            Ok::<_, EngineError>(shared)
        })?;
        if !shared.is_empty() {
            return Err(EngineError::Duplicate {
                guest: row.name.clone(),
                what: shared.join("; "),
            });
        }
        *row = own;
        Ok(())
    }

    /// Plugs an identified fork in and waits for its addresses.
    pub(super) fn ensure_connected(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
    ) -> Result<String, EngineError> {
        match self.ensure_plugged_in(row)? {
            Some(boots) => Ok(boots),
            None => self.ensure_addressed(work, row),
        }
    }

    /// Plugs an identified fork in. One whose process has ended since boots instead, which is what is
    /// returned: it is itself on its disk, too.
    pub(super) fn ensure_plugged_in(
        &self,
        row: &mut GuestRow,
    ) -> Result<Option<String>, EngineError> {
        row.plan.personalisation = None;
        self.driver.ensure_defined(&self.definition(row)?)?;
        // The definition of before would have it go on from memory again.
        self.wait_for_names(row)?;
        self.faults.reach("fork.redefined");
        // A member of a pool that was paused, and whose row does not say so yet, only goes on.
        let was_paused = matches!(self.driver.observe(row.id)?, Power::Paused { .. });
        if self.start_row(row)? == Ensured::Changed && !was_paused {
            return Ok(Some("its process had ended; it boots".to_owned()));
        }
        self.driver.set_links(row.id, true)?;
        self.faults.reach("fork.plugged-in");
        Ok(None)
    }

    /// Lets the programs of a fork that is plugged in begin anew, and waits for its addresses unless
    /// nobody wants that.
    pub(super) fn ensure_addressed(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
    ) -> Result<String, EngineError> {
        let no_wait = row.plan.fork.as_ref().is_some_and(|fork| fork.no_wait);
        let wait = if no_wait { Duration::ZERO } else { CONNECT };
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let asked = Request::Connect(ConnectRequest { wait_ms });
        // It may have ended meanwhile, and what is sent before it has begun anew is lost.
        self.own_agent_listens(row, false)?;
        match self.ask_to_connect(work, row, &asked, wait + ANSWER)? {
            Response::Connected(connected) if connected.complete => Ok(String::new()),
            Response::Connected(_) if no_wait => Ok("not waited for".to_owned()),
            Response::Connected(_) => {
                let why = format!(
                    "it has no address after {} s; is there a DHCP server? --address gives fixed ones",
                    CONNECT.as_secs()
                );
                Err(EngineError::Conflict {
                    act: format!("connect {}", row.name),
                    why,
                })
            }
            _ => Err(unproven(row, "it answered something else".to_owned())),
        }
    }

    /// Asks a fork to connect. One that is cancelled meanwhile is thrown away: its process ends, and
    /// with it the wait for its answer.
    fn ask_to_connect(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
        asked: &Request,
        limit: Duration,
    ) -> Result<Response, EngineError> {
        let (answered, answer) = std::sync::mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            scope.spawn(move || answered.send(self.driver.ask_agent(row.id, asked, limit)));
            loop {
                match answer.recv_timeout(LOOK_EVERY) {
                    Ok(answer) => return Ok(answer?),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(unproven(row, "its agent was not asked".to_owned()));
                    }
                }
                if let Err(cancelled) = work.check_cancelled() {
                    self.driver.ensure_stopped(row.id, StopMethod::Kill)?;
                    return Err(cancelled);
                }
            }
        })
    }

    /// Throws away what a dead process left of a fork that has no identity yet: how far it came
    /// can't be known, and a second start from its memory image would find a newer disk.
    pub(super) fn undo_fork(&self, row: &mut GuestRow) -> Result<(), EngineError> {
        let is_half = row.plan.fork.as_ref().is_some_and(|fork| !fork.identified)
            && matches!(row.state, GuestState::DiskReady | GuestState::Defined);
        if !is_half {
            return Ok(());
        }
        self.driver.ensure_undefined(row.id)?;
        self.faults.reach("fork.undefined");
        durable::ensure_removed(&self.guest_dir(row.id))
            .map_err(EngineError::room("remove an unfinished fork"))?;
        self.faults.reach("fork.removed");
        row.state = GuestState::Planned;
        row.changed_ms = self.now_ms();
        self.store.write(|tx| tx.update_guest(row))?;
        Ok(())
    }
}

pub(super) fn unproven(row: &GuestRow, what: String) -> EngineError {
    EngineError::Unproven {
        guest: row.name.clone(),
        what,
    }
}
