//! The SQL of the `runs` table.

use rusqlite::{Connection, Row};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::{NewRun, RUN_COLUMNS, RunEnd, Runs};
use crate::retention;
use crate::sql::{Text, push_cell};

/// The status of a run that has started and not finished.
pub const RUNNING: &str = "running";

/// Insert a run.
pub(crate) fn insert(connection: &Connection, run: &NewRun) -> Result<()> {
    if try_insert(connection, run)?
        || retention::make_room(connection, &run.run_id)? && try_insert(connection, run)?
    {
        return Ok(());
    }
    Err(StoreError::new(ErrorKind::RunExists, "there is a run with this run_id already; nothing was changed"))
}

/// Insert a run unless there is one with its id.
fn try_insert(connection: &Connection, run: &NewRun) -> Result<bool> {
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
    Ok(inserted > 0)
}

/// Record how a run ended.
pub(crate) fn finish(connection: &Connection, end: &RunEnd, finished_at: &str) -> Result<()> {
    let updated = connection
        .prepare_cached(
            "UPDATE runs SET status = ?, finished_at = ?, notes = ? WHERE run_id = ? AND pruned_at IS NULL",
        )?
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
    let there = connection
        .prepare_cached("SELECT 1 FROM runs WHERE run_id = ? AND pruned_at IS NULL")?
        .exists([Text(Some(run_id))])?;
    if there { Ok(()) } else { Err(not_found(&String::from_utf8_lossy(run_id))) }
}

/// What a call about a run that is not there fails with.
pub(crate) fn not_found(run_id: &str) -> StoreError {
    StoreError::new(ErrorKind::RunNotFound, format!("there is no run {run_id:?}; nothing was changed"))
}
