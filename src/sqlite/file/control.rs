//! Transaction control, and the end of statements that take long, or for which there is no memory.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{self, AssertUnwindSafe};

use rusqlite::Connection;

use crate::error::Result;
use crate::memory::OutOfMemory;
use crate::sync::with;

/// How many steps of SQLite's machine are run between two checks whether to stop: some 10 us, as long as each is short.
const STEPS: c_int = 1000;

/// What says whether the thread's statements are to stop.
type Stop = *const (dyn Fn() -> bool + 'static);

thread_local!(static STOP: Cell<Option<Stop>> = const { Cell::new(None) });

/// Have what runs on a connection stop where [`until`] says so. It costs nothing but a look each [`STEPS`].
pub(crate) fn make_stoppable(connection: &mut Connection) -> Result<()> {
    Ok(connection.progress_handler(STEPS, Some(is_stopped))?)
}

/// What rusqlite panics with where SQLite has no memory to end a text by NUL, or to convert it.
const NO_MEMORY: [&str; 2] = [
    "unexpected SQLITE_TEXT column type with NULL data",
    "Null pointer from sqlite3_column_name: Out of memory?",
];

/// Whether a panic is such a one.
pub(crate) fn is_of_memory(payload: &dyn Any) -> bool {
    payload.downcast_ref().is_some_and(|message| NO_MEMORY.contains(message))
}

/// Do `work`; what this thread runs in it on any connection fails once `stop` says so, or what is around it. Where there
/// is no memory for a text it fails, too.
pub(crate) fn until<T>(stop: &dyn Fn() -> bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = STOP.get();
    // SAFETY: `outer` is valid for as long as the call that set it, and this is inside of that.
    let either = || stop() || outer.is_some_and(|outer| unsafe { (*outer)() });
    let either: *const (dyn Fn() -> bool + '_) = &raw const either;
    // SAFETY: only the lifetime is changed, and `with` takes the pointer back before what it points to is gone.
    let either = Some(unsafe { std::mem::transmute::<*const (dyn Fn() -> bool + '_), Stop>(either) });
    // What a panic leaves half done is undone by those who own it, as after any other.
    let done = panic::catch_unwind(AssertUnwindSafe(|| with(&STOP, either, work)));
    done.unwrap_or_else(|payload| {
        if is_of_memory(&*payload) { Err(OutOfMemory.into()) } else { panic::resume_unwind(payload) }
    })
}

fn is_stopped() -> bool {
    // SAFETY: as `until` says.
    STOP.get().is_some_and(|stop| unsafe { (*stop)() })
}

/// Run one statement of transaction control. Nothing stops it: SQLite would ask when all of it is done, and then say that
/// a commit failed that did not.
pub(crate) fn execute(connection: &Connection, sql: &str) -> Result<()> {
    with(&STOP, None, || {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::sqlite::file::connection;

    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    #[test]
    fn whoever_is_around_stops_a_statement() {
        let memory = connection::open_memory().unwrap();
        let endless = || Ok(memory.query_row(ENDLESS, [], |_| Ok(()))?);
        for (outer, inner) in [(true, false), (false, true)] {
            let error = until(&|| outer, || until(&|| inner, endless)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Interrupted);
        }
        until(&|| true, || until(&|| true, || Ok(()))).unwrap();
        assert!(STOP.get().is_none());
    }

    /// SQLite asks when a commit is done, each so many steps of all of them.
    #[test]
    fn a_commit_is_not_said_to_have_failed() {
        let memory = connection::open_memory().unwrap();
        until(&|| true, || {
            for _ in 0..STEPS {
                execute(&memory, "BEGIN IMMEDIATE").unwrap();
                execute(&memory, "COMMIT").unwrap();
            }
            Ok(())
        })
        .unwrap();
    }
}
