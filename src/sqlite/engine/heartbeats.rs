//! Heartbeats of runs: the thread that records them, and locks that prevent it.
//!
//! Each write for a run counts as a heartbeat. The thread here records the others; it needs no interpreter, so a run
//! whose code holds the GIL for minutes stays alive. A transaction that holds the file's lock for long prevents the
//! heartbeats of all processes, so its commit records one for each run that was alive when it began ([`Held`]). Long
//! locks of other programs are handled by [`crate::sqlite::upkeep::recovery`].
//!
//! Spans are measured by a monotonic clock: the other one may be set meanwhile. Times are compared as text, which their
//! fixed format allows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::error::Result;
use crate::model::caller::{Caller, Owner};
use crate::model::time::{self, isoformat};
use crate::sqlite::engine::background::{Background, Next};
use crate::sqlite::engine::worker::Panicked;
use crate::sqlite::file::control;
use crate::sqlite::tables::pruned::NOT_PRUNED;
use crate::sqlite::tables::runs::{self, BEAT_IS_DUE};

/// The interval of heartbeats.
const EVERY: Duration = Duration::from_secs(2);

/// How long the file's lock may be held before its commit has to make up for missed heartbeats.
const LONG: Duration = Duration::from_secs(1);

/// The age up to which a run's latest heartbeat counts as alive when the lock was taken.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);

/// Since when the file's lock is held, by both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Held(Instant, DateTime<Utc>);

impl Held {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self(Instant::now(), time::clock())
    }

    /// Whether it was for so long that runs may look dead.
    pub(crate) fn is_long(self) -> bool {
        self.0.elapsed() > LONG
    }

    /// If it was held for long: record a heartbeat of all running runs that were alive when it began, within the open
    /// transaction.
    pub(crate) fn make_up(self, connection: &Connection) -> Result<()> {
        if !self.is_long() {
            return Ok(());
        }
        let now = time::clock();
        let alive = time::before(self.1.min(now), ALIVE_WITHIN);
        let now = isoformat(now);
        connection.prepare_cached(&make_up())?.execute((&now, runs::second(&now), alive))?;
        Ok(())
    }
}

fn make_up() -> String {
    format!(
        "UPDATE runs SET heartbeat_at = ?1 WHERE status = 'running' AND recovered_at IS NULL AND {NOT_PRUNED}
        AND coalesce(heartbeat_at, started_at) >= ?3 AND {BEAT_IS_DUE}"
    )
}

/// The runs of one store that are inside their block, and the thread that records their heartbeats.
pub(crate) struct Heartbeats(Arc<Background<BTreeSet<String>>>);

impl Heartbeats {
    pub(crate) fn new(panicked: Arc<Panicked>) -> Self {
        Self(Background::new("heartbeats", BTreeSet::new(), panicked))
    }

    /// Record heartbeats of this run from now on, by `beat`, which is given the runs and may be interrupted. The first
    /// run starts the thread.
    pub(crate) fn begin(&self, run_id: &str, beat: impl Fn(&Caller, Vec<String>) + Send + 'static) {
        let thread = Arc::clone(&self.0);
        let work = move |active| {
            let over = || {
                let state = thread.state();
                state.is_stopped() || state.is_empty()
            };
            // Without memory for it the next one comes.
            let _ = control::until(&over, || {
                beat(&Caller { owner: Owner::thread(), interrupted: &over }, active);
                Ok(())
            });
        };
        let mut active = self.0.state();
        active.insert(run_id.to_owned());
        // Without a thread only the run's writes count as heartbeats, until another run starts.
        self.0.wake(&mut active, next, work);
    }

    /// Stop the heartbeats of this run. The thread ends with the last run.
    pub(crate) fn end(&self, run_id: &str) {
        self.0.change(|active| active.remove(run_id));
    }

    /// Stop the thread, and wait until it is gone.
    pub(crate) fn stop(&self) {
        self.0.stop();
    }
}

/// A heartbeat at each interval, as long as a run is active.
fn next(active: &mut BTreeSet<String>, since: Duration) -> Next<Vec<String>> {
    match EVERY.checked_sub(since).filter(|left| !left.is_zero()) {
        _ if active.is_empty() => Next::End,
        Some(left) => Next::Wait(left),
        None => Next::Do(active.iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::error::ErrorKind;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;
    use crate::sqlite::tables::runs::{beat, beat_all, second};

    fn with_run(started_at: &str) -> Connection {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let sql = "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
            VALUES ('r', 't', ?, 'running', '{}')";
        connection.execute(sql, [started_at]).unwrap();
        connection
    }

    fn heartbeat(connection: &Connection) -> Option<String> {
        connection.query_row("SELECT heartbeat_at FROM runs", [], |row| row.get(0)).unwrap()
    }

    fn ago(seconds: i64) -> String {
        isoformat(Utc::now() - TimeDelta::seconds(seconds))
    }

    #[test]
    fn a_second_is_less_than_each_time_in_it() {
        for time in ["2023-11-14T22:13:20+00:00", "2023-11-14T22:13:20.000001+00:00"] {
            assert_eq!(second(time), "2023-11-14T22:13:20");
            assert!(second(time) < time);
        }
    }

    #[test]
    fn a_beat_that_is_not_due_changes_nothing() {
        let connection = with_run(&ago(5));
        let runs = ["r".to_owned(), "gone".to_owned()];
        beat_all(&connection, &runs).unwrap();
        assert!(heartbeat(&connection).unwrap() > ago(5));
        loop {
            let now = time::now();
            connection.execute("UPDATE runs SET heartbeat_at = ?", [&now]).unwrap();
            let changes = connection.total_changes();
            beat_all(&connection, &runs).unwrap();
            if second(&now) == second(&time::now()) {
                assert_eq!(connection.total_changes(), changes);
                break;
            }
        }
        connection.execute_batch("UPDATE runs SET status = 'completed', heartbeat_at = NULL").unwrap();
        beat_all(&connection, &runs).unwrap();
        assert_eq!(heartbeat(&connection), None);
    }

    #[test]
    fn a_beat_of_a_clock_that_was_set_back_is_followed_by_one_of_now() {
        for beats in [
            |connection: &Connection| beat_all(connection, &["r".to_owned()]),
            |connection: &Connection| runs::require(connection, b"r", false, &time::now()),
            |connection: &Connection| {
                let minute = Duration::from_secs(60);
                Held(Instant::now().checked_sub(minute).unwrap(), Utc::now()).make_up(connection)
            },
        ] {
            let connection = with_run("2038-01-01T00:00:00+00:00");
            beats(&connection).unwrap();
            let first = heartbeat(&connection).unwrap();
            assert!(first <= time::now(), "{first}");
            connection.execute_batch("UPDATE runs SET heartbeat_at = started_at").unwrap();
            beats(&connection).unwrap();
            assert!(heartbeat(&connection).unwrap() <= time::now());
        }
    }

    #[test]
    fn a_lock_held_for_long_makes_up_for_those_alone_that_were_alive_when_it_was_taken() {
        let held = |seconds| {
            let span = Duration::from_secs(seconds);
            Held(Instant::now().checked_sub(span).unwrap(), Utc::now() - span)
        };
        for (sign, lock, made_up) in [(70, 60, true), (95, 60, false), (20, 0, false), (59, 60, true)] {
            let connection = with_run(&ago(sign));
            held(lock).make_up(&connection).unwrap();
            assert_eq!(heartbeat(&connection).is_some(), made_up, "{sign} s ago, held for {lock} s");
        }
    }

    #[test]
    fn a_run_that_was_recovered_gives_no_sign_whatever_its_status() {
        let connection = with_run(&ago(5));
        connection.execute_batch("UPDATE runs SET recovered_at = 'now'").unwrap();
        assert_eq!(beat(&connection, "r").unwrap_err().kind, ErrorKind::RunFinished);
        beat_all(&connection, &["r".to_owned()]).unwrap();
        let minute = Duration::from_secs(60);
        Held(Instant::now().checked_sub(minute).unwrap(), Utc::now() - minute).make_up(&connection).unwrap();
        runs::require(&connection, b"r", true, &time::now()).unwrap();
        assert_eq!(heartbeat(&connection), None);
    }

    #[test]
    fn making_up_reads_running_runs_alone() {
        let connection = with_run(&ago(5));
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {}", make_up()))
            .unwrap()
            .query_map(["", "", ""], |row| row.get("detail"))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(plan, ["SEARCH runs USING INDEX idx_runs_status (status=?)"]);
    }
}
