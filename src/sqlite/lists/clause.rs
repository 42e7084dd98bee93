//! Conditions on columns.

use rusqlite::types::ToSqlOutput;

/// A condition on a column, and the value of its parameter if it has one.
pub(crate) type Clause<'a> = (&'static str, Option<ToSqlOutput<'a>>);

/// The values of conditions that must all hold.
pub(crate) fn values<'a>(part: &[Clause<'a>]) -> impl Iterator<Item = ToSqlOutput<'a>> {
    part.iter().filter_map(|(_, value)| value.clone())
}
