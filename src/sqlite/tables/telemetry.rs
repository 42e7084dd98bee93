//! The SQL of the `telemetry` table.

use std::sync::atomic::AtomicBool;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::json::object;
use crate::memory;
use crate::model::rows::{Telemetry, TextRows};
use crate::sqlite::file::wait::refuse_stopped;
use crate::sqlite::tables::cells::{Text, push_cell};
use crate::sqlite::tables::pruned::TELEMETRY_PRUNED;
use crate::sqlite::tables::runs;

/// Set a run's telemetry document.
pub(crate) fn write(connection: &Connection, telemetry: &Telemetry, created_at: &str) -> Result<()> {
    require(connection, telemetry, created_at, "write_telemetry")?;
    set(connection, &telemetry.run_id, &telemetry.telemetry_json, created_at)
}

/// Merge the members of an object into a run's telemetry document; without a document, the object becomes it.
pub(crate) fn merge(connection: &Connection, telemetry: &Telemetry, created_at: &str) -> Result<()> {
    let before = get(connection, &telemetry.run_id)?;
    let merged = object::merge(before.as_deref().unwrap_or(b"{}"), &telemetry.telemetry_json)?.ok_or_else(|| {
        StoreError::new(
            ErrorKind::InvalidValue,
            "the run's telemetry document is not a JSON object, and has no keys to merge with; nothing was changed; write_telemetry replaces it",
        )
    })?;
    // Last, as it may record a heartbeat, and a transaction of the caller's goes on after an error.
    require(connection, telemetry, created_at, "merge_telemetry")?;
    set(connection, &telemetry.run_id, &merged, created_at)
}

fn require(connection: &Connection, telemetry: &Telemetry, now: &str, call: &str) -> Result<()> {
    let required = runs::require(connection, telemetry.run_id.as_bytes(), telemetry.force, now);
    required.map_err(|error| match error.kind {
        ErrorKind::RunFinished => error.note(format!("{call} with force=True writes it nevertheless")),
        _ => error,
    })
}

fn set(connection: &Connection, run_id: &str, telemetry_json: &[u8], created_at: &str) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO telemetry(run_id, telemetry_json, created_at) VALUES (?, ?, ?)
             ON CONFLICT(run_id) DO UPDATE SET
                 telemetry_json = excluded.telemetry_json, created_at = excluded.created_at",
        )?
        .execute((run_id, Text(Some(telemetry_json)), created_at))?;
    Ok(())
}

/// Read a run's telemetry document.
pub(crate) fn get(connection: &Connection, run_id: &str) -> Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT run_id, telemetry_json FROM telemetry WHERE run_id = ? AND NOT {TELEMETRY_PRUNED}"
    ))?;
    let mut rows = statement.query([run_id])?;
    let mut document = TextRows::<2>::new();
    while let Some(row) = rows.next()? {
        (0..2).try_for_each(|column| push_cell(row, column, &mut document, "telemetry"))?;
    }
    Ok(document.get(0, 1_usize).map(memory::bytes).transpose()?)
}

/// Read the telemetry documents of these runs, unless told to stop.
pub(crate) fn list(
    connection: &Connection,
    run_ids: &[String],
    stop: &AtomicBool,
) -> Result<Vec<Option<Vec<u8>>>> {
    let read = |run_id: &String| {
        refuse_stopped(stop)?;
        get(connection, run_id)
    };
    memory::collect(run_ids.iter().map(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    #[test]
    fn a_pruned_run_has_no_telemetry() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
                 VALUES ('r', 'daily', '2026', 'failed', '{}');
                 INSERT INTO telemetry VALUES ('r', '1', 'now')",
            )
            .unwrap();
        assert_eq!(get(&connection, "r").unwrap().unwrap(), b"1");
        connection.execute_batch("UPDATE runs SET pruned_at = 'now'").unwrap();
        assert_eq!(get(&connection, "r").unwrap(), None);
        let run_ids = ["r".to_owned()];
        assert_eq!(list(&connection, &run_ids, &AtomicBool::new(false)).unwrap(), [None]);
        let stopped = list(&connection, &run_ids, &AtomicBool::new(true));
        assert_eq!(stopped.unwrap_err().kind, ErrorKind::Interrupted);
    }
}
