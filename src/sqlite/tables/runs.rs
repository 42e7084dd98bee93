//! The SQL of the `runs` table.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::rows::{IfOver, NewRun, RUN_COLUMNS, RunEnd, Runs};
use crate::sqlite::engine::heartbeats;
use crate::sqlite::tables::cells::{Text, push_cell};
use crate::sqlite::tables::deletion;

/// The status of a run that has started and not finished.
pub const RUNNING: &str = "running";

/// A row where any run is being pruned.
pub(crate) const IS_ANY_PRUNED: &str = "SELECT 1 FROM runs WHERE pruned_at IS NOT NULL";

/// Insert a run.
pub(crate) fn insert(connection: &Connection, run: &NewRun) -> Result<()> {
    if try_insert(connection, run)?
        || deletion::make_room(connection, &run.run_id)? && try_insert(connection, run)?
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
    let condition = match end.if_over {
        IfOver::Replace => "recovered_at IS NULL",
        IfOver::Keep => "recovered_at IS NULL AND status = 'running'",
        IfOver::Force => "1",
    };
    // Whatever its status becomes, a run that was recovered stays so: its worker may still be there.
    let finished = connection
        .prepare_cached(&format!(
            "UPDATE runs SET status = ?, finished_at = ?, notes = ?
            WHERE run_id = ? AND pruned_at IS NULL AND {condition}"
        ))?
        .execute((&end.status, finished_at, &end.notes, &end.run_id))?;
    if finished > 0 {
        return Ok(());
    }
    let (recovered, error) = over(connection, &end.run_id)?;
    match (recovered, error.kind) {
        (true, _) => Err(error.note("finish_run with force=True sets its status all the same")),
        (false, ErrorKind::RunFinished) if end.if_over == IfOver::Keep => Ok(()),
        _ => Err(error),
    }
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

/// Fail unless there is such a run, and it was not recovered or `force` is set; give its sign of life if it has given
/// none this second.
///
/// It is for the transaction of the write: a run cannot be recovered between this look and what is written for it.
pub(crate) fn require(connection: &Connection, run_id: &[u8], force: bool, now: &str) -> Result<()> {
    let found: Option<(bool, bool)> = connection
        .prepare_cached(
            "SELECT recovered_at IS NOT NULL, status = 'running' AND coalesce(heartbeat_at, started_at) < ?2
            FROM runs WHERE run_id = ?1 AND pruned_at IS NULL",
        )?
        .query_row((Text(Some(run_id)), heartbeats::second(now)), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        None => Err(not_found(&String::from_utf8_lossy(run_id))),
        Some((true, _)) if !force => Err(why_over(connection, &String::from_utf8_lossy(run_id))?),
        Some((true, _) | (_, false)) => Ok(()),
        Some((false, true)) => heartbeats::give(connection, run_id, now),
    }
}

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

/// Why a run that was to be running is not.
pub(crate) fn why_over(connection: &Connection, run_id: &str) -> Result<StoreError> {
    over(connection, run_id).map(|(_, why)| why)
}

/// Whether a run that is over was recovered, and what to say of it.
fn over(connection: &Connection, run_id: &str) -> Result<(bool, StoreError)> {
    let found: Option<(String, Option<String>)> = connection
        .prepare_cached("SELECT status, recovered_at FROM runs WHERE run_id = ? AND pruned_at IS NULL")?
        .query_row([run_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let over = |what| StoreError::new(ErrorKind::RunFinished, what);
    Ok(match found {
        None => (false, not_found(run_id)),
        Some((status, Some(at))) => {
            let what = format!(
                "the run {run_id:?} gave no sign of life and was recovered at {at}: its status is {status:?}; nothing was changed; stop the work on it, or call reopen_run if it is alive after all"
            );
            (true, over(what))
        }
        Some((status, None)) => {
            (false, over(format!("the run is over: its status is {status:?}; nothing was changed")))
        }
    })
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
