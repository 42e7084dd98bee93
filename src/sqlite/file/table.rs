//! A table of a file that is opened: whether it is one of ours, and has what is needed of it.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::columns::TABLES;

/// A table of the file.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    columns: Vec<String>,
    /// Those of its columns that are generated: computed when they are read or written.
    generated: Vec<String>,
    has_rowid: bool,
}

impl Table {
    /// The table of this name; without columns where there is none. A view by the name of a table could compute for ever
    /// whenever it is read.
    pub(crate) fn of(connection: &Connection, name: &'static str) -> Result<Self> {
        let mut columns = connection.prepare(
            "SELECT c.name, t.wr, c.hidden IN (2, 3) FROM pragma_table_list(?1) t, pragma_table_xinfo(?1, 'main') c
                WHERE t.schema = 'main' AND t.type = 'table'",
        )?;
        let mut table = Self { name, columns: Vec::new(), generated: Vec::new(), has_rowid: true };
        let mut rows = columns.query([name])?;
        while let Some(row) = rows.next()? {
            table.columns.push(row.get(0)?);
            table.has_rowid = !row.get(1)?;
            if row.get(2)? {
                table.generated.extend(table.columns.last().cloned());
            }
        }
        Ok(table)
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name.eq_ignore_ascii_case(column))
    }

    /// The columns that it has in every version; of runs, a step has added one.
    fn required(&self) -> impl Iterator<Item = &'static str> {
        let ours = TABLES.iter().find(|ours| ours.name == self.name);
        ours.map_or(&[][..], |ours| ours.columns).iter().copied().filter(|column| *column != "heartbeat_at")
    }

    /// Fail unless it has all that ours have, and its rows their number: lists are in its order.
    pub(crate) fn refuse_without_ours(&self) -> Result<()> {
        let table = self.name;
        if let Some(missing) = self.required().find(|column| !self.has(column)) {
            let what = format_args!("a SQLite database of another program: it has no {table}.{missing}");
            return Err(foreign(what));
        }
        if !self.has_rowid || self.has("rowid") {
            return Err(foreign(format_args!(
                "its table {table} is WITHOUT ROWID, or has a column named rowid, and the store needs the number of each row: copy it into a table that has it"
            )));
        }
        Ok(())
    }

    /// Fail where a column that ours have is generated; these are added to those that they have in every version.
    pub(crate) fn refuse_generated(&self, added: impl Iterator<Item = &'static str>) -> Result<()> {
        let table = self.name;
        match self
            .required()
            .chain(added)
            .find(|column| self.generated.iter().any(|name| name.eq_ignore_ascii_case(column)))
        {
            None => Ok(()),
            Some(column) => Err(foreign(format_args!(
                "its column {table}.{column} is generated, and the store needs one that it can write: rename the column"
            ))),
        }
    }
}

/// That a file is not ours, or not as we need it.
pub(crate) fn foreign(what: std::fmt::Arguments<'_>) -> StoreError {
    StoreError::new(ErrorKind::ForeignDatabase, format!("{what}; it was left as it is"))
}
