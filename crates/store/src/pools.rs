//! Table `pools`, and the guests that are members of one.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, json, parsed, to_json, unique};
use crate::guests::GuestRow;
use rusqlite::{Row, params};
use stampo_core::guest::GuestState;
use stampo_core::names::PoolName;
use stampo_core::pool::Pool;

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// What is wanted.
    pub pool: Pool,
    /// The number of the next member, from 1; none is given twice.
    pub next_member: u32,
    /// Why no member could be made last.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub changed_ms: i64,
}

fn read(row: &Row<'_>) -> Result<PoolRow, StoreError> {
    const TABLE: &str = "pools";
    Ok(PoolRow {
        pool: Pool {
            name: parsed(row, TABLE, "name")?,
            from: parsed(row, TABLE, "reference")?,
            warm: row.get("warm")?,
            depth: parsed(row, TABLE, "depth")?,
            spec: json(row, TABLE, "spec")?,
            generation: row.get("generation")?,
        },
        next_member: row.get("next_member")?,
        error: row.get("error")?,
        created_ms: row.get("created_ms")?,
        changed_ms: row.get("changed_ms")?,
    })
}

impl Tx<'_> {
    /// Adds a pool.
    pub fn insert_pool(&self, row: &PoolRow) -> Result<(), StoreError> {
        let pool = &row.pool;
        self.sql
            .execute(
                "INSERT INTO pools (name, reference, warm, depth, spec, generation, next_member,
                 error, created_ms, changed_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    pool.name.as_str(),
                    pool.from.to_string(),
                    pool.warm,
                    pool.depth.as_str(),
                    to_json(&pool.spec),
                    pool.generation,
                    row.next_member,
                    row.error,
                    row.created_ms,
                    row.changed_ms,
                ],
            )
            .map_err(unique(|| format!("pool {}", pool.name)))?;
        Ok(())
    }

    /// Replaces everything of a pool but its name.
    pub fn update_pool(&self, row: &PoolRow) -> Result<(), StoreError> {
        let pool = &row.pool;
        self.sql.execute(
            "UPDATE pools SET reference = ?2, warm = ?3, depth = ?4, spec = ?5, generation = ?6,
             next_member = ?7, error = ?8, changed_ms = ?9 WHERE name = ?1",
            params![
                pool.name.as_str(),
                pool.from.to_string(),
                pool.warm,
                pool.depth.as_str(),
                to_json(&pool.spec),
                pool.generation,
                row.next_member,
                row.error,
                row.changed_ms,
            ],
        )?;
        Ok(())
    }

    /// Forgets a pool. Its members stay.
    pub fn delete_pool(&self, name: &PoolName) -> Result<(), StoreError> {
        self.sql
            .execute("DELETE FROM pools WHERE name = ?1", [name.as_str()])?;
        Ok(())
    }

    /// The pool of this name.
    pub fn pool(&self, name: &PoolName) -> Result<Option<PoolRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM pools WHERE name = ?1")?;
        let mut rows = statement.query([name.as_str()])?;
        rows.next()?.map(read).transpose()
    }

    /// Every pool, by name.
    pub fn pools(&self) -> Result<Vec<PoolRow>, StoreError> {
        let sql = "SELECT * FROM pools ORDER BY name";
        collect(&mut self.sql.prepare_cached(sql)?, [], read)
    }

    /// Every guest that waits in a pool, the one that has waited longest first.
    pub fn pooled_guests(&self) -> Result<Vec<GuestRow>, StoreError> {
        // As the partial index has it, which finds a few among very many.
        let sql = "SELECT * FROM guests WHERE state = 'pooled' ORDER BY changed_ms, id";
        collect(&mut self.sql.prepare_cached(sql)?, [], crate::guests::read)
    }

    /// The guests that are being made, or taken away, by operations of this kind.
    pub fn guests_of_operations(&self, kind: &str) -> Result<Vec<GuestRow>, StoreError> {
        let sql = "SELECT guests.* FROM operations
             JOIN guests ON guests.operation_id = operations.id
             WHERE operations.state = 'running' AND operations.kind = ?1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let mut rows = collect(&mut statement, [kind], crate::guests::read)?;
        rows.retain(|row| row.state != GuestState::Destroying);
        Ok(rows)
    }
}
