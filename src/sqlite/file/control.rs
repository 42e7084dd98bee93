//! Transaction control, and the end of statements that take long.

use std::ffi::c_int;

use rusqlite::Connection;

use crate::error::Result;

/// How many steps of SQLite's machine are run between two checks whether to stop: well under a millisecond.
const STEPS: c_int = 10_000;

/// Do `work`; what it runs fails once `stop` says so.
pub(crate) fn until<T>(
    connection: &mut Connection,
    stop: impl FnMut() -> bool + Send + 'static,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    connection.progress_handler(STEPS, Some(stop))?;
    let done = work(connection);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    done
}

/// Run one statement of transaction control.
pub(crate) fn execute(connection: &Connection, sql: &str) -> Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Roll back, if SQLite has not done so already.
pub(crate) fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        // A rollback that fails leaves a connection that SQLite itself refuses to commit on.
        let _ = execute(connection, "ROLLBACK");
    }
}

/// Do `work` so that an error undoes it alone. A single row needs nothing: a statement is atomic by itself.
pub(crate) fn atomically<T>(
    connection: &Connection,
    rows: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if rows <= 1 {
        return work();
    }
    execute(connection, "SAVEPOINT call")?;
    let result = work();
    if connection.is_autocommit() {
        return result;
    }
    let kept = result.and_then(|done| execute(connection, "RELEASE call").map(|()| done));
    if kept.is_err() {
        let undone =
            execute(connection, "ROLLBACK TO call").and_then(|()| execute(connection, "RELEASE call"));
        // Half a batch must not be committed with what is around it.
        undone.unwrap_or_else(|_| roll_back(connection));
    }
    kept
}
