//! The SQL of the `intel_items` table.

use std::borrow::Cow;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement};

use crate::error::{ErrorKind, Result, StoreError};
use crate::memory;
use crate::model::columns::ItemColumn;
use crate::model::rows::{Items, NewItems};
use crate::model::time;
use crate::sqlite::tables::cells::{Text, push_cell};
use crate::sqlite::tables::pruned::{self, ITEM_PRUNED};
use crate::sqlite::tables::references::References;
use crate::sqlite::tables::runs;

/// An item that comes again unchanged is not written again, unless its `updated_at` is older than `?14`, a minute:
/// that column says when an item was last seen, and need not be exact (the bargain of the mount option relatime). One
/// that is later than now is of a clock that was set back.
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
    WHERE coalesce(updated_at, created_at) NOT BETWEEN ?14 AND ?13
        OR (title, summary, claims_json, evidence_json, scores_json, risk_flags_json, explainability_json,
            decision, decision_reason)
        IS NOT (excluded.title, excluded.summary, excluded.claims_json, excluded.evidence_json,
            excluded.scores_json, excluded.risk_flags_json, excluded.explainability_json, excluded.decision,
            excluded.decision_reason)";

/// An item that comes again while the run that it belongs to is being pruned must not go with it: it is as new, and
/// belongs to the run that brings it now. It is recorded last, and so moves to the end of the table. Its row stays the
/// same, as rows of tables of the user's own may refer to it.
const MOVE: &str = "UPDATE intel_items SET
        rowid = (SELECT max(rowid) + 1 FROM intel_items), run_id = ?2, item_type = ?3, title = ?4, summary = ?5,
        claims_json = ?6, evidence_json = ?7, scores_json = ?8, risk_flags_json = ?9, explainability_json = ?10,
        decision = ?11, decision_reason = ?12, created_at = ?13, updated_at = NULL
    WHERE item_id = ?1";

/// How long an unchanged item may come again before its `updated_at` is brought up to date.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// Inserts or updates items, in their order, all with the same time.
pub(crate) struct Upsert<'a> {
    connection: &'a Connection,
    statement: CachedStatement<'a>,
    now: String,
    stale: String,
    /// The run that was last found to take writes.
    known_run: Option<Vec<u8>>,
    /// Some runs are being pruned, and must not take with them what comes again now.
    pruning: bool,
}

impl<'a> Upsert<'a> {
    /// Get ready to write items that come now.
    pub(crate) fn new(connection: &'a Connection) -> Result<Self> {
        let now = time::clock();
        Ok(Self {
            connection,
            statement: connection.prepare_cached(UPSERT)?,
            now: time::isoformat(now),
            stale: time::before(now, SEEN_EVERY),
            known_run: None,
            pruning: pruned::is_any_pruned(connection)?,
        })
    }

    /// Write these, once all of their runs are found to take writes. An error comes with the row that it is about.
    pub(crate) fn write(&mut self, items: &NewItems) -> Result<(), (usize, StoreError)> {
        (0..items.len()).try_for_each(|row| self.require_run(items, row).map_err(|error| (row, error)))?;
        (0..items.len()).try_for_each(|row| self.write_row(items, row).map_err(|error| (row, error)))
    }

    fn require_run(&mut self, items: &NewItems, row: usize) -> Result<()> {
        let run_id = items.get(row, ItemColumn::RunId).unwrap_or_default();
        if self.known_run.as_deref() != Some(run_id) {
            runs::require(self.connection, run_id, false, &self.now)?;
            self.known_run = Some(memory::bytes(run_id)?);
        }
        Ok(())
    }

    fn write_row(&mut self, items: &NewItems, row: usize) -> Result<()> {
        if self.pruning {
            let mut statement = self.connection.prepare_cached(&format!("{MOVE} AND {ITEM_PRUNED}"))?;
            bind(&mut statement, items, row, &self.now)?;
            if statement.raw_execute()? > 0 {
                return Ok(());
            }
        }
        bind(&mut self.statement, items, row, &self.now)?;
        self.statement.raw_bind_parameter(ItemColumn::NEW.len() + 2, &self.stale)?;
        self.statement.raw_execute()?;
        Ok(())
    }
}

fn bind(statement: &mut Statement, items: &NewItems, row: usize, now: &str) -> Result<()> {
    for column in 0..ItemColumn::NEW.len() {
        statement.raw_bind_parameter(column + 1, Text(items.get(row, column)))?;
    }
    Ok(statement.raw_bind_parameter(ItemColumn::NEW.len() + 1, now)?)
}

/// Read an item; no row if there is no such item.
pub(crate) fn get(connection: &Connection, item_id: &str) -> Result<Items> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM intel_items WHERE item_id = ? AND NOT {ITEM_PRUNED}",
        ItemColumn::names(ItemColumn::ALL)
    ))?;
    let mut rows = statement.query([item_id])?;
    let mut items = Items::new();
    if let Some(row) = rows.next()? {
        (0..ItemColumn::ALL.len())
            .try_for_each(|column| push_cell(row, column, &mut items, "intel_items"))?;
    }
    Ok(items)
}

/// Delete an item with its decision, unless the run that it belongs to was recovered; whether there was one.
pub(crate) fn delete(connection: &Connection, item_id: &str, force: bool) -> Result<bool> {
    let found: Option<Option<String>> = connection
        .prepare_cached(&format!(
            "SELECT (SELECT run_id FROM runs WHERE runs.run_id = intel_items.run_id AND recovered_at IS NOT NULL)
            FROM intel_items WHERE item_id = ? AND NOT {ITEM_PRUNED}"
        ))?
        .query_row([item_id], |row| row.get(0))
        .optional()?;
    match found {
        None => return Ok(false),
        Some(Some(recovered)) if !force => {
            let error = runs::why_over(connection, &recovered)?;
            return Err(error.note("delete_intel_item with force=True deletes the item nevertheless"));
        }
        Some(_) => {}
    }
    let deleted = connection.prepare_cached("DELETE FROM intel_items WHERE item_id = ?")?.execute([item_id]);
    match deleted.map_err(StoreError::from) {
        Err(error) if error.is_of_constraint() => Err(StoreError::new(
            ErrorKind::InvalidValue,
            format!(
                "rows of other tables ({}) refer to the item, which cannot be deleted; nothing was changed; delete those rows first",
                References::find(connection)?.tables()
            ),
        )),
        deleted => Ok(deleted? > 0),
    }
}

/// The item's id, for messages.
pub(crate) fn item_id(items: &NewItems, row: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(items.get(row, ItemColumn::ItemId).unwrap_or_default())
}
