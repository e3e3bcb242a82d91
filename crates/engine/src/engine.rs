//! What every operation works with: the catalog, the pool, the driver, the clock.

use crate::error::EngineError;
use crate::fault::Faults;
use crate::turns::Turns;
use stampo_build::{Installer, Mmdebstrap};
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_core::size::ByteSize;
use stampo_driver::Driver;
use stampo_image::pool::Pool;
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{AuditEntry, GuestRow, Store, StoreError, Tx};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the engine behaves. Every field has a default that suits one machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many guests are worked on at once. Default: twice the processors, at most 16.
    pub parallel: usize,
    /// How long the agent's shutdown may take. Default: 30 s.
    pub stop_agent: Duration,
    /// How long the ACPI shutdown may take after that. Default: 60 s.
    pub stop_acpi: Duration,
    /// How long a retired version is kept. Default: 30 days.
    pub retired_grace: Duration,
    /// How much memory instant clones may be promised. Default: all that the host has.
    pub guest_memory: Option<ByteSize>,
    /// Who acts, for the audit, for example `local:anna`.
    pub actor: String,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            parallel: (cores * 2).min(16),
            stop_agent: Duration::from_secs(30),
            stop_acpi: Duration::from_secs(60),
            retired_grace: Duration::from_secs(30 * 24 * 3600),
            guest_memory: None,
            actor: "local:unknown".to_owned(),
        }
    }
}

/// The engine.
pub struct Engine {
    pub(crate) home: PathBuf,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) installer: Arc<dyn Installer>,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    /// For what keeps a processor of the host busy.
    pub(crate) turns: Turns,
    pub(crate) me: ProcessIdentity,
}

impl Engine {
    /// Opens the engine over `home`, which is made if it is missing. Recovers nothing yet.
    pub fn open(
        home: &Path,
        driver: Arc<dyn Driver>,
        settings: Settings,
    ) -> Result<Engine, EngineError> {
        let pool = Pool::open(home).map_err(EngineError::room("open the pool"))?;
        let catalog = home.join("catalog.db");
        if !catalog.exists() {
            wait_for_home(home)?;
        }
        let store = Store::open(&catalog)?;
        let me = ProcessIdentity::current().map_err(EngineError::io("read", "/proc/self/stat"))?;
        let faults = Faults::default();
        Ok(Engine {
            home: home.to_owned(),
            store,
            pool,
            driver,
            installer: Arc::new(Mmdebstrap),
            settings,
            faults,
            turns: Turns::of_processors(),
            me,
        })
    }

    /// As this engine, with something to do at named points. For tests.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Engine {
        self.faults = faults;
        self
    }

    /// As this engine, with another installer of what is built. For tests.
    #[must_use]
    pub fn with_installer(mut self, installer: Arc<dyn Installer>) -> Engine {
        self.installer = installer;
        self
    }

    /// The catalog, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The driver.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    /// Where everything is kept.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// 16 bytes from the system's generator.
    pub(crate) fn random16() -> [u8; 16] {
        rand::random()
    }

    /// The directory of a guest's own files.
    pub(crate) fn guest_dir(&self, id: stampo_core::ids::GuestId) -> PathBuf {
        self.driver.guests_dir().join(id.to_string())
    }

    /// The guest of this name.
    pub fn guest_row(&self, name: &GuestName) -> Result<GuestRow, EngineError> {
        let found = self.store.read(|tx| tx.guest_named(name))?;
        found.ok_or_else(|| EngineError::NotFound {
            what: "guest",
            name: name.to_string(),
        })
    }

    /// The guest of this name, if it is complete; known to the driver, which may have lost it.
    pub(crate) fn ready_guest(&self, name: &GuestName, act: &str) -> Result<GuestRow, EngineError> {
        let row = self.guest_row(name)?;
        if !row.state.is_complete() {
            return Err(EngineError::Conflict {
                act: format!("{act} {name}"),
                why: in_pool(&row).unwrap_or_else(|| format!("it is {}", row.state)),
            });
        }
        self.power(&row);
        Ok(row)
    }

    /// Adds an audit record in the transaction that makes the change.
    pub(crate) fn audit(
        &self,
        tx: &Tx<'_>,
        action: &str,
        resource: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        self.audit_as(tx, &self.settings.actor, action, resource, detail)
    }

    /// Records that something is about to be done that no transaction holds. What can't be recorded is
    /// not done.
    pub(crate) fn audit_begun(
        &self,
        action: &str,
        resource: &str,
        detail: &str,
    ) -> Result<(), EngineError> {
        let entry = AuditEntry {
            actor: &self.settings.actor,
            action,
            resource,
            outcome: "begun",
            detail,
        };
        let now_ms = self.now_ms();
        self.store.write(|tx| tx.insert_audit(&entry, now_ms))?;
        Ok(())
    }

    /// As [`Engine::audit`], in another name.
    pub(crate) fn audit_as(
        &self,
        tx: &Tx<'_>,
        actor: &str,
        action: &str,
        resource: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry {
            actor,
            action,
            resource,
            outcome: "ok",
            detail,
        };
        tx.insert_audit(&entry, self.now_ms())
    }

    /// Records that something was refused or failed. Never fails itself: the caller already has an
    /// error to report.
    pub fn audit_failure(&self, action: &str, resource: &str, outcome: &str, detail: &str) {
        self.audit_failure_as(&self.settings.actor, action, resource, outcome, detail);
    }

    /// The same by somebody else than who gave the command.
    pub(crate) fn audit_failure_as(
        &self,
        actor: &str,
        action: &str,
        resource: &str,
        outcome: &str,
        detail: &str,
    ) {
        let entry = AuditEntry {
            actor,
            action,
            resource,
            outcome,
            detail,
        };
        let now_ms = self.now_ms();
        if let Err(error) = self.store.write(|tx| tx.insert_audit(&entry, now_ms)) {
            tracing::error!(%error, action, resource, "an audit record could not be written");
        }
    }
}

/// Why nothing can be done with a guest that waits in a pool; `None` for any other.
pub(crate) fn in_pool(row: &GuestRow) -> Option<String> {
    let member = row.plan.member.as_ref();
    let waits = member.filter(|_| row.state == GuestState::Pooled);
    waits.map(|member| {
        let pool = &member.pool;
        format!("it is pooled, and nobody's yet; take one: stampo pool take {pool}")
    })
}

/// Waits until the home's own name is durable, before anything is in it: whoever made it may not
/// have. One that lies where this user can't look was made by somebody else, and long ago.
fn wait_for_home(home: &Path) -> Result<(), EngineError> {
    match stampo_image::durable::fsync_parent(home) {
        Err(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(EngineError::room("make the home durable")),
    }
}
