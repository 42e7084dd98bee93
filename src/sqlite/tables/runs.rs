//! The SQL of the `runs` table.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::model::columns::RunColumn;
use crate::model::rows::{IfOver, NewRun, RUNNING, RunEnd, Runs};
use crate::model::time;
use crate::sqlite::tables::cells::{self, Text, push_cell};
use crate::sqlite::tables::deletion;
use crate::sqlite::tables::pruned::{self, NOT_PRUNED};

/// Insert a run.
pub(crate) fn insert(connection: &Connection, run: &NewRun) -> Result<()> {
    if try_insert(connection, run)?
        || deletion::make_room(connection, &run.run_id)? && try_insert(connection, run)?
    {
        return Ok(());
    }
    Err(StoreError::new(ErrorKind::RunExists, "there is a run with this run_id already; nothing was changed"))
}

/// Insert a run; or return the existing one with its id and type, whatever its status. No row if it is new. Starting a
/// run that is running counts as a heartbeat.
pub(crate) fn insert_or_get(connection: &Connection, run: &NewRun) -> Result<Runs> {
    match insert(connection, run) {
        Ok(()) => return Ok(Runs::new()),
        Err(error) if error.kind == ErrorKind::RunExists => {}
        Err(error) => return Err(error),
    }
    require(connection, run.run_id.as_bytes(), true, &time::now())?;
    let found = get(connection, &run.run_id)?;
    let run_type = found.get(0, RunColumn::RunType).unwrap_or_default();
    if run_type == run.run_type.as_bytes() {
        return Ok(found);
    }
    let run_type = String::from_utf8_lossy(run_type);
    Err(StoreError::new(
        ErrorKind::RunExists,
        format!(
            "there is a run with this run_id already, of run_type {} and not {}; nothing was changed",
            excerpt(&run_type),
            excerpt(&run.run_type)
        ),
    ))
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
            WHERE run_id = ? AND {NOT_PRUNED} AND {condition}"
        ))?
        .execute((&end.status, finished_at, &end.notes, &end.run_id))?;
    if finished > 0 {
        return Ok(());
    }
    // The remaining cases: it was recovered, or it does not exist, or (for `Keep`) it is finished.
    let refused = match end.if_over {
        IfOver::Keep => require(connection, end.run_id.as_bytes(), false, finished_at),
        IfOver::Replace | IfOver::Force => Err(why_over(connection, &end.run_id)?),
    };
    refused.map_err(|error| match error.kind {
        ErrorKind::RunFinished => error.note("finish_run with force=True sets its status nevertheless"),
        _ => error,
    })
}

/// Read a run; no row if there is no such run.
pub(crate) fn get(connection: &Connection, run_id: &str) -> Result<Runs> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM runs WHERE run_id = ? AND {NOT_PRUNED}",
        RunColumn::names(RunColumn::ALL)
    ))?;
    let mut rows = statement.query([run_id])?;
    let mut runs = Runs::new();
    while let Some(row) = rows.next()? {
        push_row(row, &mut runs)?;
    }
    Ok(runs)
}

/// Append a row whose first columns are [`RunColumn::ALL`].
pub(crate) fn push_row(row: &Row, runs: &mut Runs) -> Result<()> {
    (0..RunColumn::ALL.len()).try_for_each(|column| push_cell(row, column, runs, "runs"))
}

/// Fail unless there is such a run, and it was not recovered or `force` is set; record its heartbeat if it has none in
/// this second.
///
/// It is for the transaction of the write: a run cannot be recovered between this look and what is written for it.
pub(crate) fn require(connection: &Connection, run_id: &[u8], force: bool, now: &str) -> Result<()> {
    let found: Option<(bool, bool)> = connection
        .prepare_cached(&format!(
            "SELECT recovered_at IS NOT NULL, status = 'running' AND {BEAT_IS_DUE}
            FROM runs WHERE run_id = ?1 AND {NOT_PRUNED}"
        ))?
        .query_row((Text(Some(run_id)), second(now)), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        None => Err(pruned::not_found(&String::from_utf8_lossy(run_id))),
        Some((true, _)) if !force => Err(why_over(connection, &String::from_utf8_lossy(run_id))?),
        Some((true, _) | (_, false)) => Ok(()),
        Some((false, true)) => give(connection, run_id, now),
    }
}

/// The error for a run that should be running and is not.
pub(crate) fn why_over(connection: &Connection, run_id: &str) -> Result<StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT status, recovered_at FROM runs WHERE run_id = ? AND {NOT_PRUNED}"
    ))?;
    let mut rows = statement.query([run_id])?;
    let found = match rows.next()? {
        Some(row) => {
            Some((cells::nearest(row.get_ref(0)?)?.unwrap_or_default(), cells::nearest(row.get_ref(1)?)?))
        }
        None => None,
    };
    let over = |what| StoreError::new(ErrorKind::RunFinished, what);
    Ok(match found {
        None => pruned::not_found(run_id),
        Some((status, Some(at))) => over(format!(
            "the run {} was recovered at {at}, as it showed no activity: its status is {}; nothing was changed; stop the work on it, or call reopen_run if its worker is still alive",
            excerpt(run_id),
            excerpt(&status)
        )),
        Some((status, None)) => {
            over(format!("the run is over: its status is {}; nothing was changed", excerpt(&status)))
        }
    })
}

/// Of runs: that their last heartbeat is not of the second `?2`. One per second is enough, so that recording one with
/// each write costs nothing. One that is later is of a clock that was set back, and no sign of life for ever.
pub(crate) const BEAT_IS_DUE: &str = "substr(coalesce(heartbeat_at, started_at), 1, 19) <> ?2";

/// A time down to its second.
pub(crate) fn second(now: &str) -> &str {
    now.get(.."2026-01-01T00:00:00".len()).unwrap_or(now)
}

/// Record the heartbeat of a run whose last one is known to be of another second.
pub(crate) fn give(connection: &Connection, run_id: &[u8], now: &str) -> Result<()> {
    connection
        .prepare_cached("UPDATE runs SET heartbeat_at = ? WHERE run_id = ?")?
        .execute((now, Text(Some(run_id))))?;
    Ok(())
}

/// Record a run's heartbeat; an error if it is finished.
pub(crate) fn beat(connection: &Connection, run_id: &str) -> Result<()> {
    let now = time::now();
    let beaten = connection
        .prepare_cached(&format!(
            "UPDATE runs SET heartbeat_at = ? WHERE run_id = ? AND status = 'running' AND recovered_at IS NULL
                AND {NOT_PRUNED}"
        ))?
        .execute((&now, run_id))?;
    if beaten > 0 { Ok(()) } else { Err(why_over(connection, run_id)?) }
}

/// Record the heartbeat of each run that is still running and has none in this second.
pub(crate) fn beat_all(connection: &Connection, run_ids: &[String]) -> Result<()> {
    let now = time::now();
    let mut statement = connection.prepare_cached(&format!(
        "UPDATE runs SET heartbeat_at = ?1 WHERE run_id = ?3 AND status = 'running' AND recovered_at IS NULL
            AND {NOT_PRUNED} AND {BEAT_IS_DUE}"
    ))?;
    run_ids.iter().try_for_each(|run_id| {
        statement.execute((&now, second(&now), run_id))?;
        Ok(())
    })
}

/// The beginning of the notes of a recovered run that had no notes; its latest activity follows.
pub(crate) const RECOVERED: &str = "no sign of life since ";

/// Reopen a recovered run, with a heartbeat of now. A running run only gets the heartbeat.
pub(crate) fn reopen(connection: &Connection, run_id: &str) -> Result<()> {
    let reopened = connection.prepare_cached(&format!("{REOPEN} AND {NOT_PRUNED}"))?.execute((
        time::now(),
        run_id,
        RECOVERED,
    ))?;
    if reopened > 0 {
        return Ok(());
    }
    let error = why_over(connection, run_id)?;
    Err(match error.kind {
        ErrorKind::RunFinished => error.note("it was not recovered, and accepts writes already"),
        _ => error,
    })
}

/// Notes of the recovery are removed: they would be wrong for a running run, and keep the next recovery from writing
/// its own. Other notes stay.
const REOPEN: &str =
    "UPDATE runs SET status = 'running', finished_at = NULL, recovered_at = NULL, heartbeat_at = ?1,
        notes = CASE WHEN recovered_at IS NOT NULL AND substr(notes, 1, length(?3)) = ?3
            AND datetime(substr(notes, length(?3) + 1)) IS NOT NULL THEN NULL ELSE notes END
    WHERE run_id = ?2 AND (recovered_at IS NOT NULL OR status = 'running')";
