//! Table `leases`: when guests end by themselves. A lease goes with its guest.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::{Row, params};
use stampo_core::ids::GuestId;
use stampo_core::lease::{Lease, Span};

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

    /// The lease of a guest.
    pub fn lease(&self, guest: GuestId) -> Result<Option<LeaseRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM leases WHERE guest_id = ?1")?;
        let mut rows = statement.query([guest.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// Every lease, the one that ends first at the front.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        let sql = "SELECT * FROM leases ORDER BY until_ms, guest_id";
        collect(&mut self.sql.prepare_cached(sql)?, [], read)
    }

    /// Lets a guest live on. Whether it had a lease.
    pub fn delete_lease(&self, guest: GuestId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM leases WHERE guest_id = ?1";
        Ok(self.sql.execute(sql, [guest.to_string()])? > 0)
    }
}
