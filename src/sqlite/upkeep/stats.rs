//! Statistics of a file and of this process's use of it.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::tables::cells;
use crate::sqlite::tables::pruned::PRUNED;

/// What is in a store's file, and what this process has done to it through the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many runs there are of each status, in the order of their names.
    pub runs_by_status: Vec<(String, u64)>,
    /// How many items there are.
    pub intel_items: u64,
    /// How many telemetry documents there are.
    pub telemetry: u64,
    /// Bytes of the database itself.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log beside it.
    pub wal_bytes: u64,
    /// Bytes of the database that hold nothing, and are used again before it grows.
    pub free_bytes: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// The version of the schema.
    pub schema_version: i64,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Calls that shared another call's commit.
    pub grouped_writes: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Times that the log was checkpointed as a whole.
    pub checkpoints: u64,
    /// Names (hard links) of the file; 0 for a store in memory.
    pub hard_links: u64,
    /// Syncs, of the log or of the file, that failed.
    pub failed_syncs: u64,
    /// The worker thread that has panicked, if one has.
    pub panicked: Option<&'static str>,
}

impl Stats {
    /// Put in what was done.
    pub(crate) fn add_counted(&mut self, counters: &Counters) {
        self.commits = counters.commits.load(Ordering::Relaxed);
        self.grouped_writes = counters.grouped_writes.load(Ordering::Relaxed);
        self.syncs = counters.syncs.load(Ordering::Relaxed);
        self.checkpoints = counters.checkpoints.load(Ordering::Relaxed);
        self.failed_syncs = counters.failed_syncs.load(Ordering::Relaxed);
    }
}

/// Rows of runs that are being pruned do not count. One statement: all numbers are of one moment.
fn count_sql() -> String {
    format!(
        "
    SELECT 'status', status, sum(rows) FROM (
        SELECT status, count(*) AS rows FROM runs GROUP BY status
        UNION ALL SELECT status, -count(*) FROM runs WHERE {PRUNED} GROUP BY +status)
    GROUP BY status
    UNION ALL SELECT 'items', '', (SELECT count(*) FROM intel_items) - (
        SELECT count(*) FROM runs JOIN intel_items USING (run_id) WHERE {PRUNED})
    UNION ALL SELECT 'telemetry', '', (SELECT count(*) FROM telemetry) - (
        SELECT count(*) FROM runs JOIN telemetry USING (run_id) WHERE {PRUNED})
    UNION ALL SELECT 'page_size', '', page_size FROM pragma_page_size
    UNION ALL SELECT 'page_count', '', page_count FROM pragma_page_count
    UNION ALL SELECT 'free', '', freelist_count FROM pragma_freelist_count
    UNION ALL SELECT 'version', '', user_version FROM pragma_user_version"
    )
}

/// Count what is in the file. Its size is that of its pages, which need not be in it yet.
pub(crate) fn count(connection: &Connection) -> Result<Stats> {
    let mut stats = Stats::default();
    let (mut pages, mut free) = (0, 0);
    let mut statement = connection.prepare_cached(&count_sql())?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_str().unwrap_or_default() {
            "status" => match cells::count(row, 2)? {
                0 => {}
                runs => {
                    let status = row.get(1).map_err(|_| {
                        let what = "the status of a run is not UTF-8 text; another program wrote it; check() finds such runs";
                        StoreError::new(ErrorKind::CorruptDatabase, what)
                    })?;
                    stats.runs_by_status.push((status, runs));
                }
            },
            "items" => stats.intel_items = cells::count(row, 2)?,
            "telemetry" => stats.telemetry = cells::count(row, 2)?,
            "page_size" => stats.page_size = cells::count(row, 2)?,
            "page_count" => pages = cells::count(row, 2)?,
            "free" => free = cells::count(row, 2)?,
            _ => stats.schema_version = row.get(2)?,
        }
    }
    stats.file_bytes = pages * stats.page_size;
    stats.free_bytes = free * stats.page_size;
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    #[test]
    fn only_indexes_are_counted() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", count_sql())).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        for step in steps.collect::<rusqlite::Result<Vec<_>>>().unwrap() {
            let of_rows = ["runs", "intel_items", "telemetry"].iter().any(|table| step.contains(table));
            let covered = step.contains("COVERING INDEX") || step.contains("INDEX idx_runs_pruned_at");
            assert!(!of_rows || covered, "{step}");
        }
    }
}
