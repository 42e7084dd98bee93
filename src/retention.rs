//! Deletes runs, with all that belongs to them.
//!
//! Many are deleted in transactions so short that whoever writes meanwhile hardly waits. So that nobody reads half a
//! run, each is marked first (`runs.pruned_at`): from then on it is not there for readers, nor for writes that name it.
//! Its rows are then swept up, by this call or, where it was killed, by the next.
//!
//! A run's rows are deleted before the run, so that no reference ever dangles.

use std::iter;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model;
use crate::runs::{self, RUNNING};
use crate::sql::{Text, count};

/// How many candidates are looked up at a time.
pub(crate) const SLICE_RUNS: usize = 256;

/// How many items are deleted between two looks at the time.
const ITEMS_AT_ONCE: usize = 16;

/// How long a short write should hold the writer, its commit included.
const SHORT: Duration = Duration::from_millis(10);

/// What a short write may take before its commit: at least, and at the most.
const LEAST_WORK: Duration = Duration::from_micros(500);
const MOST_WORK: Duration = Duration::from_millis(8);

/// How many rows were deleted, by table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Of runs.
    pub runs: u64,
    /// Of their items.
    pub intel_items: u64,
    /// Of their telemetry documents.
    pub telemetry: u64,
}

impl Deleted {
    /// Count in what else was deleted.
    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.intel_items += other.intel_items;
        self.telemetry += other.telemetry;
    }
}

/// Which finished runs to prune: those that every bound lets go.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Those that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// All but the newest so many of those of this type and status.
    pub keep_last: Option<u64>,
    /// Those of this type.
    pub run_type: Option<String>,
    /// Those of one of these statuses.
    pub statuses: Option<Vec<String>>,
    /// Not those of which an item has come again since: later runs still report it.
    pub keep_seen: bool,
}

/// How long the next short write may work, by what the last one took.
pub(crate) struct Pace {
    work: Duration,
    begun: Instant,
}

impl Pace {
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
        let mut selection = Self::by_filters(prune);
        let mut seen_since = model::isoformat(now);
        if let Some(age) = prune.older_than {
            let cut_off = before(now, age);
            selection.restrict("coalesce(finished_at, started_at) < ?", [cut_off.clone().into()]);
            seen_since = cut_off;
        }
        if let Some(count) = prune.keep_last.filter(|count| *count > 0) {
            let Some((started_at, rowid)) = selection.newest(connection, prune, count)? else {
                return Ok(None);
            };
            selection.restrict(
                "(started_at, runs.rowid) < (?, ?)",
                [started_at.clone().into(), Value::Integer(rowid)],
            );
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
    fn by_filters(prune: &Prune) -> Self {
        let mut selection = Self {
            conditions: format!("pruned_at IS NULL AND +status <> '{RUNNING}'"),
            parameters: Vec::new(),
        };
        if let Some(run_type) = &prune.run_type {
            selection.restrict("+run_type = ?", [run_type.clone().into()]);
        }
        if let Some(statuses) = &prune.statuses {
            let marks = vec!["?"; statuses.len()].join(", ");
            selection.restrict(&format!("+status IN ({marks})"), statuses.iter().cloned().map(Value::from));
        }
        selection
    }

    fn restrict(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions = format!("{} AND {condition}", self.conditions);
        self.parameters.extend(values);
    }

    /// Where the newest `count` runs of the filters end.
    fn newest(&self, connection: &Connection, prune: &Prune, count: u64) -> Result<Option<(String, i64)>> {
        let of_filters = Self::by_filters(prune);
        let skipped = i64::try_from(count - 1).unwrap_or(i64::MAX);
        let parameters = of_filters.parameters.into_iter().chain([Value::Integer(skipped)]);
        Ok(connection
            .prepare_cached(&newest_sql(&of_filters.conditions))?
            .query_row(params_from_iter(parameters), |row| Ok((row.get(0)?, row.get(1)?)))
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

    /// Count the next runs behind one and what belongs to them; where they end, `None` where none were left.
    pub(crate) fn count_next(&self, connection: &Connection, after: i64) -> Result<(Deleted, Option<i64>)> {
        let columns = format!("rowid, {COUNTS}");
        let mut statement = connection.prepare_cached(&next_sql(&self.conditions, &columns))?;
        let mut rows = statement.query(params_from_iter(self.behind(after)))?;
        let (mut counted, mut last) = (Deleted::default(), None);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            counted.add(Deleted { runs: 1, intel_items: count(row, 1)?, telemetry: count(row, 2)? });
        }
        goes_on(after, last)?;
        Ok((counted, last))
    }

    fn behind(&self, after: i64) -> impl Iterator<Item = Value> {
        let limit = Value::Integer(i64::try_from(SLICE_RUNS).unwrap_or(i64::MAX));
        iter::once(Value::Integer(after)).chain(self.parameters.iter().cloned()).chain([limit])
    }

    /// Mark those of `candidates` that still are to go, until it is time to make way; how many were looked at.
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
            let values = [Value::from(now.to_owned()), Value::Integer(*rowid)];
            statement.execute(params_from_iter(values.iter().chain(&self.parameters)))?;
        }
        Ok(candidates.len())
    }
}

/// Check that what comes behind a run is behind it: whoever went on from there would never come to an end otherwise.
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
    format!(
        "SELECT started_at, rowid FROM runs WHERE {conditions}
         ORDER BY started_at DESC, rowid DESC LIMIT 1 OFFSET ?"
    )
}

fn next_sql(conditions: &str, columns: &str) -> String {
    format!("SELECT {columns} FROM runs WHERE rowid > ? AND {conditions} ORDER BY rowid LIMIT ?")
}

fn mark_sql(conditions: &str) -> String {
    format!("UPDATE runs SET pruned_at = ? WHERE rowid = ? AND {conditions}")
}

/// A point in time before another, as the file has it.
pub(crate) fn before(now: DateTime<Utc>, span: Duration) -> String {
    let earlier = TimeDelta::from_std(span).ok().and_then(|span| now.checked_sub_signed(span));
    model::isoformat(earlier.unwrap_or(DateTime::<Utc>::MIN_UTC))
}

/// Count what is marked and not yet swept up.
pub(crate) fn count_marked(connection: &Connection) -> Result<Deleted> {
    let sql = format!("SELECT {COUNTS} FROM runs WHERE pruned_at IS NOT NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut counted = Deleted::default();
    while let Some(row) = rows.next()? {
        counted.add(Deleted { runs: 1, intel_items: count(row, 0)?, telemetry: count(row, 1)? });
    }
    Ok(counted)
}

/// Delete rows of runs that are marked until it is time to make way; and whether there may be more.
pub(crate) fn sweep(connection: &Connection, until: Instant) -> Result<(Deleted, bool)> {
    let mut deleted = Deleted::default();
    let mut marked =
        connection.prepare_cached("SELECT run_id FROM runs WHERE pruned_at IS NOT NULL LIMIT 1")?;
    while let Some(run_id) = marked.query_row([], |row| row.get::<_, String>(0)).optional()? {
        loop {
            let items = delete_items(connection, &run_id, ITEMS_AT_ONCE)?;
            deleted.intel_items += items as u64;
            if items < ITEMS_AT_ONCE {
                break;
            }
            if Instant::now() >= until {
                return Ok((deleted, true));
            }
        }
        let rest = delete_rest(connection, &run_id)?;
        if rest.runs == 0 {
            return Err(runs::indexes_disagree(&run_id));
        }
        deleted.add(rest);
        if Instant::now() >= until {
            return Ok((deleted, true));
        }
    }
    Ok((deleted, false))
}

/// Delete a run and all that belongs to it; one that is `running` only by `force`.
pub(crate) fn delete_run(connection: &Connection, run_id: &str, force: bool) -> Result<Deleted> {
    let status: Option<String> = connection
        .prepare_cached("SELECT status FROM runs WHERE run_id = ? AND pruned_at IS NULL")?
        .query_row([run_id], |row| row.get(0))
        .optional()?;
    match status {
        None => Err(runs::not_found(run_id)),
        Some(status) if status == RUNNING && !force => Err(StoreError::new(
            ErrorKind::RunActive,
            "the run is running; nothing was changed; finish it first, or pass force=True",
        )),
        Some(_) => delete_all(connection, run_id),
    }
}

/// Delete what is left of a run that is being pruned, so that its id is free; whether there was one.
pub(crate) fn make_room(connection: &Connection, run_id: &str) -> Result<bool> {
    let marked = connection
        .prepare_cached("SELECT 1 FROM runs WHERE run_id = ? AND pruned_at IS NOT NULL")?
        .exists([run_id])?;
    if marked {
        delete_all(connection, run_id)?;
    }
    Ok(marked)
}

/// Delete an item that belongs to a run that is being pruned: one that comes again now must not go with it.
pub(crate) fn let_go(connection: &Connection, item_id: Option<&[u8]>) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM intel_items WHERE item_id = ? AND EXISTS (
                SELECT 1 FROM runs WHERE runs.run_id = intel_items.run_id AND pruned_at IS NOT NULL)",
        )?
        .execute([Text(item_id)])?;
    Ok(())
}

fn delete_all(connection: &Connection, run_id: &str) -> Result<Deleted> {
    let items = delete_items(connection, run_id, usize::MAX)?;
    let mut deleted = delete_rest(connection, run_id)?;
    deleted.intel_items = items as u64;
    Ok(deleted)
}

fn delete_items(connection: &Connection, run_id: &str, limit: usize) -> Result<usize> {
    Ok(connection
        .prepare_cached(
            "DELETE FROM intel_items WHERE rowid IN (
                SELECT rowid FROM intel_items WHERE run_id = ? ORDER BY created_at, rowid LIMIT ?)",
        )?
        .execute((run_id, i64::try_from(limit).unwrap_or(i64::MAX)))?)
}

/// Delete a run of which no item is left.
fn delete_rest(connection: &Connection, run_id: &str) -> Result<Deleted> {
    let telemetry = connection.prepare_cached("DELETE FROM telemetry WHERE run_id = ?")?.execute([run_id])?;
    let runs = connection.prepare_cached("DELETE FROM runs WHERE run_id = ?")?.execute([run_id]);
    let runs = runs.map_err(|error| match StoreError::from(error) {
        // Items of it are left that the index of runs has not: no constraint but ours forbids to delete a run.
        error if error.kind == ErrorKind::InvalidValue => runs::indexes_disagree(run_id),
        error => error,
    })?;
    Ok(Deleted { runs: runs as u64, intel_items: 0, telemetry: telemetry as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connection, migrations};

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
        };
        let selection = Selection::find(&connection, &prune, Utc::now()).unwrap().unwrap();
        for sql in [
            next_sql(&selection.conditions, "rowid"),
            next_sql(&selection.conditions, &format!("rowid, {COUNTS}")),
            mark_sql(&selection.conditions),
        ] {
            let plan = plan(&connection, &sql);
            assert!(plan.contains("SEARCH runs USING INTEGER PRIMARY KEY"), "{plan}");
            assert!(plan.contains("idx_intel_items_updated_at (run_id=? AND updated_at>?)"), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("B-TREE"), "{plan}");
        }
        let newest = plan(&connection, &newest_sql(&Selection::by_filters(&prune).conditions));
        assert_eq!(newest, "SCAN runs USING INDEX idx_runs_started_at");
        let marked = plan(&connection, runs::IS_ANY_PRUNED);
        assert!(marked.contains("USING COVERING INDEX idx_runs_pruned_at"), "{marked}");
    }

    #[test]
    fn a_pace_settles_where_a_write_is_short() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.begin();
            pace.end();
        }
        assert_eq!(pace.work, MOST_WORK);
        pace.begun = Instant::now() - SHORT * 1000;
        pace.end();
        assert_eq!(pace.work, LEAST_WORK);
    }

    #[test]
    fn a_span_longer_than_time_leads_to_its_beginning() {
        assert!(before(Utc::now(), Duration::MAX) < model::now());
    }
}
