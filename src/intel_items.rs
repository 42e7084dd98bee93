//! The SQL of the `intel_items` table.

use std::borrow::Cow;

use chrono::{TimeDelta, Utc};
use rusqlite::{CachedStatement, Connection, Row, Rows};

use crate::cursor::Position;
use crate::error::{Result, StoreError};
use crate::model::{self, ITEM_COLUMNS, Items, NewItems};
use crate::runs;
use crate::sql::{Text, push_cell};

/// An item that comes again unchanged is not written again, unless its `updated_at` is older than `?14`, a minute:
/// that column says when an item was last seen, and need not be exact (the bargain of the mount option relatime).
const UPSERT: &str = "INSERT INTO intel_items(
        item_id, run_id, item_type, title, summary, claims_json, evidence_json, scores_json, risk_flags_json,
        explainability_json, decision, decision_reason, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT(item_id) DO UPDATE SET
        title = excluded.title,
        summary = excluded.summary,
        claims_json = excluded.claims_json,
        evidence_json = excluded.evidence_json,
        scores_json = excluded.scores_json,
        risk_flags_json = excluded.risk_flags_json,
        explainability_json = excluded.explainability_json,
        decision = excluded.decision,
        decision_reason = excluded.decision_reason,
        updated_at = excluded.created_at
    WHERE coalesce(updated_at, created_at) < ?14
        OR (title, summary, claims_json, evidence_json, scores_json, risk_flags_json, explainability_json,
            decision, decision_reason)
        IS NOT (excluded.title, excluded.summary, excluded.claims_json, excluded.evidence_json,
            excluded.scores_json, excluded.risk_flags_json, excluded.explainability_json, excluded.decision,
            excluded.decision_reason)";

/// How long an unchanged item may come again before its `updated_at` is brought up to date.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The columns of [`Items`].
const COLUMNS: &str = "item_id, run_id, item_type, title, summary, claims_json, evidence_json, scores_json,
    risk_flags_json, explainability_json, decision, decision_reason, created_at";

/// The columns of [`NewItems`] that name the item and its run.
const ITEM_ID: usize = 0;
const RUN_ID: usize = 1;

/// The column of [`Items`] that says when one was first recorded.
const CREATED_AT: usize = 12;

/// Inserts or updates items, in their order, all with the same time.
pub(crate) struct Upsert<'a> {
    connection: &'a Connection,
    statement: CachedStatement<'a>,
    now: String,
    stale: String,
    /// The run that was last found to be there.
    known_run: Option<Vec<u8>>,
}

impl<'a> Upsert<'a> {
    /// Get ready to write items that come now.
    pub(crate) fn new(connection: &'a Connection) -> Result<Self> {
        let now = Utc::now();
        Ok(Self {
            connection,
            statement: connection.prepare_cached(UPSERT)?,
            now: model::isoformat(now),
            stale: model::isoformat(now - SEEN_EVERY),
            known_run: None,
        })
    }

    /// Write these. An error comes with the row that it is about.
    pub(crate) fn write(&mut self, items: &NewItems) -> Result<(), (usize, StoreError)> {
        (0..items.len()).try_for_each(|row| self.write_row(items, row).map_err(|error| (row, error)))
    }

    fn write_row(&mut self, items: &NewItems, row: usize) -> Result<()> {
        let run_id = items.get(row, RUN_ID).unwrap_or_default();
        if self.known_run.as_deref() != Some(run_id) {
            runs::require(self.connection, run_id)?;
            self.known_run = Some(run_id.to_vec());
        }
        for column in 0..ITEM_COLUMNS.len() {
            self.statement.raw_bind_parameter(column + 1, Text(items.get(row, column)))?;
        }
        self.statement.raw_bind_parameter(ITEM_COLUMNS.len() + 1, &self.now)?;
        self.statement.raw_bind_parameter(ITEM_COLUMNS.len() + 2, &self.stale)?;
        self.statement.raw_execute()?;
        Ok(())
    }
}

/// Read the next items, of one run or of all, the oldest first; and where they end, `None` where none are left.
pub(crate) fn page(
    connection: &Connection,
    run_id: Option<&str>,
    after: &Position,
    limit: usize,
) -> Result<(Items, Option<Position>)> {
    let of_run = if run_id.is_some() { "run_id = ?1" } else { "?1 IS NULL" };
    let (mut items, mut rowid) = (Items::new(), after.rowid);
    // A whole batch has one time. Two seeks find the place within it, where comparing the pair would scan it.
    for behind in ["created_at = ?2 AND rowid > ?3", "created_at > ?2 AND ?3 NOTNULL"] {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS}, rowid FROM intel_items WHERE {of_run} AND {behind} ORDER BY created_at, rowid LIMIT ?4"
        ))?;
        let left = i64::try_from(limit - items.len()).unwrap_or(i64::MAX);
        let mut rows = statement.query((run_id, &after.time, after.rowid, left))?;
        while let Some(row) = rows.next()? {
            push_row(row, &mut items)?;
            rowid = row.get(ITEM_COLUMNS.len() + 1)?;
        }
    }
    if items.len() < limit {
        return Ok((items, None));
    }
    let created_at = items.get(limit - 1, CREATED_AT).unwrap_or_default();
    let time = String::from_utf8_lossy(created_at).into_owned();
    Ok((items, Some(Position { time, rowid })))
}

/// How many rows are read before they are handed on.
pub(crate) const SLICE_ROWS: usize = 256;

/// A part of a long list.
pub enum Slice {
    /// The list starts, or starts over: what came before does not count.
    Start,
    /// The next items.
    Rows(Items),
}

/// Whether a run has more than so many items; at the most one more is looked at.
pub(crate) fn has_more_than(connection: &Connection, run_id: &str, count: usize) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM intel_items WHERE run_id = ? LIMIT 1 OFFSET ?")?;
    Ok(statement.exists((run_id, i64::try_from(count).unwrap_or(i64::MAX)))?)
}

/// Read a run's items, in the order in which they were first recorded.
pub(crate) fn list_for_run(connection: &Connection, run_id: &str) -> Result<Items> {
    let mut statement = connection.prepare_cached(&list_sql())?;
    let mut rows = statement.query([run_id])?;
    let mut items = Items::new();
    while read_row(&mut rows, &mut items)? {}
    Ok(items)
}

/// Read a run's items as [`list_for_run`] does, and hand them on as they come.
pub(crate) fn list_slices_for_run(
    connection: &Connection,
    run_id: &str,
    hand_on: &dyn Fn(Slice),
) -> Result<()> {
    hand_on(Slice::Start);
    let mut statement = connection.prepare_cached(&list_sql())?;
    let mut rows = statement.query([run_id])?;
    loop {
        let mut items = Items::new();
        while items.len() < SLICE_ROWS && read_row(&mut rows, &mut items)? {}
        let last = items.len() < SLICE_ROWS;
        hand_on(Slice::Rows(items));
        if last {
            return Ok(());
        }
    }
}

fn list_sql() -> String {
    format!("SELECT {COLUMNS} FROM intel_items WHERE run_id = ? ORDER BY created_at, rowid")
}

/// Append the next row; `false` where there is none.
fn read_row(rows: &mut Rows, items: &mut Items) -> Result<bool> {
    let Some(row) = rows.next()? else { return Ok(false) };
    push_row(row, items)?;
    Ok(true)
}

fn push_row(row: &Row, items: &mut Items) -> Result<()> {
    (0..ITEM_COLUMNS.len() + 1).try_for_each(|column| push_cell(row, column, items, "item"))
}

/// The item's id, for messages.
pub(crate) fn item_id(items: &NewItems, row: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(items.get(row, ITEM_ID).unwrap_or_default())
}
