//! Binding text that is held as bytes.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// Bytes that are known to be UTF-8, or NULL, bound as text.
pub(crate) struct Text<'a>(pub(crate) Option<&'a [u8]>);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0.map_or(ValueRef::Null, ValueRef::Text)))
    }
}
