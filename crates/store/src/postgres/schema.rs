//! The tables, and how an older set of them becomes the present one.
//!
//! Migrations are plain SQL in `migrations/`, applied in order, all in one transaction, under a lock of the database, so that two
//! processes that start at once do not meet. They are append-only: a released one is never changed.

use std::time::Duration;

use super::address::Address;
use super::link::{Conn, Fault};
use crate::OpenError;

/// Every migration: its version is its place, from 1.
const MIGRATIONS: [(&str, &str); 4] = [
    ("start", include_str!("../../migrations/0001_start.sql")),
    ("bounded columns", include_str!("../../migrations/0002_bounded_columns.sql")),
    ("packed", include_str!("../../migrations/0003_packed.sql")),
    ("replaced", include_str!("../../migrations/0004_replaced.sql")),
];

/// The version that this program makes and knows.
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Any number that is ours; the lock is per database.
const LOCK: &str = "7234017283807667300";

/// How long one migration may take: some write a large table anew.
const MIGRATION_MAX: Duration = Duration::from_secs(3_600);

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version found; 0 where there was nothing.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// The server and database, without the password.
    pub server: String,
}

/// Brings the tables to the present version, and makes them where there are none.
pub(crate) async fn migrate(conn: &Conn, address: &Address) -> Result<Migrated, OpenError> {
    let failed = |fault: Fault| fault.open_error(address);
    if let Some(found) = version(conn).await.map_err(failed)? {
        refuse_newer(found, address)?;
        if found == VERSION {
            return Ok(Migrated { from: found, to: found, server: address.shown().to_owned() });
        }
    }
    conn.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}); SET LOCAL statement_timeout = 0")).await.map_err(failed)?;
    let migrated = apply(conn, address).await;
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = conn.batch(end).await;
    let migrated = migrated?;
    ended.map_err(failed)?;
    Ok(migrated)
}

async fn apply(conn: &Conn, address: &Address) -> Result<Migrated, OpenError> {
    let failed = |fault: Fault| fault.open_error(address);
    // Whoever had the lock before may have done it all.
    let from = version(conn).await.map_err(failed)?.unwrap_or(0);
    refuse_newer(from, address)?;
    if from == 0 {
        conn.batch(
            "CREATE SCHEMA IF NOT EXISTS trunkline; \
             CREATE TABLE IF NOT EXISTS trunkline.migrations \
             (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .await
        .map_err(failed)?;
    }
    for (number, (name, sql)) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > from) {
        tracing::info!(server = %address, version = number, "migrating the tables: {name}");
        conn.batch_within(MIGRATION_MAX, sql).await.map_err(failed)?;
        conn.batch(&format!("INSERT INTO trunkline.migrations (version, name) VALUES ({number}, '{name}')")).await.map_err(failed)?;
    }
    Ok(Migrated { from, to: VERSION, server: address.shown().to_owned() })
}

/// The version of the tables; `None` where there are none.
pub(crate) async fn version(conn: &Conn) -> Result<Option<u32>, Fault> {
    let there: bool = conn.one("SELECT to_regclass('trunkline.migrations') IS NOT NULL", &[]).await?.get(0);
    if !there {
        return Ok(None);
    }
    let version: Option<i32> = conn.one("SELECT max(version) FROM trunkline.migrations", &[]).await?.get(0);
    Ok(version.map(i32::cast_unsigned))
}

pub(crate) fn refuse_newer(found: u32, address: &Address) -> Result<(), OpenError> {
    if found > VERSION {
        return Err(OpenError::ServerNewer { server: address.shown().to_owned(), found, known: VERSION });
    }
    Ok(())
}
