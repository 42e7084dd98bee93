//! The SQL trace of one store: the statements that its connections ran, each with its time, until they are taken.
//!
//! SQLite reports a statement in the middle of a call, on any thread, with the writer's turn or a gate held. So it is
//! only noted here, and the caller takes the notes when nothing is held any more.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::error::Result;
use crate::sqlite::file::gate::FILES;
use crate::sync::{lock, with};

/// The most statements that are kept. The newest are, for a transaction's COMMIT is the last and often the slowest.
const KEPT: usize = 10_000;

thread_local! {
    /// Whether this thread is showing what was traced: nothing that it does meanwhile is traced, or it would never end.
    /// Nor is what only makes sure of the schema.
    static SHOWING: Cell<bool> = const { Cell::new(false) };
}

/// What was traced since the last time.
#[derive(Debug, Default)]
pub struct Traced {
    /// The statements that ended last, the oldest first.
    pub statements: VecDeque<TracedStatement>,
    /// How many ended before those, and were not kept.
    pub not_kept: u64,
}

/// A statement that has ended.
#[derive(Debug, Clone)]
pub struct TracedStatement {
    /// Its text: values that were bound to it are not in there.
    pub sql: Arc<str>,
    /// The time from its first step to its last.
    pub took: Duration,
}

/// The trace of one store; by default it is off.
#[derive(Clone, Default)]
pub(crate) struct Trace(Option<Arc<Mutex<Traced>>>);

impl Trace {
    pub(crate) fn new(is_on: bool) -> Self {
        Self(is_on.then(Arc::default))
    }

    /// The trace of a forked child: its own, since a thread of the parent's may have had the other one locked.
    pub(crate) fn inherited(&self) -> Self {
        Self::new(self.0.is_some())
    }

    /// Have what `connection` runs noted from now on, in place of any other trace.
    pub(crate) fn watch(&self, connection: &mut Connection) -> Result<()> {
        let Some(traced) = self.0.clone() else { return Ok(()) };
        let mut running: Vec<(usize, Option<Instant>)> = Vec::new();
        let events = TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE;
        // SQLite's own measure is in whole milliseconds of the wall clock. A statement is told by the address of its
        // text, of which each has a copy of its own; that it begins is also said of its triggers and cascades. One that
        // SQLite runs for another of its statements is part of that, and begins with another text than its own.
        connection.trace_v2(
            events,
            Some(move |event: TraceEvent<'_>| match event {
                TraceEvent::Stmt(statement, text) => {
                    let sql = statement.sql();
                    let address = sql.as_ptr().addr();
                    if !running.iter().any(|(other, _)| *other == address) {
                        running.push((address, (text == sql).then(Instant::now)));
                    }
                }
                TraceEvent::Profile(statement, roughly) => {
                    let sql = statement.sql();
                    let address = sql.as_ptr().addr();
                    let begun = running.iter().position(|(other, _)| *other == address);
                    // Of an EXPLAIN, and of one that was prepared anew when it ran, it is not said that they begin.
                    let took = begun.map_or(Some(roughly), |begun| {
                        running.swap_remove(begun).1.map(|begun| begun.elapsed())
                    });
                    if let Some(took) = took.filter(|_| !SHOWING.get()) {
                        lock(&traced).note(sql.trim(), took);
                    }
                }
                _ => {}
            }),
        )?;
        Ok(())
    }

    /// Take what was noted. Inside the gate, so that a forked child finds a store in memory with this unlocked.
    pub(crate) fn take(&self) -> Traced {
        let Some(traced) = &self.0 else { return Traced::default() };
        let _gate = FILES.enter();
        std::mem::take(&mut *lock(traced))
    }
}

impl Traced {
    fn note(&mut self, sql: &str, took: Duration) {
        // The rows of a batch share one text.
        let sql = match self.statements.back() {
            Some(last) if *last.sql == *sql => Arc::clone(&last.sql),
            _ => Arc::from(sql),
        };
        if self.statements.len() == KEPT {
            self.statements.pop_front();
            self.not_kept += 1;
        }
        self.statements.push_back(TracedStatement { sql, took });
    }
}

/// Do `show`, and trace nothing that this thread does meanwhile. Within another `show` nothing is done.
pub fn show_traced<T>(show: impl FnOnce() -> T) -> Option<T> {
    (!SHOWING.get()).then(|| untraced(show))
}

/// Do `work`, and trace nothing of it.
pub(crate) fn untraced<T>(work: impl FnOnce() -> T) -> T {
    with(&SHOWING, true, work)
}

/// `work`, to be done by another thread as this one would: where this one is showing, nothing of it is traced.
pub(crate) fn as_here<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let is_showing = SHOWING.get();
    move || {
        SHOWING.set(is_showing);
        work()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;
    use crate::sqlite::file::connection;

    fn traced() -> (Trace, Connection) {
        let (trace, mut memory) = (Trace::new(true), connection::open_memory().unwrap());
        trace.watch(&mut memory).unwrap();
        (trace, memory)
    }

    fn texts(trace: &Trace) -> Vec<String> {
        trace.take().statements.iter().map(|statement| statement.sql.to_string()).collect()
    }

    #[test]
    fn statements_that_overlap_have_times_of_their_own() {
        let (trace, memory) = traced();
        let mut outer = memory.prepare("VALUES (1), (2)").unwrap();
        let mut rows = outer.query([]).unwrap();
        rows.next().unwrap();
        for _ in 0..2 {
            memory.query_row("SELECT 1", [], |_| Ok(())).unwrap();
        }
        drop(rows);
        let noted = trace.take().statements;
        assert_eq!(
            noted.iter().map(|each| &*each.sql).collect::<Vec<_>>(),
            ["SELECT 1", "SELECT 1", "VALUES (1), (2)"]
        );
        assert!(noted[2].took > noted[0].took + noted[1].took);
    }

    #[test]
    fn a_trigger_is_part_of_its_statement_and_values_are_not_shown() {
        let (trace, memory) = traced();
        memory
            .execute_batch(
                "CREATE TABLE t(x PRIMARY KEY); CREATE TABLE u(x REFERENCES t ON DELETE CASCADE);
                 CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO u VALUES (new.x); END",
            )
            .unwrap();
        trace.take();
        memory.execute("INSERT INTO t VALUES (?1)", ["secret"]).unwrap();
        memory.execute("DELETE FROM t", []).unwrap();
        assert_eq!(texts(&trace), ["INSERT INTO t VALUES (?1)", "DELETE FROM t"]);
    }

    #[test]
    fn what_a_statement_runs_by_itself_is_part_of_it() {
        let (trace, memory) = traced();
        let tables = "-- all\nSELECT count(*) FROM pragma_table_list";
        memory.query_row(tables, [], |_| Ok(())).unwrap();
        memory.execute_batch("SELECT 1;\n SELECT 2").unwrap();
        assert_eq!(texts(&trace), [tables, "SELECT 1;", "SELECT 2"]);
    }

    #[test]
    fn what_fails_and_what_is_only_explained_is_noted() {
        let (trace, memory) = traced();
        memory.execute("CREATE TABLE t(x UNIQUE)", []).unwrap();
        memory.execute("INSERT INTO t VALUES (1)", []).unwrap();
        memory.execute("INSERT INTO t VALUES (1)", []).unwrap_err();
        memory.query_row("EXPLAIN SELECT 1", [], |_| Ok(())).unwrap();
        assert_eq!(
            texts(&trace)[1..],
            ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)", "EXPLAIN SELECT 1"]
        );
    }

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let (trace, memory) = traced();
        memory.execute_batch("BEGIN").unwrap();
        for _ in 0..KEPT {
            memory.query_row("SELECT 1", [], |_| Ok(())).unwrap();
        }
        memory.execute_batch("COMMIT").unwrap();
        let taken = trace.take();
        assert_eq!((taken.statements.len(), taken.not_kept), (KEPT, 2));
        assert_eq!(taken.statements.back().map(|last| last.sql.to_string()).as_deref(), Some("COMMIT"));
        assert_eq!(trace.take().not_kept, 0);
    }

    #[test]
    fn who_shows_is_not_traced_and_does_not_show_within() {
        let (trace, memory) = traced();
        let shown = show_traced(|| {
            memory.query_row("SELECT 1", [], |_| Ok(())).unwrap();
            show_traced(|| ()).is_none()
        });
        assert_eq!(shown, Some(true));
        memory.query_row("SELECT 2", [], |_| Ok(())).unwrap();
        assert_eq!(texts(&trace), ["SELECT 2"]);
    }

    #[test]
    fn only_a_connection_that_is_traced_has_a_hook() {
        for is_on in [false, true] {
            let (trace, mut memory) = (Trace::new(is_on), connection::open_memory().unwrap());
            trace.watch(&mut memory).unwrap();
            // SAFETY: the connection is open. Under this name rusqlite keeps what it calls.
            let hook = unsafe { ffi::sqlite3_get_clientdata(memory.handle(), c"sqlite3_trace_v2".as_ptr()) };
            assert_eq!(hook.is_null(), !is_on);
        }
    }
}
