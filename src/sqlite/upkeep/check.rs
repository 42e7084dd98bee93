//! Checks a file for problems.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::error::{ErrorKind, Result, excerpt};
use crate::memory::{self, OutOfMemory};
use crate::model::columns::Table;
use crate::model::rows::RUNNING;
use crate::sqlite::engine::adhoc::{self, Parameters};
use crate::sqlite::file::place::{self, Place};
use crate::sqlite::tables::pruned::PRUNED_RUNS;
use crate::sqlite::tables::references;
use crate::sqlite::upkeep::readable;
use crate::sqlite::upkeep::recovery;

/// Bytes of JSON, and rows, that are read before they are checked.
const SLICE_BYTES: usize = 1 << 20;
const SLICE_ROWS: usize = 256;

/// What kind of fault was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The file's structure is damaged.
    Integrity,
    /// A row belongs to a run that is not there.
    ForeignKey,
    /// A JSON column holds text that is not JSON.
    Json,
    /// A column of text holds what is no text.
    Text,
    /// A run is `running`, but has shown no activity for long.
    StaleRun,
    /// The file has several names.
    HardLink,
    /// A run is being pruned, and cannot go.
    HeldRun,
    /// The disk has failed to take something that was written, and not taken all of it since.
    Sync,
}

impl FindingKind {
    /// What callers of the binding know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::ForeignKey => "foreign_key",
            Self::Json => "json",
            Self::Text => "text",
            Self::StaleRun => "stale_run",
            Self::HardLink => "hard_link",
            Self::HeldRun => "held_run",
            Self::Sync => "sync",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of fault it is.
    pub kind: FindingKind,
    /// The table that it is in, where it is in one.
    pub table: Option<&'static str>,
    /// The key of the row, where it is in one.
    pub id: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A cell that a read decodes: JSON that is yet to be looked at, or what is wrong with it.
pub(crate) struct Cell {
    pub(crate) rowid: i64,
    /// The key of its row, unless that is no text itself.
    pub(crate) id: Option<String>,
    pub(crate) column: &'static str,
    pub(crate) json: Result<Vec<u8>, String>,
}

impl Finding {
    /// A fault of the file's structure.
    pub(crate) fn integrity(message: String) -> Self {
        Self { kind: FindingKind::Integrity, table: None, id: None, message }
    }

    /// Several names of the file, where it has them.
    pub(crate) fn hard_link(place: &Place) -> Option<Self> {
        let names = place.names();
        let message = place::several_names(&place.path, names);
        (names > 1).then_some(Self { kind: FindingKind::HardLink, table: None, id: None, message })
    }

    /// Syncs that failed, and were not made up for.
    pub(crate) fn sync(failed: u64) -> Self {
        let message = format!(
            "{failed} syncs have failed since the log was last checkpointed as a whole; it keeps every acknowledged write that the disk still has: check the disk and its free space, then call checkpoint()"
        );
        Self { kind: FindingKind::Sync, table: None, id: None, message }
    }

    /// What a read refuses.
    pub(crate) fn cell(table: &'static str, cell: &Cell, why: &str) -> Self {
        let kind = if readable::is_json(cell.column) { FindingKind::Json } else { FindingKind::Text };
        let message = format!("{} is {why}, at rowid {}", cell.column, cell.rowid);
        Self { kind, table: Some(table), id: cell.id.clone(), message }
    }
}

/// What SQLite says of a page for which it has no memory, as of a damaged one.
const NO_MEMORY: &str = "error code=7";

/// SQLite's own check of the file's structure. It takes a page for damaged for which there is no memory: what is damaged
/// is so when it is checked once more.
pub(crate) fn integrity(connection: &mut Connection, stop: &Arc<AtomicBool>) -> Result<Vec<Finding>> {
    if integrity_once(connection, stop)?.is_empty() {
        return Ok(Vec::new());
    }
    let found = integrity_once(connection, stop)?;
    if found.iter().any(|finding| finding.message.contains(NO_MEMORY)) {
        return Err(OutOfMemory.into());
    }
    Ok(found)
}

fn integrity_once(connection: &mut Connection, stop: &Arc<AtomicBool>) -> Result<Vec<Finding>> {
    let messages = texts(connection, "PRAGMA integrity_check", &[], stop)?;
    memory::collect(
        messages.filter(|[message]| message != "ok").map(|[message]| Ok(Finding::integrity(message))),
    )
}

/// Rows that belong to no run. The items' index tells which runs they name, without reading them.
pub(crate) fn orphans(connection: &mut Connection, stop: &Arc<AtomicBool>) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for (table, sql) in [
        (
            "intel_items",
            "SELECT item_id, run_id FROM intel_items WHERE run_id IN (
                SELECT run_id FROM intel_items EXCEPT SELECT run_id FROM runs)",
        ),
        ("telemetry", "SELECT run_id, run_id FROM telemetry WHERE run_id NOT IN (SELECT run_id FROM runs)"),
    ] {
        for [id, run_id] in texts(connection, sql, &[], stop)? {
            let message = format!("it belongs to the run {}, which does not exist", excerpt(&run_id));
            let finding =
                Finding { kind: FindingKind::ForeignKey, table: Some(table), id: Some(id), message };
            memory::push(&mut found, finding)?;
        }
    }
    Ok(found)
}

/// Runs that are `running` without activity between `since` and now.
pub(crate) fn stale_runs(
    connection: &mut Connection,
    [since, now]: [&str; 2],
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Finding>> {
    let stale =
        texts(connection, &recovery::stale_sql(), &[since, now], stop)?.map(|[run_id, sign]| Finding {
            kind: FindingKind::StaleRun,
            table: Some("runs"),
            id: Some(run_id),
            message: format!("it is {RUNNING}, and its latest activity was at {sign}"),
        });
    memory::collect(stale.map(Ok))
}

/// Runs that a prune has hidden, and that rows of tables of the user's own keep from being deleted.
pub(crate) fn held_runs(connection: &mut Connection, stop: &Arc<AtomicBool>) -> Result<Vec<Finding>> {
    let held = references::held(connection, stop)?.into_iter().map(|(run_id, why)| Finding {
        kind: FindingKind::HeldRun,
        table: Some("runs"),
        id: Some(run_id),
        message: format!(
            "a prune has hidden it and cannot delete it: {why}; delete the rows that refer to it, and prune again"
        ),
    });
    memory::collect(held.map(Ok))
}

/// The next cells of a table, behind a row: all its JSON, and what is no text where text has to be. And the last row,
/// `None` where none are left.
pub(crate) fn slice(connection: &Connection, table: &Table, after: i64) -> Result<(Vec<Cell>, Option<i64>)> {
    let mut statement = connection.prepare_cached(&slice_sql(table))?;
    let mut rows = statement.query([after])?;
    let (mut cells, mut last, mut read, mut bytes) = (Vec::new(), None, 0, 0);
    while read < SLICE_ROWS
        && bytes < SLICE_BYTES
        && let Some(row) = rows.next()?
    {
        let rowid = row.get(0)?;
        if rowid <= last.unwrap_or(after) {
            // A damaged table may have no end. That its rows are not in order is SQLite's to find.
            return Ok((cells, None));
        }
        last = Some(rowid);
        read += 1;
        for (index, column) in table.columns.iter().copied().enumerate() {
            let value = row.get_ref(1 + index)?;
            let json = match readable::cell(column, value) {
                Ok(None) => continue,
                Ok(Some(json)) => Ok(memory::bytes(json)?),
                Err(why) => Err(why),
            };
            bytes += json.as_ref().map_or(0, Vec::len);
            let id = row.get_ref(1)?.as_str().ok().map(memory::text).transpose()?;
            memory::push(&mut cells, Cell { rowid, id, column, json })?;
        }
    }
    Ok((cells, last))
}

fn slice_sql(table: &Table) -> String {
    format!(
        "SELECT rowid, {} FROM {} WHERE rowid > ? AND coalesce(run_id, '') NOT IN ({PRUNED_RUNS}) ORDER BY rowid",
        table.columns.join(", "),
        table.name,
    )
}

/// The rows of a query of `N` texts.
fn texts<const N: usize>(
    connection: &mut Connection,
    sql: &str,
    parameters: &[&str],
    stop: &Arc<AtomicBool>,
) -> Result<impl Iterator<Item = [String; N]> + use<N>> {
    let parameters = parameters.iter().map(|text| Value::from((*text).to_owned())).collect();
    let is_stopped = || stop.load(Ordering::Relaxed);
    let rows = adhoc::run(connection, sql, &Parameters::Positional(parameters), &is_stopped)
        // It is ours, so that what SQLite cannot make of it is the file's fault.
        .map_err(|error| match error.kind {
            ErrorKind::Query => error.of_kind(ErrorKind::CorruptDatabase),
            _ => error,
        })?
        .rows;
    Ok(rows.into_iter().map(|row| {
        let mut values = row.into_iter();
        std::array::from_fn(|_| match values.next() {
            Some(Value::Text(text)) => text,
            other => format!("{other:?}"),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::columns::TABLES;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    #[test]
    fn a_slice_ends_where_it_is_large_and_the_next_goes_on_behind_it() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
                 SELECT value, 't', '', 's', printf('%.*c', 700000, '0') FROM json_each('[1, 2, 3]')",
            )
            .unwrap();
        let (cells, last) = slice(&connection, &TABLES[0], i64::MIN).unwrap();
        assert_eq!((cells.len(), last), (2, Some(2)));
        let (cells, last) = slice(&connection, &TABLES[0], 2).unwrap();
        assert_eq!((cells.len(), last), (1, Some(3)));
        assert_eq!(slice(&connection, &TABLES[0], 3).unwrap().1, None);
    }

    #[test]
    fn nothing_is_sorted_and_the_next_rows_are_sought() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let plan = |sql: &str| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
            steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
        };
        for table in &TABLES {
            let plan = plan(&slice_sql(table));
            assert!(
                plan.starts_with("SEARCH") && plan.contains("USING INTEGER PRIMARY KEY (rowid>?)"),
                "{plan}"
            );
            assert!(!plan.contains("ORDER BY") && !plan.contains("SCAN"), "{plan}");
        }
        let stale = plan(&recovery::stale_sql());
        for index in ["idx_runs_status (status=?", "idx_intel_items_run_id (run_id=?"] {
            assert!(stale.contains(index), "{stale}");
        }
        assert!(!stale.contains("B-TREE") && !stale.contains("SCAN"), "{stale}");
    }
}
