//! Ad-hoc reads: one statement, of which SQLite's authorizer has seen every part and found only reads.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
pub use rusqlite::types::Value;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement, ffi};

use crate::error::{ErrorKind, Result, StoreError, cut};
use crate::memory;
use crate::sqlite::file::control;

/// Pragmas that report, whatever argument they are given (<https://www.sqlite.org/pragma.html>).
const REPORTS: [&str; 15] = [
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that report when they are given no argument, and would set something if they were.
const SETTINGS: [&str; 13] = [
    "application_id",
    "auto_vacuum",
    "cache_size",
    "data_version",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "journal_mode",
    "page_count",
    "page_size",
    "schema_version",
    "synchronous",
    "user_version",
];

/// Values for a statement's parameters.
#[derive(Debug, Clone)]
pub enum Parameters {
    /// For `?`, in order.
    Positional(Vec<Value>),
    /// For `:name`, `@name` or `$name`, the name without its prefix. Names that the statement lacks are ignored.
    Named(Vec<(String, Value)>),
}

/// What a query returned: all of it, so that no read stays open.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, a value a column.
    pub rows: Vec<Vec<Value>>,
}

/// Let `connection` prepare pure reads only, until [`unrestrict`].
pub(crate) fn restrict(connection: &mut Connection) -> Result<()> {
    Ok(connection.authorizer(Some(allow_reads))?)
}

/// Let `connection` prepare anything again.
pub(crate) fn unrestrict(connection: &mut Connection) -> Result<()> {
    Ok(connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?)
}

/// Run one pure read on a restricted connection. Once `stop` says so it fails with [`ErrorKind::Interrupted`].
pub(crate) fn run(
    connection: &Connection,
    sql: &str,
    parameters: &Parameters,
    stop: &dyn Fn() -> bool,
) -> Result<Rows> {
    let rows = control::until(stop, || read(connection, sql, parameters));
    rows.map_err(|error| match error.sqlite_code.map(|code| code & 0xff) {
        // The statement is the caller's, and so is what SQLite cannot make of it.
        Some(ffi::SQLITE_ERROR) => error.of_kind(ErrorKind::Query),
        _ => error,
    })
}

fn read(connection: &Connection, sql: &str, parameters: &Parameters) -> Result<Rows> {
    let mut statement = connection.prepare(sql)?;
    if statement.column_count() == 0 {
        return Err(StoreError::new(ErrorKind::ReadOnly, "not a read"));
    }
    bind(&mut statement, parameters)?;
    let columns = memory::collect(statement.column_names().map(memory::text))?;
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..columns.len()).map(|column| value(row.get_ref(column)?, column));
        memory::push(&mut found, memory::collect(values)?)?;
    }
    Ok(Rows { columns, rows: found })
}

/// A copy of a column's value.
fn value(found: ValueRef, column: usize) -> Result<Value> {
    Ok(match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => {
            let text =
                std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(column, error))?;
            Value::Text(memory::text(text)?)
        }
        ValueRef::Blob(bytes) => Value::Blob(memory::bytes(bytes)?),
    })
}

fn bind(statement: &mut Statement, parameters: &Parameters) -> Result<()> {
    let wanted = statement.parameter_count();
    match parameters {
        Parameters::Positional(values) => {
            if values.len() != wanted {
                let given = values.len();
                return Err(StoreError::new(
                    ErrorKind::Query,
                    format!("{wanted} parameters wanted, {given} given"),
                ));
            }
            for (index, value) in values.iter().enumerate() {
                statement.raw_bind_parameter(index + 1, value)?;
            }
        }
        Parameters::Named(values) => {
            for index in 1..=wanted {
                let name = statement.parameter_name(index).unwrap_or("?").to_owned();
                let Some((_, value)) = values.iter().find(|(given, _)| Some(given.as_str()) == name.get(1..))
                else {
                    return Err(StoreError::new(
                        ErrorKind::Query,
                        format!("no value for the parameter {}", cut(name)),
                    ));
                };
                statement.raw_bind_parameter(index, value)?;
            }
        }
    }
    Ok(())
}

fn allow_reads(context: AuthContext<'_>) -> Authorization {
    let reads = match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive => true,
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let named = |pragma: &str| pragma_name.eq_ignore_ascii_case(pragma);
            REPORTS.iter().any(|pragma| named(pragma))
                || pragma_value.is_none() && SETTINGS.iter().any(|pragma| named(pragma))
        }
        _ => false,
    };
    if reads { Authorization::Allow } else { Authorization::Deny }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(sql: &str) -> Result<Rows> {
        let mut connection = crate::sqlite::file::connection::open_memory()?;
        connection.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1), (NULL)")?;
        restrict(&mut connection)?;
        run(&connection, sql, &Parameters::Positional(Vec::new()), &|| false)
    }

    #[test]
    fn a_query_that_never_ends_is_stopped() {
        let connection = crate::sqlite::file::connection::open_memory().unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let none = Parameters::Positional(Vec::new());
        let error = run(&connection, endless, &none, &|| true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Interrupted);
    }

    #[test]
    fn reads_are_run() {
        assert_eq!(ask("SELECT x AS y FROM t").unwrap().rows, [[Value::Integer(1)], [Value::Null]]);
        assert_eq!(
            ask("WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n")
                .unwrap()
                .rows
                .len(),
            3
        );
        for sql in [
            "PRAGMA user_version",
            "PRAGMA table_info(t)",
            "PRAGMA integrity_check(5)",
            "EXPLAIN SELECT 1",
            "VALUES (1)",
        ] {
            ask(sql).unwrap();
        }
    }

    #[test]
    fn whatever_is_not_a_pure_read_is_refused() {
        for sql in [
            "INSERT INTO t VALUES (2)",
            "INSERT INTO t VALUES (2) RETURNING x",
            "UPDATE t SET x = 1",
            "DELETE FROM t",
            "CREATE TABLE u(x)",
            "CREATE TEMP TABLE u(x)",
            "DROP TABLE t",
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT s",
            "RELEASE s",
            "ATTACH ':memory:' AS other",
            "DETACH other",
            "VACUUM",
            "VACUUM INTO '/tmp/copy'",
            "REINDEX",
            "ANALYZE",
            "PRAGMA user_version = 7",
            "PRAGMA journal_mode = DELETE",
            "PRAGMA wal_checkpoint",
            "PRAGMA optimize",
            "PRAGMA incremental_vacuum",
            "PRAGMA writable_schema = ON",
            "EXPLAIN DELETE FROM t",
            "-- nothing",
            "SELECT 1; DELETE FROM t",
        ] {
            assert_eq!(ask(sql).unwrap_err().kind, ErrorKind::ReadOnly, "{sql}");
        }
        assert_eq!(ask("SELECT 1; SELECT 2").unwrap_err().kind, ErrorKind::Query);
        assert_eq!(ask("SELEC 1").unwrap_err().kind, ErrorKind::Query);
    }
}
