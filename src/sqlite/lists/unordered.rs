//! Scans the rows of a list in no order, and keeps nothing of them.

use rusqlite::{Connection, Row, params_from_iter};

use crate::error::Result;
use crate::sqlite::lists::clause::{Clause, and, values};
use crate::sqlite::lists::seek::Rows;

/// Give each row of the list to the caller.
pub(crate) fn scan(
    connection: &Connection,
    rows: &Rows,
    look: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<()> {
    let all = [Vec::new()];
    for part in rows.parts.as_deref().unwrap_or(&all) {
        let mut statement = connection.prepare_cached(&part_sql(rows, part))?;
        let mut found = statement.query(params_from_iter(values(part)))?;
        while let Some(row) = found.next()? {
            look(row)?;
        }
    }
    Ok(())
}

pub(crate) fn part_sql(rows: &Rows, part: &[Clause]) -> String {
    let Rows { columns, table, shown, .. } = rows;
    format!("SELECT {columns} FROM {table} WHERE {shown}{}", and(part, |_| true))
}
