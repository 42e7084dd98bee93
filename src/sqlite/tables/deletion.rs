//! Deletes runs with their items and telemetry: each in one transaction, or in parts if it is marked.
//!
//! A run's rows are deleted before the run, so that no reference of ours ever dangles. The user's own tables may refer
//! to these rows ([`crate::sqlite::tables::references`]) and forbid their deletion. Then nothing of the run is deleted.

use std::collections::HashSet;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, Statement};

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::memory::OutOfMemory;
use crate::model::rows::RUNNING;
use crate::sqlite::file::control;
use crate::sqlite::tables::pruned::{self, NOT_PRUNED};
use crate::sqlite::tables::references::{self, Known, References};

/// How many items are deleted between two checks of the time.
const ITEMS_AT_ONCE: usize = 16;

/// A run of so many items is quickly deleted: where it may matter, this is done in one transaction.
const FEW_ITEMS: i64 = 512;

/// How many of the runs that stay a message names.
const NAMED: usize = 3;

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

/// The result of a prune: what was deleted, and which runs could not be.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    deleted: Deleted,
    /// Runs that stay as they are.
    held: u64,
    /// Runs that were marked before, and can be neither read nor deleted.
    hidden: u64,
    /// Some of these, and why.
    named: Vec<String>,
}

impl Pruned {
    /// A run that is deleted.
    fn of(deleted: Deleted, run_id: &str) -> Result<Self> {
        // It was found by another index than the one by which it is deleted.
        if deleted.runs == 0 {
            return Err(pruned::indexes_disagree(run_id));
        }
        Ok(Self { deleted, ..Self::default() })
    }

    /// A run that cannot be deleted.
    fn left(run_id: &str, why: &str, marked: bool) -> Self {
        let (held, hidden) = if marked { (0, 1) } else { (1, 0) };
        Self { held, hidden, named: vec![format!("run {} ({why})", excerpt(run_id))], ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.deleted.add(other.deleted);
        self.held += other.held;
        self.hidden += other.hidden;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
    }

    /// What was deleted; where something could not be, an error that says so too.
    pub(crate) fn outcome(self) -> Result<Deleted> {
        if self.held + self.hidden == 0 {
            return Ok(self.deleted);
        }
        let Self { deleted: Deleted { runs, intel_items, telemetry }, held, hidden, named } = self;
        let stay = match (held, hidden) {
            (_, 0) => "stay as they were".to_owned(),
            (0, _) => "stay hidden, as an earlier prune had begun with them".to_owned(),
            _ => format!("stay as they were, but {hidden} hidden, as an earlier prune had begun with them"),
        };
        let (count, named) = (held + hidden, named.join(", "));
        Err(StoreError::new(
            ErrorKind::InvalidValue,
            format!(
                "rows of other tables refer to {count} of the runs, which {stay}: {named}{}; delete those rows, and prune again; all others are deleted: {runs} runs, {intel_items} items, {telemetry} telemetry documents",
                if count > NAMED as u64 { " ..." } else { "" },
            ),
        ))
    }
}

/// Deletes the rows of the marked runs, one run after the other.
#[derive(Default)]
pub(crate) struct Sweep {
    /// Those that could not be. The others are not behind them: what is marked later, by a clock that was set back, is
    /// before them in the index, and their place in the table is not kept by VACUUM.
    left: HashSet<String>,
    pub(crate) references: Known,
}

impl Sweep {
    /// Delete until others should write; whether there may be more.
    pub(crate) fn go_on(&mut self, connection: &Connection, until: Instant) -> Result<(Pruned, bool)> {
        let mut pruned = Pruned::default();
        let mut marked = connection.prepare_cached(pruned::NEXT_PRUNED)?;
        let references = self.references.get(connection)?;
        loop {
            let Some(run_id) = self.next(&mut marked)? else { return Ok((pruned, false)) };
            let done = if !references.is_empty() && must_be_at_once(connection, &run_id, &references)? {
                delete_or_leave(connection, &run_id, true)?
            } else {
                delete_marked(connection, &run_id, until)?
            };
            if done.hidden > 0 {
                self.left.try_reserve(1).map_err(OutOfMemory::from)?;
                self.left.insert(run_id);
            }
            pruned.add(done);
            if Instant::now() >= until {
                return Ok((pruned, true));
            }
        }
    }

    /// The first marked run, except for those that cannot be deleted.
    fn next(&self, marked: &mut Statement) -> Result<Option<String>> {
        let mut rows = marked.query([i64::try_from(self.left.len() + 1).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            let run_id = row.get(0)?;
            if !self.left.contains(&run_id) {
                return Ok(Some(run_id));
            }
        }
        Ok(None)
    }
}

/// Delete the rest of a run, until others should write.
fn delete_marked(connection: &Connection, run_id: &str, until: Instant) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    loop {
        match unless_forbidden(connection, run_id, true, || delete_items(connection, run_id, ITEMS_AT_ONCE))?
        {
            Ok(items) => {
                pruned.deleted.intel_items += items as u64;
                if items < ITEMS_AT_ONCE {
                    break;
                }
            }
            Err(why) => {
                pruned.add(Pruned::left(run_id, &why, true));
                return Ok(pruned);
            }
        }
        if Instant::now() >= until {
            return Ok(pruned);
        }
    }
    pruned.add(match unless_forbidden(connection, run_id, true, || delete_rest(connection, run_id))? {
        Ok(rest) => Pruned::of(rest, run_id)?,
        Err(why) => Pruned::left(run_id, &why, true),
    });
    Ok(pruned)
}

/// Whether a run has to be deleted in one transaction if at all, in a file where `references` refer to ours: because
/// rows refer to it, or because it cannot be deleted as the schema is. With few items it need not be known.
pub(crate) fn must_be_at_once(
    connection: &Connection,
    run_id: &str,
    references: &References,
) -> Result<bool> {
    let few = connection
        .prepare_cached(
            "SELECT count(*) <= ?2 FROM (SELECT 1 FROM intel_items WHERE run_id = ?1 LIMIT ?2 + 1)",
        )?
        .query_row((run_id, FEW_ITEMS), |row| row.get(0))?;
    // What is cached was prepared by the schema of then.
    let deletable =
        || [DELETE_ITEMS, DELETE_TELEMETRY, DELETE_RUN].iter().all(|sql| connection.prepare(sql).is_ok());
    Ok(few || references.refer_to(connection, run_id)? || !deletable())
}

/// Delete a run and all that belongs to it; or nothing, where rows of other tables forbid it.
pub(crate) fn delete_or_leave(connection: &Connection, run_id: &str, marked: bool) -> Result<Pruned> {
    match unless_forbidden(connection, run_id, true, || delete_all(connection, run_id))? {
        Ok(deleted) => Pruned::of(deleted, run_id),
        Err(why) => Ok(Pruned::left(run_id, &why, marked)),
    }
}

/// Delete a run and all that belongs to it; one that is `running` only by `force`. Within a transaction of the caller's
/// the deleted rows may be recorded again before a `deferred` constraint is checked.
pub(crate) fn delete_run(
    connection: &Connection,
    run_id: &str,
    force: bool,
    deferred: bool,
) -> Result<Deleted> {
    let is_running: Option<bool> = connection
        .prepare_cached(&format!("SELECT status = '{RUNNING}' FROM runs WHERE run_id = ? AND {NOT_PRUNED}"))?
        .query_row([run_id], |row| row.get(0))
        .optional()?;
    match is_running {
        None => Err(pruned::not_found(run_id)),
        Some(true) if !force => Err(StoreError::new(
            ErrorKind::RunActive,
            "the run is running; nothing was changed; finish it first, or pass force=True",
        )),
        Some(_) => {
            let delete = || delete_all(connection, run_id);
            unless_forbidden(connection, run_id, !deferred, delete)?.map_err(|why| {
                forbidden(&format!("the run cannot be deleted: {why}; nothing was changed; delete the rows that refer to it first"))
            })
        }
    }
}

/// Delete the rest of a run that is being pruned, so that its id is free; whether there was one.
pub(crate) fn make_room(connection: &Connection, run_id: &str) -> Result<bool> {
    let marked = pruned::is_pruned(connection, run_id.as_bytes())?;
    if marked {
        unless_forbidden(connection, run_id, true, || delete_all(connection, run_id))?.map_err(|why| {
            forbidden(&format!("the rest of a run with this run_id, which is being pruned, cannot be deleted: {why}; nothing was changed; delete the rows that refer to it first"))
        })?;
    }
    Ok(marked)
}

fn forbidden(what: &str) -> StoreError {
    StoreError::new(ErrorKind::InvalidValue, what)
}

/// Delete something of a run, or nothing; and why not, where rows of other tables forbid it. Deferred constraints are
/// checked only if `now`.
fn unless_forbidden<T>(
    connection: &Connection,
    run_id: &str,
    now: bool,
    delete: impl FnOnce() -> Result<T>,
) -> Result<Result<T, String>> {
    // What the caller's transaction has left unmet before may be met before its end.
    let looked_at = now && !references::is_unmet(connection);
    let mut unmet = false;
    let done = control::atomically(connection, usize::MAX, || {
        let deleted = delete()?;
        unmet = looked_at && references::is_unmet(connection);
        if unmet { Err(forbidden("a deferred constraint")) } else { Ok(deleted) }
    });
    let error = match done {
        Ok(deleted) => return Ok(Ok(deleted)),
        Err(error) => error,
    };
    if !(unmet || error.is_of_constraint() || error.is_of_schema()) || connection.is_autocommit() {
        return Err(error);
    }
    let references = References::find(connection)?;
    if references.is_empty() {
        // No constraint but ours is left: items of it are there that the index of runs has not.
        return Err(if error.is_of_constraint() { pruned::indexes_disagree(run_id) } else { error });
    }
    Ok(Err(match references.to_blame(connection, run_id)? {
        Some(why) if !error.is_of_schema() => why,
        _ => format!("{error}; tables that refer to the store's: {}", references.tables()),
    }))
}

const DELETE_ITEMS: &str = "DELETE FROM intel_items WHERE rowid IN (
    SELECT rowid FROM intel_items WHERE run_id = ? ORDER BY created_at, rowid LIMIT ?)";
const DELETE_TELEMETRY: &str = "DELETE FROM telemetry WHERE run_id = ?";
const DELETE_RUN: &str = "DELETE FROM runs WHERE run_id = ?";

fn delete_all(connection: &Connection, run_id: &str) -> Result<Deleted> {
    let items = delete_items(connection, run_id, usize::MAX)? as u64;
    let rest = delete_rest(connection, run_id)?;
    Ok(Deleted { intel_items: items, ..rest })
}

fn delete_items(connection: &Connection, run_id: &str, limit: usize) -> Result<usize> {
    Ok(connection
        .prepare_cached(DELETE_ITEMS)?
        .execute((run_id, i64::try_from(limit).unwrap_or(i64::MAX)))?)
}

/// Delete a run of which no item is left.
fn delete_rest(connection: &Connection, run_id: &str) -> Result<Deleted> {
    let telemetry = connection.prepare_cached(DELETE_TELEMETRY)?.execute([run_id])?;
    let runs = connection.prepare_cached(DELETE_RUN)?.execute([run_id])?;
    Ok(Deleted { runs: runs as u64, intel_items: 0, telemetry: telemetry as u64 })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    /// A store of finished runs that are marked, of as many items each.
    fn marked(run_ids: &[&str], items: i64) -> Connection {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        for run_id in run_ids {
            connection
                .execute(
                    "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json, pruned_at)
                     VALUES (?, 't', '', 's', '{}', 'now')",
                    [run_id],
                )
                .unwrap();
            connection
                .execute(
                    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
                     INSERT INTO intel_items SELECT ?1 || '-' || i, ?1, 't', '', '', '', '', '', '', '', NULL, NULL,
                        '', NULL FROM n",
                    (run_id, items),
                )
                .unwrap();
        }
        connection
    }

    /// One transaction of a sweep.
    fn go_on(connection: &Connection, sweep: &mut Sweep, until: Instant) -> (Pruned, bool) {
        control::execute(connection, "BEGIN").unwrap();
        let done = sweep.go_on(connection, until).unwrap();
        assert!(!references::is_unmet(connection));
        control::execute(connection, "COMMIT").unwrap();
        done
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn left(connection: &Connection) -> (i64, i64) {
        connection
            .query_row("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM intel_items)", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap()
    }

    /// What another program's row refers to may have been hidden, and half deleted, before it was written.
    #[test]
    fn a_row_that_comes_to_refer_to_a_run_meanwhile_stops_its_deletion_and_no_others() {
        for (schema, value) in [
            ("item_id TEXT REFERENCES intel_items", "first-1000"),
            ("item_id REFERENCES intel_items DEFERRABLE INITIALLY DEFERRED", "first-1000"),
            ("item_id REFERENCES intel_items ON DELETE RESTRICT", "first-1000"),
            ("run_id TEXT REFERENCES runs", "first"),
            ("run_id REFERENCES runs DEFERRABLE INITIALLY DEFERRED", "first"),
        ] {
            let connection = marked(&["first", "second"], 1000);
            connection.execute_batch(&format!("CREATE TABLE own({schema})")).unwrap();
            let mut sweep = Sweep::default();
            let (pruned, more) = go_on(&connection, &mut sweep, Instant::now());
            assert_eq!((pruned.deleted.intel_items, more), (16, true), "{schema}");
            connection.execute("INSERT INTO own VALUES (?)", [value]).unwrap();
            let (pruned, more) = go_on(&connection, &mut sweep, later());
            assert_eq!((pruned.deleted.runs, pruned.hidden, more), (1, 1, false), "{schema}");
            assert_eq!(left(&connection), (1, 984), "nothing more of it is deleted: {schema}");
            let error = pruned.outcome().unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidValue);
            assert!(error.to_string().contains("run \"first\" (own("), "{error}");
            connection.execute("DELETE FROM own", []).unwrap();
            let (pruned, _) = go_on(&connection, &mut Sweep::default(), later());
            assert_eq!((pruned.deleted.runs, pruned.deleted.intel_items), (1, 984), "{schema}");
        }
    }

    #[test]
    fn bit_by_bit_nothing_is_deleted_that_a_row_refers_to_either() {
        for schema in ["REFERENCES intel_items", "REFERENCES intel_items DEFERRABLE INITIALLY DEFERRED"] {
            let connection = marked(&["first"], 1000);
            connection
                .execute_batch(&format!(
                    "CREATE TABLE own(x {schema}); INSERT INTO own VALUES ('first-900'); BEGIN"
                ))
                .unwrap();
            let pruned = delete_marked(&connection, "first", later()).unwrap();
            assert_eq!((pruned.deleted.intel_items, pruned.hidden), (896, 1), "{schema}");
            connection.execute_batch("COMMIT").unwrap();
            assert_eq!(left(&connection), (1, 104), "{schema}");
        }
    }

    /// The clock was set back since the other was marked, or another process took its time to mark this one.
    #[test]
    fn what_is_marked_before_a_run_that_cannot_go_is_deleted_as_well() {
        let connection = marked(&["first", "held", "second"], 1);
        connection
            .execute_batch(
                "UPDATE runs SET pruned_at = NULL WHERE run_id <> 'held';
                 CREATE TABLE own(x REFERENCES runs);
                 INSERT INTO own VALUES ('held')",
            )
            .unwrap();
        let mut sweep = Sweep::default();
        assert_eq!(go_on(&connection, &mut sweep, later()).0.hidden, 1);
        connection.execute_batch("UPDATE runs SET pruned_at = 'before' WHERE run_id <> 'held'").unwrap();
        let (pruned, more) = go_on(&connection, &mut sweep, later());
        assert_eq!((pruned.deleted.runs, pruned.hidden, more), (2, 0, false), "and none is counted twice");
        assert_eq!(left(&connection), (1, 1));
    }

    #[test]
    fn marked_runs_are_found_by_their_index_in_its_order() {
        let connection = marked(&[], 0);
        let mut statement =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {}", pruned::NEXT_PRUNED)).unwrap();
        let plan: Vec<String> = statement
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(plan, ["SEARCH runs USING INDEX idx_runs_pruned_at (pruned_at>?)"]);
    }

    /// Without tables of others that refer to it, what forbids to delete a run is an item that the index of runs lacks.
    #[test]
    fn an_index_that_lacks_an_item_is_damage() {
        let connection = marked(&["first"], 3);
        connection.execute_batch("CREATE TABLE own(x PRIMARY KEY REFERENCES own); BEGIN").unwrap();
        let error =
            unless_forbidden(&connection, "first", true, || delete_rest(&connection, "first")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CorruptDatabase);
    }
}
