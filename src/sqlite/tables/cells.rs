//! Text on its way to SQLite and back, held as bytes.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::model::rows::TextRows;

/// Bytes that are known to be UTF-8, or NULL, bound as text.
pub(crate) struct Text<'a>(pub(crate) Option<&'a [u8]>);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0.map_or(ValueRef::Null, ValueRef::Text)))
    }
}

/// Append a column's text or NULL to `rows`. For messages, `what` is what the row is of, and its first column the id.
pub(crate) fn push_cell<const N: usize>(
    row: &Row,
    column: usize,
    rows: &mut TextRows<N>,
    what: &str,
) -> Result<()> {
    match row.get_ref(column)? {
        ValueRef::Text(text) => rows.push(text),
        ValueRef::Null => rows.push_null(),
        other => {
            let id = row.get_ref(0)?.as_str().unwrap_or_default();
            let name = row.as_ref().column_name(column).unwrap_or_default();
            let found = other.data_type();
            return Err(StoreError::new(
                ErrorKind::CorruptDatabase,
                format!("{what} {}: {name} holds {found:?}, not text; another program wrote it", excerpt(id)),
            ));
        }
    }
    Ok(())
}

/// A column that counts something, and so is never negative.
pub(crate) fn count(row: &Row, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
