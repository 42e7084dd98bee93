//! What a salvage writes of a table: the rows that were read, each once.

use std::collections::HashSet;

use rusqlite::{ToSql, params_from_iter};

use crate::error::Result;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::Table;
use crate::sqlite::tables::cells::Text;
use crate::sqlite::upkeep::readable;
use crate::sqlite::upkeep::salvage_report::{Loss, Salvage};
use crate::sqlite::upkeep::salvage_source::{Cell, Found};

/// Rowids from which on a row gets another: SQLite could not go on counting behind them.
const WILD: i64 = 1 << 61;

/// Rowids that rows without one of their own have until all others are there.
const UNPLACED: i64 = 1 << 62;

/// A table that is being copied.
pub(crate) struct Copying<'s, 'a> {
    pub(crate) salvage: &'s mut Salvage<'a>,
    pub(crate) table: &'static Table,
    pub(crate) columns: Vec<String>,
    pub(crate) kept: u64,
    unplaced: i64,
    /// Rows that are known to be lost.
    pub(crate) settled: HashSet<i64>,
}

impl<'s, 'a> Copying<'s, 'a> {
    pub(crate) fn new(salvage: &'s mut Salvage<'a>, table: &'static Table, columns: Vec<String>) -> Self {
        Self { salvage, table, columns, kept: 0, unplaced: UNPLACED, settled: HashSet::new() }
    }

    /// The first and the last rowid that was kept.
    pub(crate) fn copied(&self) -> Result<(i64, i64)> {
        let sql = format!(
            "SELECT coalesce(min(rowid), 1), coalesce(max(rowid), 0) FROM {} WHERE rowid < {UNPLACED}",
            self.table.name
        );
        Ok(self.salvage.parts.target.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Once all others are there: have the rows without a rowid of their own follow the last.
    pub(crate) fn place(&self) -> Result<()> {
        let sql = format!(
            "UPDATE {0} SET rowid = rowid - ?1 + 1 + (SELECT coalesce(max(rowid), 0) FROM {0} WHERE rowid < ?1)
             WHERE rowid >= ?1",
            self.table.name
        );
        self.salvage.parts.target.execute(&sql, [UNPLACED])?;
        Ok(())
    }

    /// The key of the row that has this rowid in the new file.
    pub(crate) fn key_at(&self, rowid: i64) -> Result<Option<Vec<u8>>> {
        let sql = format!("SELECT {} FROM {} WHERE rowid = ?", self.columns[self.key()], self.table.name);
        let mut statement = self.salvage.parts.target.prepare_cached(&sql)?;
        let mut rows = statement.query([rowid])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(row.get_ref(0)?.as_bytes().ok().map(memory::bytes).transpose()?)
    }

    /// Whether the new file has a row of this key.
    pub(crate) fn has_key(&self, key: &[u8]) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} WHERE {} = ?", self.table.name, self.columns[self.key()]);
        Ok(self.salvage.parts.target.prepare_cached(&sql)?.exists([Text(Some(key))])?)
    }

    /// Put a row into the new file, unless it is there, with what can be decoded of it. Where a row with another key has its
    /// rowid, one of the two is damaged: both are kept, and it is `placed` if it is found by its rowid.
    pub(crate) fn keep(&mut self, mut row: Found, placed: bool) -> Result<()> {
        if self.settled.contains(&row.rowid) {
            return Ok(());
        }
        let there = self.key_at(row.rowid)?;
        if there.is_some() && there == row.cells[self.key()].text {
            return Ok(());
        }
        let id = row.cells[self.key()].text.as_deref().map(memory::lossy).transpose()?;
        let mut mended = Vec::new();
        for (column, cell) in self.columns.iter().zip(&mut row.cells) {
            let mut fault = cell.fault.take();
            if let (None, Some(json)) = (&fault, &cell.text)
                && readable::is_json(column)
            {
                fault = (self.salvage.callbacks.is_json)(json)?;
            }
            let Some(why) = fault else { continue };
            if let Some(empty) = readable::is_json(column).then(|| readable::empty_json(column)).flatten() {
                cell.text = Some(empty.into());
            } else if readable::is_json(column) || column == "run_id" || column == "item_id" {
                let (column, why) = (column.clone(), format!("{column} is {why}"));
                self.settle(row.rowid)?;
                return self.lose(row.rowid, id, Some(column), why);
            }
            mended.push((column.clone(), format!("{column} is {why}")));
        }
        let mut rowid = row.rowid;
        if there.is_some() && placed {
            let sql = format!("UPDATE {} SET rowid = ? WHERE rowid = ?", self.table.name);
            self.salvage.parts.target.execute(&sql, [self.unplaced, rowid])?;
            self.unplaced += 1;
        } else if there.is_some() || rowid >= WILD {
            rowid = self.unplaced;
            self.unplaced += 1;
        }
        if !self.insert(rowid, &row.cells)? {
            if !self.has(&row.cells)? {
                self.settle(row.rowid)?;
                self.lose(row.rowid, id, None, "another row has its key".to_owned())?;
            }
            return Ok(());
        }
        self.kept += 1;
        let (table, rowid) = (self.table.name, Some(row.rowid));
        for (column, why) in mended {
            let id = id.as_deref().map(memory::text).transpose()?;
            let loss = Loss { table, rowid, id, column: Some(column), why };
            memory::push(&mut self.salvage.report.mended, loss)?;
        }
        Ok(())
    }

    fn key(&self) -> usize {
        self.columns.iter().position(|column| column == self.table.columns[0]).unwrap_or_default()
    }

    fn insert(&self, rowid: i64, cells: &[Cell]) -> Result<bool> {
        let sql = format!(
            "INSERT INTO {}(rowid, {}) VALUES (?{}) ON CONFLICT DO NOTHING",
            self.table.name,
            self.columns.join(", "),
            ", ?".repeat(cells.len())
        );
        let texts = texts(cells);
        let values = std::iter::once(&rowid as &dyn ToSql).chain(texts.iter().map(|text| text as &dyn ToSql));
        Ok(self.salvage.parts.target.prepare_cached(&sql)?.execute(params_from_iter(values))? > 0)
    }

    /// Whether the new file has this very row, under whatever rowid.
    fn has(&self, cells: &[Cell]) -> Result<bool> {
        let same = self.columns.join(" IS ? AND ");
        let sql = format!("SELECT 1 FROM {} WHERE {same} IS ?", self.table.name);
        Ok(self.salvage.parts.target.prepare_cached(&sql)?.exists(params_from_iter(texts(cells)))?)
    }

    pub(crate) fn settle(&mut self, rowid: i64) -> Result<()> {
        self.settled.try_reserve(1).map_err(OutOfMemory::from)?;
        self.settled.insert(rowid);
        Ok(())
    }

    pub(crate) fn lose(
        &mut self,
        rowid: i64,
        id: Option<String>,
        column: Option<String>,
        why: String,
    ) -> Result<()> {
        let table = self.table.name;
        let loss = Loss { table, rowid: Some(rowid), id, column, why };
        Ok(memory::push(&mut self.salvage.report.lost, loss)?)
    }
}

fn texts(cells: &[Cell]) -> Vec<Text<'_>> {
    cells.iter().map(|cell| Text(cell.text.as_deref())).collect()
}
