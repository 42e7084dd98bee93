//! The schema: an ordered list of steps; `user_version` is the number of steps that a file has taken.
//!
//! Steps are never changed once released, only added; each uses nothing newer than SQLite 3.37, so that older
//! programs can still read the file.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::columns::TABLES;
use crate::sqlite::file::connection;
use crate::sqlite::file::schema;
use crate::sqlite::file::table::{Table, foreign};

/// Step `n` (from 0) brings a file from version `n` to version `n + 1`.
const STEPS: [&str; 3] = [
    // The tables of the pure-Python predecessor, whose files are version 0.
    "CREATE TABLE IF NOT EXISTS runs (
         run_id TEXT PRIMARY KEY,
         run_type TEXT NOT NULL,
         started_at TEXT NOT NULL,
         finished_at TEXT,
         status TEXT NOT NULL,
         settings_snapshot_json TEXT NOT NULL,
         notes TEXT
     );
     CREATE TABLE IF NOT EXISTS intel_items (
         item_id TEXT PRIMARY KEY,
         run_id TEXT NOT NULL REFERENCES runs(run_id),
         item_type TEXT NOT NULL,
         title TEXT NOT NULL,
         summary TEXT NOT NULL,
         claims_json TEXT NOT NULL,
         evidence_json TEXT NOT NULL,
         scores_json TEXT NOT NULL,
         risk_flags_json TEXT NOT NULL,
         explainability_json TEXT NOT NULL,
         decision TEXT,
         decision_reason TEXT,
         created_at TEXT NOT NULL
     );
     CREATE TABLE IF NOT EXISTS telemetry (
         run_id TEXT PRIMARY KEY REFERENCES runs(run_id),
         telemetry_json TEXT NOT NULL,
         created_at TEXT NOT NULL
     );",
    // The predecessor's index names, so that it does not make its own; its index on run_id alone would make
    // the listing of a run sort.
    "ALTER TABLE intel_items ADD COLUMN updated_at TEXT;
     ALTER TABLE runs ADD COLUMN heartbeat_at TEXT;
     DROP INDEX IF EXISTS idx_intel_items_run_id;
     CREATE INDEX idx_intel_items_run_id ON intel_items(run_id, created_at);
     CREATE INDEX IF NOT EXISTS idx_intel_items_created_at ON intel_items(created_at);",
    // An index for each filter of the lists, in the order of the list; and one, of items that came again only, for when
    // a run's were last seen. The file's own number tells its cursors from those of other files.
    "ALTER TABLE runs ADD COLUMN recovered_at TEXT;
     ALTER TABLE runs ADD COLUMN pruned_at TEXT;
     CREATE INDEX IF NOT EXISTS idx_runs_started_at ON runs(started_at);
     CREATE INDEX IF NOT EXISTS idx_runs_run_type ON runs(run_type, started_at);
     CREATE INDEX IF NOT EXISTS idx_runs_status ON runs(status, started_at);
     CREATE INDEX IF NOT EXISTS idx_runs_run_type_status ON runs(run_type, status, started_at);
     CREATE INDEX IF NOT EXISTS idx_runs_pruned_at ON runs(pruned_at) WHERE pruned_at IS NOT NULL;
     CREATE INDEX IF NOT EXISTS idx_intel_items_item_type ON intel_items(item_type, decision, created_at);
     CREATE INDEX IF NOT EXISTS idx_intel_items_updated_at ON intel_items(run_id, updated_at)
         WHERE updated_at IS NOT NULL;
     CREATE TABLE store_identity (store_id TEXT NOT NULL);
     INSERT INTO store_identity VALUES (lower(hex(randomblob(8))));",
];

/// The version that has a column first, its table, and its name.
type Added = (i64, &'static str, &'static str);

/// The columns that steps have added.
const ADDED_COLUMNS: [Added; 4] = [
    (2, "intel_items", "updated_at"),
    (2, "runs", "heartbeat_at"),
    (3, "runs", "recovered_at"),
    (3, "runs", "pruned_at"),
];

/// The table that a step has added, and its column.
const IDENTITY: Added = (3, "store_identity", "store_id");

/// The version that this code writes.
pub const LATEST: i64 = STEPS.len() as i64;

/// What a file is, before anything in it is changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is in it yet.
    Empty,
    /// A store of this version; 0 is the predecessor's.
    Store(i64),
}

/// What a store's file is.
struct Inspected {
    /// Its version, told by its tables: a restored dump has lost the number. 0 is the predecessor's.
    found: i64,
    /// The number that it bears.
    version: i64,
    /// What steps have added, as far as it does not have it.
    missing: Vec<Added>,
}

/// Inspect a file without changing it.
///
/// Fails for a file that is not a database, that is another program's, or that is newer than this code.
pub(crate) fn inspect(connection: &Connection) -> Result<Found> {
    Ok(look(connection)?.map_or(Found::Empty, |inspected| Found::Store(inspected.found)))
}

/// The same, for one that is to be written: fails also where something of its owner's is in the way of the steps that it
/// has not taken, or would run.
pub(crate) fn inspect_to_write(connection: &Connection) -> Result<Found> {
    let Some(inspected) = look(connection)? else { return Ok(Found::Empty) };
    refuse_what_is_in_the_way(connection, &inspected)?;
    refuse_what_runs(connection)?;
    Ok(Found::Store(inspected.found))
}

/// Inspect a file; `None` if nothing is in it.
fn look(connection: &Connection) -> Result<Option<Inspected>> {
    let version = user_version(connection)?;
    let entries: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if entries == 0 && version == 0 {
        return Ok(None);
    }
    let [runs, items, telemetry, identity] =
        ["runs", "intel_items", "telemetry", IDENTITY.1].map(|name| Table::of(connection, name));
    let (tables, identity) = ([runs?, items?, telemetry?], identity?);
    for table in &tables {
        table.refuse_without_ours()?;
    }
    if version > LATEST {
        return Err(StoreError::new(
            ErrorKind::SchemaTooNew,
            format!(
                "schema version {version} is newer than {LATEST}, the newest that this version knows; it was left as it is; upgrade orchestrator-state-store"
            ),
        ));
    }
    let has = |added: &Added| {
        tables.iter().chain([&identity]).any(|table| table.name == added.1 && table.has(added.2))
    };
    let missing: Vec<Added> =
        ADDED_COLUMNS.into_iter().chain([IDENTITY]).filter(|added| !has(added)).collect();
    // One without what steps have added may be of version 1 or of the predecessor's, which are alike.
    let found = missing.iter().map(|(since, ..)| since - 1).min().unwrap_or(LATEST);
    for table in &tables {
        let added = ADDED_COLUMNS.iter().filter(|added| added.1 == table.name && added.0 <= found);
        table.refuse_generated(added.map(|added| added.2))?;
    }
    let found = if found > 1 { found } else { version.min(1) };
    Ok(Some(Inspected { found, version, missing }))
}

/// Refuse to write a file where something of its owner's is in the way of the steps that it has not taken.
fn refuse_what_is_in_the_way(connection: &Connection, inspected: &Inspected) -> Result<()> {
    let Inspected { found, version, missing } = inspected;
    let has_identity = *version >= IDENTITY.0 && !missing.contains(&IDENTITY);
    let mut entries = connection.prepare("SELECT name, type FROM sqlite_schema WHERE type <> 'trigger'")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let [name, kind]: [String; 2] = [row.get(0)?, row.get(1)?];
        let is_index = indexes().any(|index| index.name.eq_ignore_ascii_case(&name)) && kind != "index";
        let is_identity = name.eq_ignore_ascii_case(IDENTITY.1) && *found < IDENTITY.0 && !has_identity;
        if is_index || is_identity {
            return Err(foreign(format_args!(
                "it has a {kind} {name} of its owner's, a name that the store needs: rename it"
            )));
        }
    }
    if let Some((_, table, column)) = missing.iter().find(|(since, ..)| since <= version) {
        return Err(foreign(format_args!(
            "its user_version is {version}, but it has no {table}.{column}: if that number is another program's, PRAGMA user_version = 0 lets the store have the file"
        )));
    }
    let own = ADDED_COLUMNS.iter().find(|column| column.0 > (*found).max(1) && !missing.contains(column));
    if let Some((_, table, column)) = own {
        return Err(foreign(format_args!(
            "it has a column {table}.{column} of its owner's, a name that the store needs: rename the column"
        )));
    }
    Ok(())
}

/// An index of the latest schema.
struct Index {
    name: &'static str,
    sql: &'static str,
}

/// All of them, as the steps make them.
fn indexes() -> impl Iterator<Item = Index> {
    STEPS.iter().flat_map(|step| step.split(';')).map(str::trim).filter_map(|sql| {
        let rest = sql.strip_prefix("CREATE INDEX ")?;
        let (name, _) = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest).split_once(" ON ")?;
        Some(Index { name, sql })
    })
}

/// The indexes that a file lacks: others have dropped them, or copied its tables alone.
fn missing_indexes(connection: &Connection) -> Result<Vec<Index>> {
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'index'")?;
    let names = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(indexes().filter(|index| !names.iter().any(|name| name.eq_ignore_ascii_case(index.name))).collect())
}

/// Refuse to write a file whose schema runs what is not ours.
pub(crate) fn refuse_what_runs(connection: &Connection) -> Result<()> {
    let tables: Vec<&str> = TABLES.iter().map(|table| table.name).chain([IDENTITY.1]).collect();
    schema::refuse_what_runs(connection, &tables, &STEPS)
}

/// Bring a file up to date, by one transaction, and make again what indexes it lacks.
///
/// Several processes may try at the same time: each checks again once it has the write lock. Return the version of the
/// schema as it was committed, if anything was.
pub(crate) fn migrate(connection: &mut Connection) -> Result<Option<i64>> {
    if user_version(connection)? == LATEST && missing_indexes(connection)?.is_empty() {
        return Ok(None);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match inspect_to_write(&transaction)? {
        Found::Empty => transaction.execute_batch(&schema::at_once(&STEPS).join(";"))?,
        Found::Store(version) => take_steps(&transaction, version)?,
    }
    for index in missing_indexes(&transaction)? {
        transaction.execute_batch(index.sql)?;
    }
    if user_version(&transaction)? != LATEST {
        transaction.pragma_update(None, "user_version", LATEST)?;
    }
    let version = schema::version(&transaction)?;
    transaction.commit()?;
    Ok(Some(version))
}

/// Take the steps that a file of this version has not taken.
fn take_steps(transaction: &Connection, version: i64) -> Result<()> {
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(|error| {
            let error = StoreError::from(error);
            match error.is_of_schema() {
                true => error.note(format_args!(
                    "its tables are not those of schema version {version}, as its user_version has it; it was left as it is"
                )),
                false => error,
            }
        })?;
    }
    Ok(())
}

/// Have an older file look like the latest to a connection that may only read it: our queries need not know of it.
///
/// A table of SQLite's has a `rowid`; so has each view. The first of two columns of a name counts: ours, not the owner's.
pub(crate) fn show_as_latest(connection: &Connection, version: i64) -> Result<()> {
    for table in ["intel_items", "runs"] {
        let missing = ADDED_COLUMNS
            .iter()
            .filter(|(since, of, _)| *since > version && *of == table)
            .map(|(_, _, column)| format!("NULL AS {column}, "))
            .collect::<String>();
        if !missing.is_empty() {
            connection.execute_batch(&format!(
                "CREATE TEMP VIEW {table} AS SELECT {missing} *, rowid AS rowid FROM main.{table}"
            ))?;
        }
    }
    if version < 3 {
        connection.execute_batch("CREATE TEMP VIEW store_identity AS SELECT '' AS store_id")?;
    }
    Ok(())
}

/// Give a file without a page its shape; does nothing to any other.
pub(crate) fn prepare_new(connection: &Connection) -> Result<()> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 { connection::shape_new_file(connection) } else { Ok(()) }
}

/// Whether a file has all indexes. An older one that is only read has not.
pub(crate) fn is_latest(connection: &Connection) -> Result<bool> {
    let version: i64 = connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    Ok(version == LATEST)
}

fn user_version(connection: &Connection) -> Result<i64> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_version(version: usize) -> Connection {
        let connection = connection::open_memory().unwrap();
        for step in &STEPS[..version] {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        connection
    }

    fn schema(connection: &Connection) -> Vec<String> {
        let sql = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// The latest is made at once, the others step by step: nothing else keeps the two alike.
    #[test]
    fn every_older_version_becomes_the_latest() {
        let mut fresh = at_version(0);
        migrate(&mut fresh).unwrap();
        for version in 1..=STEPS.len() {
            let mut old = at_version(version);
            migrate(&mut old).unwrap();
            assert_eq!(schema(&old), schema(&fresh), "from version {version}");
        }
        assert_eq!(inspect(&fresh).unwrap(), Found::Store(LATEST));
        assert!(!schema::at_once(&STEPS).concat().contains("ALTER"));
    }

    #[test]
    fn the_predecessors_file_becomes_the_latest_whichever_indexes_it_has() {
        let mut fresh = at_version(0);
        migrate(&mut fresh).unwrap();
        for indexes in [
            "",
            "CREATE INDEX idx_intel_items_run_id ON intel_items(run_id);
             CREATE INDEX idx_intel_items_created_at ON intel_items(created_at);",
        ] {
            let mut old = at_version(0);
            old.execute_batch(STEPS[0]).unwrap();
            old.execute_batch(indexes).unwrap();
            assert_eq!(inspect(&old).unwrap(), Found::Store(0));
            migrate(&mut old).unwrap();
            assert_eq!(inspect(&old).unwrap(), Found::Store(LATEST));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let foreign = at_version(0);
        foreign.execute_batch("CREATE TABLE runs(run_id)").unwrap();
        assert_eq!(inspect(&foreign).unwrap_err().kind, ErrorKind::ForeignDatabase);
        let view = at_version(STEPS.len());
        view.execute_batch(
            "DROP TABLE telemetry;
            CREATE VIEW telemetry AS SELECT '' AS run_id, '{}' AS telemetry_json, '' AS created_at",
        )
        .unwrap();
        assert_eq!(inspect(&view).unwrap_err().kind, ErrorKind::ForeignDatabase);
        let newer = at_version(STEPS.len());
        newer.pragma_update(None, "user_version", LATEST + 1).unwrap();
        assert_eq!(inspect(&newer).unwrap_err().kind, ErrorKind::SchemaTooNew);
    }

    #[test]
    fn every_older_version_can_be_read_as_the_latest() {
        for version in 1..=STEPS.len() {
            let old = at_version(version);
            show_as_latest(&old, i64::try_from(version).unwrap()).unwrap();
            let query = "SELECT heartbeat_at, recovered_at, pruned_at, r.rowid, updated_at, i.rowid, store_id
                FROM runs r JOIN intel_items i USING (run_id) JOIN store_identity ORDER BY started_at";
            assert!(!old.prepare(query).unwrap().exists([]).unwrap(), "from version {version}");
        }
    }

    /// So that no ordinary file needs a closer look.
    #[test]
    fn the_definitions_of_each_version_are_known_to_be_ours() {
        let known = schema::made_by(&STEPS);
        for version in 1..=STEPS.len() {
            let made = at_version(version);
            for sql in schema(&made).iter().filter_map(|entry| Some(&entry[entry.find("CREATE")?..])) {
                assert!(known.contains(&schema::squeezed(sql)), "{sql}");
            }
        }
    }
}
