//! What a salvage reads of a table that may be damaged: the next rows, and the next keys of its index.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::memory;
use crate::model::columns::Table;
use crate::sqlite::tables::cells::{Text, nearest};
use crate::sqlite::upkeep::readable;

/// How many rows are read at a time.
pub(crate) const BATCH: usize = 256;

/// A row as it was read.
pub(crate) struct Found {
    pub(crate) rowid: i64,
    pub(crate) cells: Vec<Cell>,
}

/// The text of a cell, or what it may become; and what was wrong with it.
pub(crate) struct Cell {
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) fault: Option<String>,
}

/// What an index names.
pub(crate) struct Key {
    pub(crate) text: Vec<u8>,
    pub(crate) rowid: i64,
}

/// What was read: rows in their order, then maybe one that is not, or what kept more from being read.
pub(crate) struct Read {
    pub(crate) rows: Vec<Found>,
    pub(crate) stray: Option<Found>,
    pub(crate) error: Option<StoreError>,
}

/// The columns of a table that has rowids; none where there is none. A view could compute for ever.
pub(crate) fn columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let mut names = connection.prepare(
        "SELECT name FROM pragma_table_info(?1, 'main') WHERE EXISTS (SELECT 1 FROM pragma_table_list
         WHERE schema = 'main' AND lower(name) = ?1 AND type = 'table' AND wr = 0)",
    )?;
    Ok(names.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The rows of a condition up to where they cannot be read, or are not in their order.
pub(crate) fn read(
    source: &Connection,
    table: &Table,
    columns: &[String],
    condition: &str,
    values: &[i64],
    up: Option<bool>,
) -> Result<Read> {
    let sql = format!("SELECT rowid, {} FROM main.{} WHERE {condition}", columns.join(", "), table.name);
    let (mut found, mut stray) = (Vec::<Found>::new(), None);
    let mut read = || -> Result<()> {
        let mut statement = source.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let row = found_in(row, table, columns)?;
            let (from, to) = (values[0], values.get(1).copied().unwrap_or(values[0]));
            let before = found.last().map(|last| last.rowid);
            let in_order = match (up, before) {
                (Some(true), Some(before)) => before < row.rowid,
                (Some(false), Some(before)) => before > row.rowid,
                _ => true,
            };
            if !in_order || row.rowid < from || row.rowid > to {
                stray = Some(row);
                break;
            }
            memory::push(&mut found, row)?;
        }
        Ok(())
    };
    let error = read().err().map(damage).transpose()?;
    Ok(Read { rows: found, stray, error })
}

fn found_in(row: &Row, table: &Table, columns: &[String]) -> Result<Found> {
    let cell = |(index, column): (usize, &String)| -> Result<Cell> {
        let value = row.get_ref(index + 1)?;
        let is_read = table.columns.contains(&column.as_str());
        if !is_read && value == ValueRef::Null {
            return Ok(Cell { text: None, fault: None });
        }
        Ok(match readable::cell(column, value) {
            Ok(json) => {
                let text = json.or_else(|| value.as_bytes().ok());
                Cell { text: text.map(memory::bytes).transpose()?, fault: None }
            }
            Err(why) => {
                Cell { text: Some(nearest(value)?.unwrap_or_default().into_bytes()), fault: Some(why) }
            }
        })
    };
    let cells = columns.iter().enumerate().map(cell).collect::<Result<_>>()?;
    Ok(Found { rowid: row.get(0)?, cells })
}

/// The next keys of the index, and their rowids; whether it is broken behind them.
pub(crate) fn read_keys(
    source: &Connection,
    table: &Table,
    last: Option<&[u8]>,
    up: bool,
) -> Result<(Vec<Key>, bool)> {
    let (key, name) = (table.columns[0], table.name);
    let (behind, order) = if up { (">", "") } else { ("<", " DESC") };
    let condition = last.map(|_| format!("WHERE {key} {behind} ?1")).unwrap_or_default();
    let sql = format!(
        "SELECT {key}, rowid FROM main.{name} INDEXED BY sqlite_autoindex_{name}_1 {condition}
         ORDER BY {key}{order} LIMIT {BATCH}"
    );
    let mut found: Vec<Key> = Vec::new();
    let mut read = || -> Result<bool> {
        let mut statement = source.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(last.map(|last| Text(Some(last)))))?;
        while let Some(row) = rows.next()? {
            let ValueRef::Text(key) = row.get_ref(0)? else { return Ok(true) };
            let before = found.last().map(|key| key.text.as_slice()).or(last);
            // In a damaged index the same keys may come again and again.
            if before.is_some_and(|before| if up { before >= key } else { before <= key }) {
                return Ok(true);
            }
            memory::push(&mut found, Key { text: memory::bytes(key)?, rowid: row.get(1)? })?;
        }
        Ok(false)
    };
    let broken = read().or_else(|error| damage(error).map(|_| true))?;
    Ok((found, broken))
}

/// The rowids from `first` to `last` that are not there, by ranges.
pub(crate) fn gaps(target: &Connection, table: &Table, first: i64, last: i64) -> Result<Vec<(i64, i64)>> {
    let sql = format!(
        "SELECT rowid FROM {} WHERE rowid >= ?1 AND rowid <= ?2 ORDER BY rowid LIMIT 4096",
        table.name
    );
    let (mut gaps, mut next) = (Vec::new(), first);
    loop {
        let rowids = {
            let mut statement = target.prepare_cached(&sql)?;
            let rowids = statement.query_map([next, last], |row| row.get(0))?;
            memory::collect(rowids.map(|rowid| Ok::<i64, StoreError>(rowid?)))?
        };
        for rowid in &rowids {
            if *rowid > next {
                memory::push(&mut gaps, (next, rowid - 1))?;
            }
            next = rowid.saturating_add(1);
        }
        if rowids.len() < 4096 {
            if next <= last {
                memory::push(&mut gaps, (next, last))?;
            }
            return Ok(gaps);
        }
    }
}

/// The error, if it is of the file that is read, and nothing that ends the salvage.
pub(crate) fn damage(error: StoreError) -> Result<StoreError> {
    match error.kind {
        ErrorKind::CorruptDatabase
        | ErrorKind::NotADatabase
        | ErrorKind::StorageIO
        | ErrorKind::InvalidValue => Ok(error),
        // A damaged record may claim a size for which SQLite has no memory; for what it has read there should be some.
        ErrorKind::OutOfMemory if error.sqlite_code.is_some() => Ok(error),
        _ => Err(error),
    }
}
