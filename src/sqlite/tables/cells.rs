//! Text on its way to SQLite and back, held as bytes.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::memory;
use crate::model::rows::TextRows;

/// Bytes that are known to be UTF-8, or NULL, bound as text.
pub(crate) struct Text<'a>(pub(crate) Option<&'a [u8]>);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0.map_or(ValueRef::Null, ValueRef::Text)))
    }
}

/// What the rows of a table are called in messages, and how to go on past one that cannot be read.
pub(crate) fn described(table: &str) -> (&'static str, &'static str) {
    match table {
        "runs" => (
            "run",
            "check() finds all such rows of runs; leave this one out by a filter, or copy the rest with salvage()",
        ),
        "telemetry" => (
            "telemetry of run",
            "check() finds all such rows of telemetry; write it anew, or copy the rest with salvage()",
        ),
        _ => (
            "item",
            "check() finds all such rows of intel_items; leave the column out by fields= or the row by a filter, or copy the rest with salvage()",
        ),
    }
}

/// Append a column's text or NULL to `rows`. For messages, the row is one of `table`, and its first column the id.
pub(crate) fn push_cell<const N: usize>(
    row: &Row,
    column: usize,
    rows: &mut TextRows<N>,
    table: &str,
) -> Result<()> {
    match row.get_ref(column)? {
        ValueRef::Text(text) => rows.push(text)?,
        ValueRef::Null => rows.push_null()?,
        ValueRef::Blob(json) if is_json(row, column) => rows.push(json_of_blob(json))?,
        other => {
            return Err(refused(row, column, table, &format!("holds {:?}, not text", other.data_type())));
        }
    }
    Ok(())
}

/// A column's text.
pub(crate) fn text(row: &Row, column: usize, table: &str) -> Result<String> {
    row.get(column).map_err(|_| refused(row, column, table, "is not UTF-8 text"))
}

/// The text that comes nearest to a cell: for what need not be exact. `None` for NULL.
pub(crate) fn nearest(value: ValueRef) -> Result<Option<String>> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(memory::lossy(text)?),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
    })
}

fn is_json(row: &Row, column: usize) -> bool {
    row.as_ref().column_name(column).is_ok_and(|name| name.ends_with("_json"))
}

/// A column's JSON; `None` where it is no text.
pub(crate) fn json(cell: ValueRef<'_>) -> Option<&[u8]> {
    match cell {
        ValueRef::Text(text) => Some(text),
        ValueRef::Blob(json) => Some(json_of_blob(json)),
        _ => None,
    }
}

/// JSON that another program has bound as bytes, as the `json` module reads bytes.
pub(crate) fn json_of_blob(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json)
}

fn refused(row: &Row, column: usize, table: &str, why: &str) -> StoreError {
    let (what, remedy) = described(table);
    let id = row.get_ref(0).ok().and_then(|id| id.as_bytes().ok()).unwrap_or_default();
    let (id, name) = (String::from_utf8_lossy(id), row.as_ref().column_name(column).unwrap_or_default());
    let message = format!("{what} {}: {name} {why}; another program wrote it", excerpt(&id));
    StoreError::new(ErrorKind::CorruptDatabase, message).note(remedy)
}

/// A column that counts something, and so is never negative.
pub(crate) fn count(row: &Row, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
