//! Conditions that hide a run that is being pruned, with its items and telemetry.
//!
//! This and the schema ([`crate::sqlite::file::migrations`]) alone name the column: each statement that reads runs, items
//! or telemetry has one of these conditions, or goes through what they found.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::sqlite::tables::cells::Text;

/// Of runs: those that are there.
pub(crate) const NOT_PRUNED: &str = "pruned_at IS NULL";

/// Of runs: those that are being pruned, by the index of these few.
pub(crate) const PRUNED: &str = "pruned_at IS NOT NULL";

/// Of items: those whose run is being pruned.
pub(crate) const ITEM_PRUNED: &str =
    "EXISTS (SELECT 1 FROM runs WHERE runs.run_id = intel_items.run_id AND +pruned_at IS NOT NULL)";

/// Of telemetry: what belongs to a run that is being pruned.
pub(crate) const TELEMETRY_PRUNED: &str =
    "EXISTS (SELECT 1 FROM runs WHERE runs.run_id = telemetry.run_id AND +pruned_at IS NOT NULL)";

/// The runs that are being pruned.
pub(crate) const PRUNED_RUNS: &str = "SELECT run_id FROM runs WHERE pruned_at IS NOT NULL";

/// The same, so many of them, in the order in which they are deleted.
pub(crate) const NEXT_PRUNED: &str =
    "SELECT run_id FROM runs WHERE pruned_at IS NOT NULL ORDER BY pruned_at, rowid LIMIT ?";

/// Mark runs as being pruned.
pub(crate) const MARK: &str = "UPDATE runs SET pruned_at = ?";

/// A row where any run is being pruned.
pub(crate) const IS_ANY_PRUNED: &str = "SELECT 1 FROM runs WHERE pruned_at IS NOT NULL";

/// Whether any run is being pruned. Nearly always none is, and asking takes microseconds.
pub(crate) fn is_any_pruned(connection: &Connection) -> Result<bool> {
    Ok(connection.prepare_cached(IS_ANY_PRUNED)?.exists([])?)
}

/// Whether this run is being pruned.
pub(crate) fn is_pruned(connection: &Connection, run_id: &[u8]) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM runs WHERE run_id = ? AND +pruned_at IS NOT NULL")?;
    Ok(statement.exists([Text(Some(run_id))])?)
}

/// The runs that are being pruned.
pub(crate) fn pruned(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(PRUNED_RUNS)?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The error for a run that one index has and another has not.
pub(crate) fn indexes_disagree(run_id: &str) -> StoreError {
    let what = format!("the indexes of the file do not agree on the run {}", excerpt(run_id));
    StoreError::new(ErrorKind::CorruptDatabase, what)
}

/// The error of a call about a run that does not exist.
pub(crate) fn not_found(run_id: &str) -> StoreError {
    StoreError::new(
        ErrorKind::RunNotFound,
        format!("there is no run {}; nothing was changed", excerpt(run_id)),
    )
}
