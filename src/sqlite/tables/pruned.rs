//! Which runs are there: one that is being pruned is not.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::tables::cells::Text;

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
    let mut statement = connection.prepare_cached("SELECT run_id FROM runs WHERE pruned_at IS NOT NULL")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// What a run that one index has and another has not comes to.
pub(crate) fn indexes_disagree(run_id: &str) -> StoreError {
    let what = format!("the indexes of the file do not agree on the run {run_id:?}");
    StoreError::new(ErrorKind::CorruptDatabase, what)
}

/// What a call about a run that is not there fails with.
pub(crate) fn not_found(run_id: &str) -> StoreError {
    StoreError::new(ErrorKind::RunNotFound, format!("there is no run {run_id:?}; nothing was changed"))
}
