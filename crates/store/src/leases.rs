//! Table `leases`: when guests end by themselves. A lease goes with its guest.

use crate::connection::{StoreError, Tx};
use crate::convert::parsed;
use rusqlite::{Row, params};
use stampo_core::ids::GuestId;
use stampo_core::lease::{Lease, Span};

/// Every lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases {
    /// Those whose row has the right checksum, the one that ends first at the front.
    pub right: Vec<LeaseRow>,
    /// Of which guests the others were, as far as their rows tell.
    pub damaged: Vec<GuestId>,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// What was agreed.
    pub lease: Lease,
    /// The process that the guest ends with, as JSON.
    pub tied_to: Option<String>,
}

fn read(row: &Row<'_>) -> Result<LeaseRow, StoreError> {
    let seconds: i64 = row.get("span_s")?;
    Ok(LeaseRow {
        lease: Lease {
            guest: parsed(row, "leases", "guest_id")?,
            until_ms: row.get("until_ms")?,
            span: Span::of_seconds(seconds.cast_unsigned()),
            warned: row.get("warned")?,
            ending: parsed(row, "leases", "ending")?,
        },
        tied_to: row.get("tied_to")?,
    })
}

impl Tx<'_> {
    /// Gives a guest a lease, in place of the one that it may have.
    pub fn put_lease(&self, row: &LeaseRow) -> Result<(), StoreError> {
        let lease = &row.lease;
        self.sql.execute(
            "INSERT INTO leases (guest_id, until_ms, span_s, warned, ending, tied_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (guest_id) DO UPDATE SET until_ms = excluded.until_ms,
             span_s = excluded.span_s, warned = excluded.warned, ending = excluded.ending,
             tied_to = excluded.tied_to",
            params![
                lease.guest.to_string(),
                lease.until_ms,
                lease.span.seconds().cast_signed(),
                lease.warned,
                lease.ending.as_str(),
                row.tied_to,
            ],
        )?;
        Ok(())
    }

    /// The lease of a guest. A row that has rotted says nothing that could be acted upon, and is none.
    pub fn lease(&self, guest: GuestId) -> Result<Option<LeaseRow>, StoreError> {
        let sql = format!(
            "SELECT * FROM leases WHERE guest_id = ?1 AND NOT ({})",
            self.damage_of("leases")?
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut rows = statement.query([guest.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// Every lease, also those that have rotted: they keep no other from being read.
    pub fn leases(&self) -> Result<Leases, StoreError> {
        let sql = format!(
            "SELECT *, {} AS is_damaged FROM leases ORDER BY until_ms, guest_id",
            self.damage_of("leases")?
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut leases = Leases::default();
        while let Some(row) = rows.next()? {
            match row.get("is_damaged")? {
                false => leases.right.push(read(row)?),
                true => {
                    let guest: Result<GuestId, StoreError> = parsed(row, "leases", "guest_id");
                    // One whose guest can't be read is of nobody.
                    leases.damaged.extend(guest.ok());
                }
            }
        }
        Ok(leases)
    }

    /// Whether any guest has a lease.
    pub fn has_leases(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM leases)";
        Ok(self.sql.query_row(sql, [], |row| row.get(0))?)
    }

    /// Lets a guest live on. Whether it had a lease.
    pub fn delete_lease(&self, guest: GuestId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM leases WHERE guest_id = ?1";
        Ok(self.sql.execute(sql, [guest.to_string()])? > 0)
    }
}
