//! Prune: chooses runs, marks and deletes them.
//!
//! Rows are deleted in transactions so short that other writers hardly wait. So that no one reads half a run, each run
//! is marked first ([`crate::sqlite::tables::pruned`]): from then on it is hidden from readers and from writes that
//! name it. Its rows are then deleted ([`crate::sqlite::tables::deletion`]), by this call or, if it was killed, by the
//! next.
//!
//! A marked run cannot be restored, since some of its rows may be deleted already. So if the user's own tables refer to
//! ours, a run to which a row of theirs refers is never marked: it is deleted in one transaction, or not at all. A run
//! to which no row refers is marked only if it is large, and its rows are deleted before the next run is considered: a
//! row of another program that comes to refer to it meanwhile refers to a hidden run.

use std::iter;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::json::text::array;
use crate::memory;
use crate::model::rows::RUNNING;
use crate::model::time;
use crate::sqlite::tables::cells::count;
use crate::sqlite::tables::deletion::{self, Deleted, Pruned, Sweep};
use crate::sqlite::tables::pruned::{MARK, NOT_PRUNED, PRUNED};
use crate::sqlite::tables::references::References;

/// How many candidates are looked up at a time.
pub(crate) const SLICE_RUNS: usize = 256;

/// How long a short write should hold the writer, its commit included.
const SHORT: Duration = Duration::from_millis(10);

/// What a short write may take before its commit: at least, and at the most.
const LEAST_WORK: Duration = Duration::from_micros(500);
const MOST_WORK: Duration = Duration::from_millis(8);

/// Which finished runs to prune: those that meet every bound.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Those that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// All but so many of those of this type and status that were recorded last.
    pub keep_last: Option<u64>,
    /// Those of this type.
    pub run_type: Option<String>,
    /// Those of one of these statuses.
    pub statuses: Option<Vec<String>>,
    /// Not those of which an item has come again since: later runs still report it.
    pub keep_seen: bool,
    /// Whatever the clock says is right.
    pub trust_clock: bool,
}

/// The time of the next short write, by that of the last one.
pub(crate) struct TimeSlice {
    work: Duration,
    begun: Instant,
}

impl TimeSlice {
    pub(crate) fn new() -> Self {
        Self { work: MOST_WORK / 4, begun: Instant::now() }
    }

    /// The writer is had: until when to work.
    pub(crate) fn begin(&mut self) -> Instant {
        self.begun = Instant::now();
        self.begun + self.work
    }

    /// It is committed.
    pub(crate) fn end(&mut self) {
        let took = self.begun.elapsed().max(Duration::from_micros(1));
        let factor = (SHORT.as_secs_f64() / took.as_secs_f64()).min(2.0);
        self.work = self.work.mul_f64(factor).clamp(LEAST_WORK, MOST_WORK);
    }
}

/// The runs that a prune is for, as of when it began.
pub(crate) struct Selection {
    conditions: String,
    parameters: Vec<Value>,
}

impl Selection {
    /// Find out where the bounds are; `None` when no run can be beyond them.
    pub(crate) fn find(connection: &Connection, prune: &Prune, now: DateTime<Utc>) -> Result<Option<Self>> {
        let mut selection = Self::by_filters(prune)?;
        let mut seen_since = time::isoformat(now);
        if let Some(age) = prune.older_than {
            let cut_off = time::before(now, age);
            selection.restrict("coalesce(finished_at, started_at) < ?", [cut_off.clone().into()]);
            seen_since = cut_off;
        }
        if let Some(count) = prune.keep_last.filter(|count| *count > 0) {
            let Some(rowid) = selection.newest(connection, prune, count)? else {
                return Ok(None);
            };
            selection.restrict("runs.rowid < ?", [Value::Integer(rowid)]);
            let started_at: String = connection
                .prepare_cached("SELECT min(+started_at) FROM runs WHERE rowid >= ?")?
                .query_row([rowid], |row| row.get(0))?;
            seen_since = seen_since.min(started_at);
        }
        if prune.keep_seen {
            selection.restrict(
                "NOT EXISTS (
                    SELECT 1 FROM intel_items WHERE intel_items.run_id = runs.run_id AND updated_at >= ?)",
                [seen_since.into()],
            );
        }
        Ok(Some(selection))
    }

    /// Finished runs of the type and statuses. The unary pluses have SQLite go through the runs in their order, and
    /// not by an index whose rows it would have to sort.
    fn by_filters(prune: &Prune) -> Result<Self> {
        let mut selection =
            Self { conditions: format!("{NOT_PRUNED} AND +status <> '{RUNNING}'"), parameters: Vec::new() };
        if let Some(run_type) = &prune.run_type {
            selection.restrict("+run_type = ?", [memory::text(run_type)?.into()]);
        }
        if let Some(statuses) = &prune.statuses {
            // As one parameter they may be any number.
            selection.restrict("+status IN (SELECT value FROM json_each(?))", [array(statuses)?.into()]);
        }
        Ok(selection)
    }

    fn restrict(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions = format!("{} AND {condition}", self.conditions);
        self.parameters.extend(values);
    }

    /// Where the `count` runs of the filters that were recorded last begin.
    fn newest(&self, connection: &Connection, prune: &Prune, count: u64) -> Result<Option<i64>> {
        let of_filters = Self::by_filters(prune)?;
        let skipped = i64::try_from(count - 1).unwrap_or(i64::MAX);
        let parameters = of_filters.parameters.into_iter().chain([Value::Integer(skipped)]);
        Ok(connection
            .prepare_cached(&newest_sql(&of_filters.conditions))?
            .query_row(params_from_iter(parameters), |row| row.get(0))
            .optional()?)
    }

    /// The next runs behind one, by their place in the table.
    pub(crate) fn next(&self, connection: &Connection, after: i64) -> Result<Vec<i64>> {
        let mut statement = connection.prepare_cached(&next_sql(&self.conditions, "rowid"))?;
        let found = statement.query_map(params_from_iter(self.behind(after)), |row| row.get(0))?;
        let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        goes_on(after, found.last().copied())?;
        Ok(found)
    }

    /// Count the next runs behind one and what belongs to them, but for those that cannot go; where they end, `None`
    /// where none were left.
    pub(crate) fn count_next(&self, connection: &Connection, after: i64) -> Result<(Deleted, Option<i64>)> {
        let columns = format!("rowid, run_id, {COUNTS}");
        let references = References::find(connection)?;
        let mut statement = connection.prepare_cached(&next_sql(&self.conditions, &columns))?;
        let mut rows = statement.query(params_from_iter(self.behind(after)))?;
        let (mut counted, mut last) = (Deleted::default(), None);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            if references.is_empty()
                || references.forbidding(connection, &row.get::<_, String>(1)?)?.is_none()
            {
                counted.add(Deleted { runs: 1, intel_items: count(row, 2)?, telemetry: count(row, 3)? });
            }
        }
        goes_on(after, last)?;
        Ok((counted, last))
    }

    /// The values of the conditions.
    fn values(&self) -> impl Iterator<Item = ToSqlOutput<'_>> {
        self.parameters.iter().map(|value| ToSqlOutput::Borrowed(value.into()))
    }

    fn behind(&self, after: i64) -> impl Iterator<Item = ToSqlOutput<'_>> {
        let limit = i64::try_from(SLICE_RUNS).unwrap_or(i64::MAX);
        iter::once(after.into()).chain(self.values()).chain([limit.into()])
    }

    /// Mark those of `candidates` that are still to be pruned, until others should write; how many were considered.
    pub(crate) fn mark(
        &self,
        connection: &Connection,
        candidates: &[i64],
        now: &str,
        until: Instant,
    ) -> Result<usize> {
        let mut statement = connection.prepare_cached(&mark_sql(&self.conditions))?;
        for (index, rowid) in candidates.iter().enumerate() {
            if index > 0 && Instant::now() >= until {
                return Ok(index);
            }
            statement.execute(params_from_iter(self.marking(now, *rowid)))?;
        }
        Ok(candidates.len())
    }

    fn marking<'a>(&'a self, now: &'a str, rowid: i64) -> impl Iterator<Item = ToSqlOutput<'a>> {
        [now.into(), rowid.into()].into_iter().chain(self.values())
    }

    /// As [`Self::mark`], where other tables refer to ours: delete each at once or not at all, or mark it and sweep it
    /// up.
    pub(crate) fn take(
        &self,
        connection: &Connection,
        candidates: &[i64],
        now: &str,
        until: Instant,
        sweep: &mut Sweep,
    ) -> Result<(usize, Pruned)> {
        let (mut pruned, mut more) = sweep.go_on(connection, until)?;
        let references = sweep.references.get(connection)?;
        for (index, rowid) in candidates.iter().enumerate() {
            if more || index > 0 && Instant::now() >= until {
                return Ok((index, pruned));
            }
            let values = iter::once((*rowid).into()).chain(self.values());
            let still = connection
                .prepare_cached(&still_sql(&self.conditions))?
                .query_row(params_from_iter(values), |row| row.get::<_, String>(0))
                .optional()?;
            let Some(run_id) = still else { continue };
            if deletion::must_be_at_once(connection, &run_id, &references)? {
                pruned.add(deletion::delete_or_leave(connection, &run_id, false)?);
                continue;
            }
            connection
                .prepare_cached(&mark_sql(&self.conditions))?
                .execute(params_from_iter(self.marking(now, *rowid)))?;
            let (swept, unfinished) = sweep.go_on(connection, until)?;
            pruned.add(swept);
            more = unfinished;
        }
        Ok((candidates.len(), pruned))
    }
}

/// Check that the next run is behind the last one: otherwise a scan that continues from it would never end.
fn goes_on(after: i64, last: Option<i64>) -> Result<()> {
    match last {
        Some(last) if last <= after => {
            let what = "the rows of runs are not in order: the file is damaged";
            Err(StoreError::new(ErrorKind::CorruptDatabase, what))
        }
        _ => Ok(()),
    }
}

/// What belongs to a run.
const COUNTS: &str = "(SELECT count(*) FROM intel_items WHERE intel_items.run_id = runs.run_id),
    (SELECT count(*) FROM telemetry WHERE telemetry.run_id = runs.run_id)";

fn newest_sql(conditions: &str) -> String {
    format!("SELECT rowid FROM runs WHERE {conditions} ORDER BY rowid DESC LIMIT 1 OFFSET ?")
}

fn next_sql(conditions: &str, columns: &str) -> String {
    format!("SELECT {columns} FROM runs WHERE rowid > ? AND {conditions} ORDER BY rowid LIMIT ?")
}

fn still_sql(conditions: &str) -> String {
    format!("SELECT run_id FROM runs WHERE rowid = ? AND {conditions}")
}

fn mark_sql(conditions: &str) -> String {
    format!("{MARK} WHERE rowid = ? AND {conditions}")
}

/// Count what is marked and not yet swept up, but for what cannot go.
pub(crate) fn count_marked(connection: &Connection) -> Result<Deleted> {
    let references = References::find(connection)?;
    let sql = format!("SELECT run_id, {COUNTS} FROM runs WHERE {PRUNED}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut counted = Deleted::default();
    while let Some(row) = rows.next()? {
        if references.is_empty() || references.forbidding(connection, &row.get::<_, String>(0)?)?.is_none() {
            counted.add(Deleted { runs: 1, intel_items: count(row, 1)?, telemetry: count(row, 2)? });
        }
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;
    use crate::sqlite::tables::pruned;

    fn store() -> Connection {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
    }

    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn nothing_is_scanned_or_sorted() {
        let connection = store();
        let prune = Prune {
            older_than: Some(Duration::from_secs(1)),
            keep_last: Some(0),
            run_type: Some("t".into()),
            statuses: Some(vec!["a".into(), "b".into()]),
            keep_seen: true,
            trust_clock: false,
        };
        let selection = Selection::find(&connection, &prune, Utc::now()).unwrap().unwrap();
        for sql in [
            next_sql(&selection.conditions, "rowid"),
            next_sql(&selection.conditions, &format!("rowid, {COUNTS}")),
            mark_sql(&selection.conditions),
            still_sql(&selection.conditions),
        ] {
            // But for the parameter.
            let plan = plan(&connection, &sql).replace("SCAN json_each", "");
            assert!(plan.contains("SEARCH runs USING INTEGER PRIMARY KEY"), "{plan}");
            assert!(plan.contains("idx_intel_items_updated_at (run_id=? AND updated_at>?)"), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("B-TREE"), "{plan}");
        }
        let newest = plan(&connection, &newest_sql(&Selection::by_filters(&prune).unwrap().conditions));
        assert!(newest.starts_with("SCAN runs;") && !newest.contains("B-TREE"), "{newest}");
        let marked = plan(&connection, pruned::IS_ANY_PRUNED);
        assert!(marked.contains("USING COVERING INDEX idx_runs_pruned_at"), "{marked}");
    }

    #[test]
    fn a_time_slice_settles_where_a_write_is_short() {
        let mut slice = TimeSlice::new();
        for _ in 0..10 {
            slice.begin();
            slice.end();
        }
        assert_eq!(slice.work, MOST_WORK);
        slice.begun = Instant::now() - SHORT * 1000;
        slice.end();
        assert_eq!(slice.work, LEAST_WORK);
    }
}
