//! Tables `guests` and `nics`: every guest, and the names that it alone holds.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, json, parsed, parsed_option, to_json, unique};
use rusqlite::{Row, params};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::{GuestId, ImageId, OperationId, VersionId};
use stampo_core::names::GuestName;
use stampo_core::network::Mac;
use stampo_core::plan::{GuestPlan, Inventory};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRow {
    /// Its id.
    pub id: GuestId,
    /// Its name, unique.
    pub name: GuestName,
    /// The version it was cloned from.
    pub version: VersionId,
    /// The image of that version.
    pub image: ImageId,
    /// How its disk relates to that image now (a flattened clone is full).
    pub kind: CloneKind,
    /// Where it is in its life.
    pub state: GuestState,
    /// The operation that is working on it.
    pub operation: Option<OperationId>,
    /// Every choice made for it. The personalisation is taken out once the guest is complete.
    pub plan: GuestPlan,
    /// The public ssh host keys that were written into it, as `type base64`.
    pub host_keys: Vec<String>,
    /// Why it is being destroyed, or what went wrong last.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub changed_ms: i64,
    /// When a trashed guest may be taken away for good.
    pub keep_until_ms: Option<i64>,
}

/// One interface of a guest, as it is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicRow {
    /// Its MAC, unique.
    pub mac: Mac,
    /// Its forwarded port, unique.
    pub ssh_port: Option<u16>,
    /// Its static address, unique.
    pub address: Option<IpAddr>,
}

impl GuestRow {
    /// Whether it needs the image that it was made of: a linked clone always, a full one while it is
    /// being made.
    pub fn reads_image(&self) -> bool {
        let is_being_made = matches!(
            self.state,
            GuestState::Planned | GuestState::DiskReady | GuestState::Defined
        );
        self.kind == CloneKind::Linked || is_being_made
    }

    fn nics(&self) -> Vec<NicRow> {
        use stampo_core::personalisation::Network;
        let reserve = |nic: &stampo_core::plan::NicPlan| NicRow {
            mac: nic.mac,
            ssh_port: nic.ssh_port,
            address: match &nic.network {
                Network::Static { address, .. } => Some(address.address),
                Network::Dhcp => None,
            },
        };
        self.plan.nics.iter().map(reserve).collect()
    }
}

pub(crate) fn read(row: &Row<'_>) -> Result<GuestRow, StoreError> {
    const TABLE: &str = "guests";
    let kind: String = row.get("kind")?;
    Ok(GuestRow {
        id: parsed(row, TABLE, "id")?,
        name: parsed(row, TABLE, "name")?,
        version: parsed(row, TABLE, "version_id")?,
        image: parsed(row, TABLE, "image_id")?,
        kind: match kind.as_str() {
            "full" => CloneKind::Full,
            "linked" => CloneKind::Linked,
            _ => {
                return Err(StoreError::Damaged {
                    table: TABLE,
                    column: "kind",
                    text: kind,
                });
            }
        },
        state: parsed(row, TABLE, "state")?,
        operation: parsed_option(row, TABLE, "operation_id")?,
        plan: json(row, TABLE, "plan")?,
        host_keys: json(row, TABLE, "host_keys")?,
        error: row.get("error")?,
        created_ms: row.get("created_ms")?,
        changed_ms: row.get("changed_ms")?,
        keep_until_ms: row.get("keep_until_ms")?,
    })
}

impl Tx<'_> {
    /// Adds a guest and reserves its name, MACs, ports and addresses.
    pub fn insert_guest(&self, row: &GuestRow) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO guests (id, name, version_id, image_id, kind, state, operation_id, plan,
             host_keys, error, created_ms, changed_ms, keep_until_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        statement
            .execute(params![
                row.id.to_string(),
                row.name.as_str(),
                row.version.to_string(),
                row.image.as_str(),
                row.kind.as_str(),
                row.state.as_str(),
                row.operation.map(|id| id.to_string()),
                to_json(&row.plan),
                to_json(&row.host_keys),
                row.error,
                row.created_ms,
                row.changed_ms,
                row.keep_until_ms,
            ])
            .map_err(unique(|| format!("guest {}", row.name)))?;
        self.insert_nics(row)
    }

    fn insert_nics(&self, row: &GuestRow) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO nics (guest_id, position, mac, ssh_port, address) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (position, nic) in (0_u32..).zip(row.nics()) {
            statement
                .execute(params![
                    row.id.to_string(),
                    position,
                    nic.mac.to_string(),
                    nic.ssh_port,
                    nic.address.map(|a| a.to_string()),
                ])
                .map_err(unique(|| format!("an interface of {}", row.name)))?;
        }
        Ok(())
    }

    /// Replaces what may change of a guest: name, kind, state, plan, keys, error, times.
    pub fn update_guest(&self, row: &GuestRow) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "UPDATE guests SET name = ?2, kind = ?3, state = ?4, operation_id = ?5, plan = ?6,
             host_keys = ?7, error = ?8, changed_ms = ?9, keep_until_ms = ?10 WHERE id = ?1",
        )?;
        statement
            .execute(params![
                row.id.to_string(),
                row.name.as_str(),
                row.kind.as_str(),
                row.state.as_str(),
                row.operation.map(|id| id.to_string()),
                to_json(&row.plan),
                to_json(&row.host_keys),
                row.error,
                row.changed_ms,
                row.keep_until_ms,
            ])
            .map_err(unique(|| format!("guest {}", row.name)))?;
        Ok(())
    }

    /// Replaces everything of a guest that is damaged, its interfaces too.
    pub fn mend_guest(&self, row: &GuestRow) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE guests SET version_id = ?2, image_id = ?3, created_ms = ?4 WHERE id = ?1",
            params![
                row.id.to_string(),
                row.version.to_string(),
                row.image.as_str(),
                row.created_ms
            ],
        )?;
        self.update_guest(row)?;
        self.replace_nics(row)
    }

    /// The ids of all guests.
    pub fn guest_ids(&self) -> Result<Vec<GuestId>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT id FROM guests ORDER BY id")?;
        collect(&mut statement, [], |row| parsed(row, "guests", "id"))
    }

    /// Records other interfaces for a guest (a port that had to change).
    pub fn replace_nics(&self, row: &GuestRow) -> Result<(), StoreError> {
        self.sql
            .execute("DELETE FROM nics WHERE guest_id = ?1", [row.id.to_string()])?;
        self.insert_nics(row)
    }

    /// The guest of this id.
    pub fn guest(&self, id: GuestId) -> Result<Option<GuestRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM guests WHERE id = ?1")?;
        let mut rows = statement.query([id.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// Whether there is a guest of this id; its row may be one that can't be read.
    pub fn has_guest(&self, id: GuestId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM guests WHERE id = ?1)";
        let mut statement = self.sql.prepare_cached(sql)?;
        Ok(statement.query_row([id.to_string()], |row| row.get(0))?)
    }

    /// The guest of this name.
    pub fn guest_named(&self, name: &GuestName) -> Result<Option<GuestRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM guests WHERE name = ?1")?;
        let mut rows = statement.query([name.as_str()])?;
        rows.next()?.map(read).transpose()
    }

    /// Every guest, oldest first.
    pub fn guests(&self) -> Result<Vec<GuestRow>, StoreError> {
        let sql = "SELECT * FROM guests ORDER BY created_ms, length(name), name";
        collect(&mut self.sql.prepare_cached(sql)?, [], read)
    }

    /// Every guest that was made, briefly: its id, its name, its version. Very many can be asked at once.
    pub fn guest_briefs(&self) -> Result<Vec<(GuestId, GuestName, VersionId)>, StoreError> {
        const TABLE: &str = "guests";
        let sql = "SELECT id, name, version_id FROM guests
             WHERE state IN ('ready', 'pooled', 'trashed') ORDER BY length(name), name";
        collect(&mut self.sql.prepare_cached(sql)?, [], |row| {
            Ok((
                parsed(row, TABLE, "id")?,
                parsed(row, TABLE, "name")?,
                parsed(row, TABLE, "version_id")?,
            ))
        })
    }

    /// How many guests each version has; versions without guests are left out.
    pub fn guest_counts(&self) -> Result<HashMap<VersionId, usize>, StoreError> {
        let sql = "SELECT version_id, count(*) AS guests FROM guests GROUP BY version_id";
        let counts = collect(&mut self.sql.prepare_cached(sql)?, [], |row| {
            let count: u32 = row.get("guests")?;
            Ok((parsed(row, "guests", "version_id")?, count as usize))
        })?;
        Ok(counts.into_iter().collect())
    }

    /// How many guests a version has.
    pub fn guest_count(&self, version: VersionId) -> Result<usize, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT count(*) FROM guests WHERE version_id = ?1")?;
        let count: u32 = statement.query_row([version.to_string()], |row| row.get(0))?;
        Ok(count as usize)
    }

    /// The guests that this operation works on, by name.
    pub fn guests_of_operation(&self, operation: OperationId) -> Result<Vec<GuestRow>, StoreError> {
        let sql = "SELECT * FROM guests WHERE operation_id = ?1 ORDER BY length(name), name";
        collect(
            &mut self.sql.prepare_cached(sql)?,
            [operation.to_string()],
            read,
        )
    }

    /// Id and name of every guest in this state that no operation holds.
    pub fn idle_guests(&self, state: GuestState) -> Result<Vec<(GuestId, GuestName)>, StoreError> {
        let sql = "SELECT id, name FROM guests WHERE state = ?1 AND operation_id IS NULL";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [state.as_str()], |row| {
            Ok((parsed(row, "guests", "id")?, parsed(row, "guests", "name")?))
        })
    }

    /// Remembers the host name that a guest has inside, from before it was first renamed.
    pub fn keep_host_name(&self, id: GuestId, name: &GuestName) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO host_names (guest_id, name) VALUES (?1, ?2)
             ON CONFLICT (guest_id) DO NOTHING",
            params![id.to_string(), name.as_str()],
        )?;
        Ok(())
    }

    /// The host name that a renamed guest has inside.
    pub fn host_name(&self, id: GuestId) -> Result<Option<GuestName>, StoreError> {
        let sql = "SELECT name FROM host_names WHERE guest_id = ?1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let mut names = collect(&mut statement, [id.to_string()], |row| {
            parsed(row, "host_names", "name")
        })?;
        Ok(names.pop())
    }

    /// Forgets a guest and frees everything that it held.
    pub fn delete_guest(&self, id: GuestId) -> Result<(), StoreError> {
        self.sql
            .execute("DELETE FROM guests WHERE id = ?1", [id.to_string()])?;
        Ok(())
    }

    /// The ports of the loopback that guests hold.
    pub fn ports(&self) -> Result<BTreeSet<u16>, StoreError> {
        let sql = "SELECT ssh_port FROM nics WHERE ssh_port IS NOT NULL";
        let ports = collect(&mut self.sql.prepare_cached(sql)?, [], |row| {
            Ok(row.get("ssh_port")?)
        })?;
        Ok(ports.into_iter().collect())
    }

    /// What all guests hold together. A renamed guest holds its host name too: a new guest of that
    /// name would have the same.
    pub fn inventory(&self) -> Result<Inventory, StoreError> {
        let mut inventory = Inventory::default();
        let mut names = self
            .sql
            .prepare_cached("SELECT name FROM guests UNION SELECT name FROM host_names")?;
        let names = collect(&mut names, [], |row| parsed(row, "guests", "name"))?;
        inventory.names.extend(names);
        let mut nics = self
            .sql
            .prepare_cached("SELECT mac, ssh_port, address FROM nics")?;
        let nics = collect(&mut nics, [], |row| {
            Ok(NicRow {
                mac: parsed(row, "nics", "mac")?,
                ssh_port: row.get("ssh_port")?,
                address: parsed_option(row, "nics", "address")?,
            })
        })?;
        for nic in nics {
            inventory.macs.insert(nic.mac);
            inventory.ports.extend(nic.ssh_port);
            inventory.addresses.extend(nic.address);
        }
        Ok(inventory)
    }
}
