//! The SQL of the `runs` table.

use rusqlite::{Connection, Row};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::{NewRun, RUN_COLUMNS, RunEnd, Runs};
use crate::sql::{Text, push_cell};

/// The status of a run that has started and not finished.
pub const RUNNING: &str = "running";

/// Insert a run.
pub(crate) fn insert(connection: &Connection, run: &NewRun) -> Result<()> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT(run_id) DO NOTHING",
        )?
        .execute((
            &run.run_id,
            &run.run_type,
            &run.started_at,
            RUNNING,
            Text(Some(&run.settings_snapshot_json)),
        ))?;
    if inserted == 0 {
        return Err(StoreError::new(
            ErrorKind::RunExists,
            "there is a run with this run_id already; nothing was changed",
        ));
    }
    Ok(())
}

/// Record how a run ended.
pub(crate) fn finish(connection: &Connection, end: &RunEnd, finished_at: &str) -> Result<()> {
    let updated = connection
        .prepare_cached("UPDATE runs SET status = ?, finished_at = ?, notes = ? WHERE run_id = ?")?
        .execute((&end.status, finished_at, &end.notes, &end.run_id))?;
    if updated == 0 { Err(not_found(&end.run_id)) } else { Ok(()) }
}

/// Read a run; no row where there is none.
pub(crate) fn get(connection: &Connection, run_id: &str) -> Result<Runs> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM runs WHERE run_id = ? AND pruned_at IS NULL",
        RUN_COLUMNS.join(", ")
    ))?;
    let mut rows = statement.query([run_id])?;
    let mut runs = Runs::new();
    while let Some(row) = rows.next()? {
        push_row(row, &mut runs)?;
    }
    Ok(runs)
}

/// Append a row whose first columns are [`RUN_COLUMNS`].
pub(crate) fn push_row(row: &Row, runs: &mut Runs) -> Result<()> {
    (0..RUN_COLUMNS.len()).try_for_each(|column| push_cell(row, column, runs, "run"))
}

/// Fail unless there is such a run.
pub(crate) fn require(connection: &Connection, run_id: &[u8]) -> Result<()> {
    let there =
        connection.prepare_cached("SELECT 1 FROM runs WHERE run_id = ?")?.exists([Text(Some(run_id))])?;
    if there { Ok(()) } else { Err(not_found(&String::from_utf8_lossy(run_id))) }
}

/// Whether any run is being pruned. Nearly always none is, and asking takes microseconds.
pub(crate) fn is_any_pruned(connection: &Connection) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM runs WHERE pruned_at IS NOT NULL")?.exists([])?)
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

fn not_found(run_id: &str) -> StoreError {
    StoreError::new(ErrorKind::RunNotFound, format!("there is no run {run_id:?}; nothing was changed"))
}
