//! The user's own tables that refer to ours: SQLite refuses to delete a row to which one of theirs refers, or changes
//! that row, as its FOREIGN KEY says.
//!
//! Only a try shows whether a row can be deleted, because the change of their rows may be forbidden in turn. This file
//! finds the tables that refer to a run, and names those that forbid its deletion.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, ffi};

use crate::error::{Result, StoreError, cut};
use crate::sqlite::file::expressions::quoted;
use crate::sqlite::file::wait::refuse_stopped;
use crate::sqlite::tables::pruned;

/// What a run is made of. Each has its `run_id`.
const OURS: [&str; 3] = ["intel_items", "telemetry", "runs"];

/// How many references a message names.
const NAMED: usize = 3;

/// A FOREIGN KEY of the user's own: of a table of theirs, or of a column that they added to one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    table: String,
    columns: Vec<String>,
    parent: String,
    /// As many as `columns`, or none where it refers to a key that is not there.
    parent_columns: Vec<String>,
    on_delete: String,
}

/// All of a file that refer to ours, and those that refer to these in turn.
#[derive(Debug, Default)]
pub(crate) struct References(Vec<Reference>);

/// What was found, for as long as the schema is the same: looking takes some microseconds a table.
#[derive(Debug, Default)]
pub(crate) struct Known(Option<(i64, Rc<References>)>);

/// What stands between a row of ours and a row that refers to it, by way of those between.
struct Path<'a> {
    joins: String,
    steps: Vec<&'a Reference>,
}

/// The tables that refer to a run: those that forbid its deletion, and those whose rows are deleted or changed with it.
#[derive(Default)]
struct Found<'a> {
    forbid: Vec<&'a Reference>,
    follow: Vec<&'a Reference>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) refers to {}", self.table, self.columns.join(", "), self.parent)
    }
}

impl Known {
    /// Look into the schema if it has changed. Within a transaction it stays as it is.
    pub(crate) fn get(&mut self, connection: &Connection) -> Result<Rc<References>> {
        let schema: i64 =
            connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?;
        match &self.0 {
            Some((of, references)) if *of == schema => Ok(Rc::clone(references)),
            _ => {
                let references = Rc::new(References::find(connection)?);
                self.0 = Some((schema, Rc::clone(&references)));
                Ok(references)
            }
        }
    }
}

impl References {
    /// Look into the schema.
    pub(crate) fn find(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare_cached(
            r#"SELECT m.name, f.id, f."table", f."from", f."to", f.on_delete
            FROM main.sqlite_schema m JOIN pragma_foreign_key_list(m.name, 'main') f
            WHERE m.type = 'table' AND NOT (lower(m.name) IN ('intel_items', 'telemetry')
                AND lower(f."from") = 'run_id' AND lower(f."table") = 'runs')
            ORDER BY m.rowid, f.id, f.seq"#,
        )?;
        let mut rows = statement.query([])?;
        let mut found: Vec<(i64, Reference)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (table, id): (String, i64) = (row.get(0)?, row.get(1)?);
            let (column, parent_column): (String, Option<String>) = (row.get(3)?, row.get(4)?);
            match found.last_mut() {
                Some((last, reference)) if *last == id && reference.table == table => {
                    reference.columns.push(column);
                    reference.parent_columns.extend(parent_column);
                }
                _ => found.push((
                    id,
                    Reference {
                        table,
                        columns: vec![column],
                        parent: row.get(2)?,
                        parent_columns: parent_column.into_iter().collect(),
                        on_delete: row.get(5)?,
                    },
                )),
            }
        }
        let (mut found, mut others): (Vec<_>, Vec<_>) =
            found.into_iter().map(|(_, reference)| reference).partition(Reference::is_to_ours);
        // Those that refer to these, and so on.
        while let Some(next) = others.iter().position(|other| found.iter().any(|known| other.is_to(known))) {
            found.push(others.remove(next));
        }
        for reference in &mut found {
            if reference.parent_columns.is_empty() {
                reference.parent_columns = primary_key(connection, &reference.parent)?;
            }
            if reference.parent_columns.len() != reference.columns.len() {
                reference.parent_columns.clear();
            }
        }
        Ok(Self(found))
    }

    /// Whether no table refers to ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a row refers to a run, or to what belongs to it.
    pub(crate) fn refer_to(&self, connection: &Connection, run_id: &str) -> Result<bool> {
        for reference in self.0.iter().filter(|reference| reference.is_to_ours()) {
            if Path::to(reference).exists(connection, run_id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What forbids to delete a run, as far as that can be told without trying.
    pub(crate) fn forbidding(&self, connection: &Connection, run_id: &str) -> Result<Option<String>> {
        Ok(named(&self.find_out(connection, run_id)?.forbid))
    }

    /// What may have forbidden to delete a run.
    pub(crate) fn to_blame(&self, connection: &Connection, run_id: &str) -> Result<Option<String>> {
        let found = self.find_out(connection, run_id)?;
        Ok(named(&found.forbid).or_else(|| named(&found.follow)))
    }

    /// The tables that refer to ours, or to such a table.
    pub(crate) fn tables(&self) -> String {
        let mut names: Vec<&str> = self.0.iter().map(|reference| reference.table.as_str()).collect();
        names.dedup();
        cut(names.join(", "))
    }

    fn find_out(&self, connection: &Connection, run_id: &str) -> Result<Found<'_>> {
        let mut found = Found::default();
        for reference in self.0.iter().filter(|reference| reference.is_to_ours()) {
            self.follow(connection, run_id, Path::to(reference), &mut found)?;
        }
        Ok(found)
    }

    fn follow<'a>(
        &'a self,
        connection: &Connection,
        run_id: &str,
        path: Path<'a>,
        found: &mut Found<'a>,
    ) -> Result<()> {
        let Some(reference) = path.steps.last().copied() else { return Ok(()) };
        // Each is followed once: there are ever so many ways through tables that all refer to one another.
        let known = found.forbid.contains(&reference) || found.follow.contains(&reference);
        if known || !path.exists(connection, run_id)? {
            return Ok(());
        }
        if reference.forbids(connection)? {
            found.forbid.push(reference);
            return Ok(());
        }
        found.follow.push(reference);
        if reference.on_delete.eq_ignore_ascii_case("CASCADE") {
            for next in &self.0 {
                if next.is_to(reference) {
                    self.follow(connection, run_id, path.then(next), found)?;
                }
            }
        }
        Ok(())
    }
}

impl Reference {
    fn is_to_ours(&self) -> bool {
        is_ours(&self.parent)
    }

    /// Whether it refers to the table of another.
    fn is_to(&self, other: &Self) -> bool {
        self.parent.eq_ignore_ascii_case(&other.table)
    }

    /// Whether what its rows refer to cannot be deleted: because it says so, or because the NULL that would take the
    /// place of what was deleted is not allowed. Whether a default is allowed shows when it is tried.
    fn forbids(&self, connection: &Connection) -> Result<bool> {
        let allowed = match self.on_delete.to_ascii_uppercase().as_str() {
            "CASCADE" => return Ok(self.parent_columns.is_empty()),
            "SET NULL" => "1",
            "SET DEFAULT" => "dflt_value IS NULL",
            _ => return Ok(true),
        };
        let sql = format!(
            r#"SELECT 1 FROM pragma_table_info(?1, 'main')
            WHERE name = ?2 COLLATE NOCASE AND "notnull" AND {allowed}"#
        );
        let mut statement = connection.prepare_cached(&sql)?;
        for column in &self.columns {
            if statement.exists((&self.table, column))? {
                return Ok(true);
            }
        }
        Ok(self.parent_columns.is_empty())
    }

    fn join(&self, depth: usize) -> String {
        let pairs = self.parent_columns.iter().zip(&self.columns).map(|(to, from)| {
            // The key's collation decides, as it does for SQLite.
            format!("t{depth}.{} = t{}.{}", quoted(to), depth + 1, quoted(from))
        });
        let pairs = pairs.collect::<Vec<_>>().join(" AND ");
        format!(" JOIN main.{} AS t{} ON {pairs}", quoted(&self.table), depth + 1)
    }
}

impl<'a> Path<'a> {
    fn to(reference: &'a Reference) -> Self {
        let joins = format!("{} AS t0{}", quoted(&reference.parent), reference.join(0));
        Self { joins, steps: vec![reference] }
    }

    fn then(&self, next: &'a Reference) -> Self {
        let depth = self.steps.len();
        let steps = self.steps.iter().copied().chain([next]).collect();
        Self { joins: format!("{}{}", self.joins, next.join(depth)), steps }
    }

    /// Whether there is such a row for a run. One that refers to a key that is not there forbids to delete anything.
    fn exists(&self, connection: &Connection, run_id: &str) -> Result<bool> {
        if self.steps.iter().any(|step| step.parent_columns.is_empty()) {
            return Ok(true);
        }
        // A column that somebody has added to a table of ours: rows of the same run go with it.
        let depth = self.steps.len();
        let is_ours = self.steps.last().is_some_and(|step| is_ours(&step.table));
        let other = if is_ours { format!(" AND t{depth}.run_id IS NOT ?1") } else { String::new() };
        let sql = format!("SELECT 1 FROM {} WHERE t0.run_id = ?1{other}", self.joins);
        let found = connection.prepare_cached(&sql).and_then(|mut statement| statement.exists([run_id]));
        match found.map_err(StoreError::from) {
            Err(error) if error.is_of_schema() => Ok(true),
            found => found,
        }
    }
}

fn is_ours(table: &str) -> bool {
    OURS.iter().any(|ours| table.eq_ignore_ascii_case(ours))
}

/// The first of these, for a message.
fn named(references: &[&Reference]) -> Option<String> {
    let mut texts: Vec<String> = references.iter().map(ToString::to_string).collect();
    texts.dedup();
    texts.truncate(NAMED);
    (!texts.is_empty()).then(|| texts.join(" and "))
}

fn primary_key(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1, 'main') WHERE pk > 0 ORDER BY pk";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Whether a row refers to a deleted row, by a constraint that is checked only when the transaction is committed.
/// <https://www.sqlite.org/c3ref/c_dbstatus_options.html#sqlitedbstatusdeferredfks>
pub(crate) fn is_unmet(connection: &Connection) -> bool {
    let (mut unmet, mut unused) = (0, 0);
    // SAFETY: the handle is open for as long as `connection` is borrowed, and both numbers outlive the call.
    unsafe {
        let handle = connection.handle();
        ffi::sqlite3_db_status(handle, ffi::SQLITE_DBSTATUS_DEFERRED_FKS, &raw mut unmet, &raw mut unused, 0);
    }
    unmet != 0
}

/// The error of a constraint that was checked only at the commit, and made it fail.
pub(crate) fn why_unmet(connection: &Connection, error: StoreError) -> StoreError {
    match References::find(connection) {
        Ok(references) if !references.is_empty() => error.note(format!(
            "a row of a table that refers to the store's ({}) would refer to a deleted row",
            references.tables()
        )),
        _ => error,
    }
}

/// A half-deleted run that cannot be read any more, and cannot be deleted yet; and why.
pub(crate) fn held(connection: &Connection, stop: &AtomicBool) -> Result<Vec<(String, String)>> {
    let references = References::find(connection)?;
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for run_id in pruned::pruned(connection)? {
        refuse_stopped(stop)?;
        if let Some(why) = references.forbidding(connection, &run_id)? {
            found.push((run_id, why));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    #[test]
    fn only_tables_that_refer_to_ours_by_way_of_others_or_not_are_found() {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let mut known = Known::default();
        assert!(known.get(&connection).unwrap().is_empty());
        connection
            .execute_batch(
                "CREATE TABLE last(x REFERENCES Middle);
                 CREATE TABLE middle(y TEXT PRIMARY KEY, x REFERENCES FIRST);
                 CREATE TABLE first(z TEXT PRIMARY KEY REFERENCES Intel_Items);
                 CREATE TABLE own(x PRIMARY KEY REFERENCES own, y REFERENCES missing)",
            )
            .unwrap();
        let references = known.get(&connection).unwrap();
        assert_eq!(references.tables(), "first, middle, last");
        assert!(!references.is_empty());
        let texts: Vec<String> = references.0.iter().map(ToString::to_string).collect();
        assert_eq!(texts[0], "first(z) refers to Intel_Items");
        assert_eq!(references.0[0].parent_columns, ["item_id"]);
        assert_eq!(references.0[2].parent_columns, ["y"]);
        assert!(Rc::ptr_eq(&references, &known.get(&connection).unwrap()), "it is looked for but once");
        connection.execute_batch("DROP TABLE first").unwrap();
        assert!(known.get(&connection).unwrap().is_empty());
    }
}
