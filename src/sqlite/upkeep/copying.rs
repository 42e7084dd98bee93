//! The rows of a store as they are, for a copy of it: read from one moment of its file, and written together with a mark
//! that says how far the copy is.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::adhoc::{self, Parameters, Rows};
use crate::sqlite::engine::pool;
use crate::sqlite::file::fork::{self, Own};
use crate::sqlite::file::place::Place;
use crate::sqlite::file::still::Still;
use crate::sqlite::upkeep::backup;

/// One moment of a store's file, for reads while others write. While it lasts the log cannot start over.
pub struct Pinned {
    connection: Own<Connection>,
    still: Option<Still>,
    path: PathBuf,
    generation: u64,
}

impl Pinned {
    pub(crate) fn new(place: &Place) -> Result<Self> {
        let (mut connection, still) = backup::pinned(place)?;
        pool::set_up(&mut connection)?;
        let connection = Own::new(connection);
        Ok(Self { connection, still, path: place.path.clone(), generation: fork::generation() })
    }

    /// Run one pure read.
    ///
    /// # Errors
    /// In a child forked meanwhile, [`ErrorKind::Interrupted`], and what SQLite fails with.
    pub fn query(&self, sql: &str) -> Result<Rows> {
        fork::refuse_child_of(self.generation)?;
        let rows = adhoc::run(&self.connection, sql, &Parameters::Positional(Vec::new()), &|| false)?;
        self.still.as_ref().map_or(Ok(()), |still| still.confirm(&self.path))?;
        Ok(rows)
    }
}

/// The mark of a copy that is not finished; `None` where there is none.
pub(crate) fn mark(connection: &Connection) -> Result<Option<String>> {
    let exists = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'unfinished_copy')";
    if !connection.query_row(exists, [], |row| row.get(0))? {
        return Ok(None);
    }
    let mark = connection.query_row("SELECT mark FROM main.unfinished_copy", [], |row| row.get(0));
    Ok(mark.optional()?)
}

/// Make the store a copy that is not finished, without rows.
pub(crate) fn begin(connection: &Connection, begun: &str) -> Result<()> {
    let any = "SELECT EXISTS (SELECT 1 FROM runs) OR EXISTS (SELECT 1 FROM intel_items)";
    if mark(connection)?.is_none() && connection.query_row(any, [], |row| row.get(0))? {
        return Err(StoreError::new(ErrorKind::CannotOpen, "it holds data already"));
    }
    connection.execute_batch(
        "DELETE FROM telemetry; DELETE FROM intel_items; DELETE FROM runs;
         DROP TABLE IF EXISTS unfinished_copy; CREATE TABLE unfinished_copy(mark TEXT NOT NULL)",
    )?;
    connection.execute("INSERT INTO unfinished_copy VALUES (?)", [begun])?;
    Ok(())
}

/// Insert rows of a table as they are, and set the mark, which must be `before`.
pub(crate) fn insert<T: AsRef<str>>(
    connection: &Connection,
    table: &str,
    columns: &[String],
    rows: &[Vec<Option<T>>],
    [before, after]: [&str; 2],
) -> Result<()> {
    let set = connection.execute("UPDATE unfinished_copy SET mark = ?2 WHERE mark = ?1", [before, after])?;
    refuse_another(set)?;
    let (names, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let mut statement =
        connection.prepare_cached(&format!("INSERT INTO main.{table} ({names}) VALUES ({marks})"))?;
    for row in rows {
        statement.execute(params_from_iter(row.iter().map(|cell| cell.as_ref().map(AsRef::as_ref))))?;
    }
    Ok(())
}

/// Make it a store like any: the copy is finished.
pub(crate) fn end(connection: &Connection, before: &str) -> Result<()> {
    refuse_another(connection.execute("DELETE FROM unfinished_copy WHERE mark = ?", [before])?)?;
    Ok(connection.execute_batch("DROP TABLE unfinished_copy")?)
}

fn refuse_another(changed: usize) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::new(
        ErrorKind::StoreBusy,
        "another copy_store writes to it; wait for its end, and repeat the call",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::{connection, migrations};

    #[test]
    fn rows_come_with_the_mark_that_was_expected_or_not_at_all() {
        let mut memory = connection::open_memory().unwrap();
        migrations::migrate(&mut memory).unwrap();
        begin(&memory, "0").unwrap();
        let columns = ["run_id", "run_type", "started_at", "status", "settings_snapshot_json", "notes"];
        let columns = columns.map(str::to_owned);
        let row = |id| vec![Some(id), Some("t"), Some("now"), Some("running"), Some("{}"), None];
        insert(&memory, "runs", &columns, &[row("a"), row("b\0c")], ["0", "1"]).unwrap();
        assert_eq!(mark(&memory).unwrap().as_deref(), Some("1"));
        let stale = insert(&memory, "runs", &columns, &[row("d")], ["0", "2"]).unwrap_err();
        assert_eq!(stale.kind, ErrorKind::StoreBusy);
        assert_eq!(end(&memory, "0").unwrap_err().kind, ErrorKind::StoreBusy);
        end(&memory, "1").unwrap();
        assert_eq!(mark(&memory).unwrap(), None);
        assert_eq!(begin(&memory, "0").unwrap_err().kind, ErrorKind::CannotOpen);
        let ids: String =
            memory.query_row("SELECT group_concat(hex(run_id)) FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(ids, "61,620063");
    }
}
