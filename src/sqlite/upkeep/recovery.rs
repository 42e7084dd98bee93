//! Recovery of stale runs: runs that are `running` without activity.
//!
//! A run counts as alive from its latest start, heartbeat, item or telemetry write. A missing heartbeat proves nothing
//! if the run could not record one because someone else held the file's lock. So recovery takes the lock, releases it,
//! gives those who waited for it a moment, takes it again, and recovers the runs that are still stale.
//!
//! A sign that is later than now is of a clock that was set back. It is taken for one of now, and stored so, as the
//! run's heartbeat: from then on only signs up to now count, and a dead run is found when that one is old enough.
//!
//! A recovered run is fenced by `recovered_at`: its worker may still be alive, and must not overwrite the next attempt,
//! so each write that names the run is refused ([`runs::require`]) until it is reopened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::error::Result;
use crate::memory;
use crate::model::columns::RunColumn;
use crate::model::rows::Runs;
use crate::model::time;
use crate::sqlite::tables::cells::Text;
use crate::sqlite::tables::pruned::NOT_PRUNED;
use crate::sqlite::tables::runs;

/// How long those who wait for the file's lock have to record a heartbeat: they try some ten milliseconds apart.
pub(crate) const MOMENT: Duration = Duration::from_millis(200);

/// How long after the moment the lock must be had: it was not kept from them meanwhile.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(1);

/// A run that looks stale.
pub(crate) struct Stale {
    run_id: Vec<u8>,
    last_sign: String,
    place: i64,
}

/// The signs between the limit `?1` and now, `?2`, of which none is there.
const SEEMS_DEAD: &str = "status = 'running' AND started_at NOT BETWEEN ?1 AND ?2
    AND coalesce(heartbeat_at, '') NOT BETWEEN ?1 AND ?2
    AND NOT EXISTS (SELECT 1 FROM telemetry t WHERE t.run_id = runs.run_id AND t.created_at BETWEEN ?1 AND ?2)
    AND NOT EXISTS (SELECT 1 FROM intel_items i WHERE i.run_id = runs.run_id AND i.created_at BETWEEN ?1 AND ?2)";

/// The last sign, `?2` at the latest, is later than that: a heartbeat, which came with each write, or, where another
/// program wrote, anything.
const IS_AHEAD: &str =
    "status = 'running' AND (coalesce(heartbeat_at, '') > ?2 OR heartbeat_at IS NULL AND (started_at > ?2
    OR EXISTS (SELECT 1 FROM telemetry t WHERE t.run_id = runs.run_id AND t.created_at > ?2)
    OR EXISTS (SELECT 1 FROM intel_items i WHERE i.run_id = runs.run_id AND i.created_at > ?2)))";

/// The last sign up to now. That an item was seen again is one of the run that saw it, whose heartbeat says so, and not
/// of the run that the item stays with.
const LAST_SIGN: &str = "max(CASE WHEN started_at <= ?2 THEN started_at ELSE '' END,
    CASE WHEN heartbeat_at <= ?2 THEN heartbeat_at ELSE '' END,
    coalesce((SELECT created_at FROM telemetry t WHERE t.run_id = runs.run_id AND t.created_at <= ?2), ''),
    coalesce((SELECT max(created_at) FROM intel_items i WHERE i.run_id = runs.run_id AND i.created_at <= ?2), ''))";

/// The runs without activity between `?1` and now, `?2`: the run, its latest activity, and its place.
pub(crate) fn stale_sql() -> String {
    format!(
        "SELECT run_id, {LAST_SIGN}, rowid FROM runs WHERE {NOT_PRUNED} AND {SEEMS_DEAD} AND NOT ({IS_AHEAD})"
    )
}

/// The same, and those whose last sign is ahead of the clock.
fn stale_or_ahead_sql() -> String {
    format!(
        "SELECT run_id, {LAST_SIGN}, rowid FROM runs
        WHERE {NOT_PRUNED} AND status = 'running' AND ({SEEMS_DEAD} OR {IS_AHEAD})"
    )
}

/// Find the runs without activity for so long, or with one that is ahead of the clock, in the order of recording. It may
/// take long, and needs no lock.
pub(crate) fn find(connection: &Connection, now: DateTime<Utc>, older_than: Duration) -> Result<Vec<Stale>> {
    let mut statement = connection.prepare_cached(&stale_or_ahead_sql())?;
    let limits = [time::before(now, older_than), time::isoformat(now)];
    // Whatever another program wrote: one such run must not keep the others from being recovered.
    let mut rows = statement.query(limits)?;
    let mut stale = Vec::new();
    while let Some(row) = rows.next()? {
        let [run_id, last_sign] = [0, 1]
            .map(|column| -> rusqlite::Result<_> { Ok(row.get_ref(column)?.as_bytes().unwrap_or_default()) });
        let (run_id, last_sign) = (memory::bytes(run_id?)?, memory::lossy(last_sign?)?);
        memory::push(&mut stale, Stale { run_id, last_sign, place: row.get(2)? })?;
    }
    stale.sort_unstable_by_key(|run| run.place);
    Ok(stale)
}

/// Finish those that have shown no activity since; return them as they are now.
pub(crate) fn finish(
    connection: &Connection,
    stale: &[Stale],
    now: DateTime<Utc>,
    older_than: Duration,
    status: &str,
) -> Result<Runs> {
    let (limit, now) = (time::before(now, older_than), time::isoformat(now));
    let mut bring_back = connection.prepare_cached(&bring_back_sql())?;
    let mut statement = connection.prepare_cached(&finish_sql())?;
    let mut recovered = Runs::new();
    for run in stale {
        bring_back.execute((Text(Some(&run.run_id)), &now))?;
        let notes = format!("{}{}", runs::RECOVERED, run.last_sign);
        let mut rows = statement.query((&limit, &now, status, notes, Text(Some(&run.run_id))))?;
        while let Some(row) = rows.next()? {
            runs::push_row(row, &mut recovered)?;
        }
    }
    Ok(recovered)
}

/// Take a sign that is ahead of the clock for one of now.
fn bring_back_sql() -> String {
    format!("UPDATE runs SET heartbeat_at = ?2 WHERE run_id = ?1 AND {NOT_PRUNED} AND {IS_AHEAD}")
}

/// What is returned is text in any case: it must not fail when all is done.
fn finish_sql() -> String {
    let columns = RunColumn::ALL.iter().map(|column| format!("CAST({} AS TEXT)", column.name()));
    format!(
        "UPDATE runs SET status = ?3, finished_at = ?2, recovered_at = ?2, notes = coalesce(notes, ?4)
        WHERE run_id = ?5 AND {NOT_PRUNED} AND {SEEMS_DEAD} RETURNING {}",
        columns.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    #[test]
    fn runs_are_found_by_their_status_and_their_signs_by_seeks() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        for (sql, first) in [
            (stale_sql(), "SEARCH runs USING INDEX idx_runs_status (status=?)"),
            (stale_or_ahead_sql(), "SEARCH runs USING INDEX idx_runs_status (status=?)"),
            (bring_back_sql(), "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (run_id=?)"),
            (finish_sql(), "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (run_id=?)"),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            for parameter in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(parameter, "").unwrap();
            }
            let mut rows = statement.raw_query();
            let mut plan = Vec::<String>::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get("detail").unwrap());
            }
            assert_eq!(plan[0], first);
            assert!(!plan.iter().any(|step| step.contains("SCAN") || step.contains("B-TREE")), "{plan:?}");
        }
    }
}
