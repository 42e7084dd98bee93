//! What is compared of a schema: our tables, and all that SQLite runs when they are written. Other tables and views of the
//! owner's are left alone: the store never reads them.
//! <https://www.sqlite.org/security.html#untrusted_sqlite_database_files>

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::sqlite::file::expressions::{self, Definition};

/// The most bytes that the definitions of our tables, and of the indexes on them, may have together.
const LONGEST: usize = 256 << 10;

/// The number of changes of the schema. <https://www.sqlite.org/pragma.html#pragma_schema_version>
pub(crate) fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?)
}

/// Refuse to write a file whose tables of ours would run what is not ours: a trigger, or an expression that may compute
/// for long. `steps` make our own. Of the owner's tables only those matter that the actions of foreign keys write.
pub(crate) fn refuse_what_runs(connection: &Connection, tables: &[&str], steps: &[&str]) -> Result<()> {
    let tables = in_sql(tables.iter().copied());
    let (found, ours) = (definitions(connection, &tables)?, made_by(steps));
    if !found.iter().all(|each| ours.contains(&squeezed(&each.sql))) {
        refuse_costly(&found, true)?;
    }
    match reached(connection, &tables)? {
        reached if reached.is_empty() => Ok(()),
        reached => {
            let reached = in_sql(reached.iter().map(String::as_str));
            refuse_costly(&definitions(connection, &reached)?, false)
        }
    }
}

fn refuse_costly(definitions: &[Definition], ours: bool) -> Result<()> {
    if let Some(Definition { name, table, .. }) = definitions.iter().find(|each| each.kind == "trigger") {
        let (name, table) = (excerpt(name), excerpt(table));
        let what = format_args!("it has the trigger {name} on {table}, which writes of the store would run");
        return Err(foreign(what, "drop the trigger"));
    }
    if definitions.iter().map(|each| each.sql.len()).sum::<usize>() > LONGEST {
        let what = format_args!("its tables and indexes have definitions of more than {LONGEST} bytes");
        return Err(foreign(what, "drop indexes"));
    }
    match expressions::costly(definitions, ours)? {
        None => Ok(()),
        Some((Definition { name, kind, .. }, why)) => {
            let what = format_args!("its {kind} {} may compute for ever: {why}", excerpt(name));
            Err(foreign(what, "take that out"))
        }
    }
}

/// What is defined on these tables. When SQLite reads the schema it makes sure that kind, name and table are those of the
/// definition.
fn definitions(connection: &Connection, tables: &str) -> Result<Vec<Definition>> {
    let mut found = connection.prepare(&format!(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema
            WHERE sql IS NOT NULL AND tbl_name COLLATE NOCASE IN ({tables})"
    ))?;
    let definition = |row: &rusqlite::Row| {
        Ok(Definition { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    };
    Ok(found.query_map([], definition)?.collect::<rusqlite::Result<_>>()?)
}

/// The tables of the owner's that the actions of foreign keys write when these are written, also at the end of a chain.
fn reached(connection: &Connection, tables: &str) -> Result<Vec<String>> {
    let others =
        format!("type = 'table' AND name COLLATE NOCASE NOT IN ({tables}) AND sql LIKE '%references%'");
    let any = format!("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE {others})");
    if !connection.query_row(&any, [], |row| row.get(0))? {
        return Ok(Vec::new());
    }
    let mut found = connection.prepare(&format!(
        "WITH RECURSIVE acts(name, parent) AS MATERIALIZED (
             SELECT m.name, f.\"table\" FROM main.sqlite_schema m JOIN pragma_foreign_key_list(m.name, 'main') f
                 WHERE {others} AND (f.on_delete IN ({ACTIONS}) OR f.on_update IN ({ACTIONS}))),
         reached(name) AS (
             SELECT name FROM acts WHERE parent COLLATE NOCASE IN ({tables})
             UNION
             SELECT acts.name FROM reached JOIN acts ON acts.parent = reached.name COLLATE NOCASE)
         SELECT name FROM reached"
    ))?;
    Ok(found.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// What an action of a foreign key writes is more than nothing.
/// <https://www.sqlite.org/foreignkeys.html#fk_actions>
const ACTIONS: &str = "'CASCADE', 'SET NULL', 'SET DEFAULT'";

fn in_sql<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    quoted.join(", ")
}

/// The definitions of all versions and of the predecessor, as [`squeezed`] has what SQLite keeps of them.
pub(crate) fn made_by(steps: &[&str]) -> Vec<String> {
    let statements = (1..=steps.len()).flat_map(|version| at_once(&steps[..version]));
    let mut made: Vec<_> = statements.map(|sql| squeezed(&sql.replace("IF NOT EXISTS ", ""))).collect();
    // The predecessor says last to what a column refers.
    let reference = squeezed("REFERENCES runs(run_id)");
    let with_reference = made.iter().filter_map(|table| {
        let (before, after) = table.split_once(&reference)?;
        Some(format!("{before}{},foreignkey(run_id){reference})", after.strip_suffix(')')?))
    });
    let predecessors: Vec<_> = with_reference.collect();
    made.extend(predecessors);
    made
}

/// Statements that make at once what the steps make one by one, letter for letter: SQLite takes as long to add a column
/// as to make a table.
pub(crate) fn at_once(steps: &[&str]) -> Vec<String> {
    let mut made: Vec<String> = Vec::new();
    for sql in steps.iter().flat_map(|step| step.split(';')).map(str::trim) {
        let added = sql.strip_prefix("ALTER TABLE ").and_then(|added| added.split_once(" ADD COLUMN "));
        if let Some((name, column)) = added
            && let begin = format!("CREATE TABLE IF NOT EXISTS {name} (")
            && let Some(table) = made.iter_mut().find(|made| made.starts_with(&begin))
        {
            table.pop();
            table.push_str(&format!(", {column})"));
        } else {
            made.push(sql.to_owned());
        }
    }
    made
}

/// A definition without what makes no difference.
pub(crate) fn squeezed(sql: &str) -> String {
    sql.chars().filter(|letter| !letter.is_whitespace()).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn foreign(what: std::fmt::Arguments<'_>, remedy: &str) -> StoreError {
    StoreError::new(
        ErrorKind::ForeignDatabase,
        format!("{what}; it was left as it is; {remedy}, or open the file with read_only=True"),
    )
}
