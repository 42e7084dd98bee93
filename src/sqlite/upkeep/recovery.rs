//! Recovery of stale runs: runs that are `running` without activity.
//!
//! A run counts as alive from its latest start, heartbeat, item or telemetry write. A missing heartbeat proves nothing
//! if the run could not record one because someone else held the file's lock. So recovery takes the lock, releases it,
//! gives those who waited for it a moment, takes it again, and recovers the runs that are still stale.
//!
//! A recovered run is fenced by `recovered_at`: its worker may still be alive, and must not overwrite the next attempt,
//! so each write that names the run is refused ([`runs::require`]) until it is reopened.

use std::time::Duration;

use chrono::Utc;
use rusqlite::{Connection, Row};

use crate::error::Result;
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
}

/// The signs that are found by a seek, against the limit `?1`.
const SEEMS_DEAD: &str = "status = 'running' AND started_at < ?1
    AND coalesce(heartbeat_at, '') < ?1
    AND NOT EXISTS (SELECT 1 FROM telemetry t WHERE t.run_id = runs.run_id AND t.created_at >= ?1)
    AND NOT EXISTS (SELECT 1 FROM intel_items i WHERE i.run_id = runs.run_id AND i.created_at >= ?1)";

/// The last sign. That an item was seen again is one of the run that saw it, whose heartbeat says so, and not of the
/// run that the item stays with.
const LAST_SIGN: &str = "max(started_at, coalesce(heartbeat_at, ''),
    coalesce((SELECT created_at FROM telemetry t WHERE t.run_id = runs.run_id), ''),
    coalesce((SELECT max(created_at) FROM intel_items i WHERE i.run_id = runs.run_id), ''))";

/// The runs without activity since `?1`, the oldest first: the run, and its latest activity.
pub(crate) fn stale_sql() -> String {
    format!(
        "SELECT run_id, {LAST_SIGN} FROM runs WHERE {NOT_PRUNED} AND {SEEMS_DEAD} ORDER BY started_at, rowid"
    )
}

/// Find the runs without activity for so long, the oldest first. It may take long, and needs no lock.
pub(crate) fn find(connection: &Connection, older_than: Duration) -> Result<Vec<Stale>> {
    let mut statement = connection.prepare_cached(&stale_sql())?;
    let limit = time::before(Utc::now(), older_than);
    // Whatever another program wrote: one such run must not keep the others from being recovered.
    let bytes = |row: &Row, column| -> rusqlite::Result<_> {
        Ok(row.get_ref(column)?.as_bytes().unwrap_or_default().to_vec())
    };
    let stale = statement.query_map([limit], |row| {
        let last_sign = String::from_utf8_lossy(&bytes(row, 1)?).into_owned();
        Ok(Stale { run_id: bytes(row, 0)?, last_sign })
    })?;
    Ok(stale.collect::<rusqlite::Result<_>>()?)
}

/// Finish those that have shown no activity since; return them as they are now.
pub(crate) fn finish(
    connection: &Connection,
    stale: &[Stale],
    older_than: Duration,
    status: &str,
) -> Result<Runs> {
    let now = Utc::now();
    let (limit, now) = (time::before(now, older_than), time::isoformat(now));
    let mut statement = connection.prepare_cached(&finish_sql())?;
    let mut recovered = Runs::new();
    for run in stale {
        let notes = format!("{}{}", runs::RECOVERED, run.last_sign);
        let mut rows = statement.query((&limit, status, &now, notes, Text(Some(&run.run_id))))?;
        while let Some(row) = rows.next()? {
            runs::push_row(row, &mut recovered)?;
        }
    }
    Ok(recovered)
}

/// What is returned is text in any case: it must not fail when all is done.
fn finish_sql() -> String {
    let columns = RunColumn::ALL.iter().map(|column| format!("CAST({} AS TEXT)", column.name()));
    format!(
        "UPDATE runs SET status = ?2, finished_at = ?3, recovered_at = ?3, notes = coalesce(notes, ?4)
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
            (stale_sql(), "SEARCH runs USING INDEX idx_runs_status (status=? AND started_at<?)"),
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
