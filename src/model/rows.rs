//! Runs, items and telemetry as the core sees them: plain text, JSON already encoded.

use std::ops::BitOr;

use crate::memory::{self, OutOfMemory};
use crate::model::columns::{ItemColumn, RunColumn};

/// The status of a run that has started and not finished.
pub const RUNNING: &str = "running";

/// A run that starts.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its key.
    pub run_id: String,
    /// What kind of run it is.
    pub run_type: String,
    /// When it starts; see [`crate::now`].
    pub started_at: String,
    /// Its settings as JSON text.
    pub settings_snapshot_json: Vec<u8>,
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The run's key.
    pub run_id: String,
    /// Its final status.
    pub status: String,
    /// Remarks, if any.
    pub notes: Option<String>,
    /// The effect on a run that is finished already.
    pub if_over: IfOver,
}

/// The effect of finishing a run that is finished already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfOver {
    /// It is finished again; if it was recovered, that is an error.
    Replace,
    /// It is not changed; if it was recovered, that is an error.
    Keep,
    /// It is finished again, also if it was recovered; its worker still cannot write.
    Force,
}

/// A run's telemetry document.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The run's key.
    pub run_id: String,
    /// The document as JSON text.
    pub telemetry_json: Vec<u8>,
    /// Set it also if the run was recovered.
    pub force: bool,
}

/// Items to record: a row each of [`ItemColumn::NEW`].
pub type NewItems = TextRows<{ ItemColumn::NEW.len() }>;

/// Items as recorded: a row each of [`ItemColumn::ALL`].
pub type Items = TextRows<{ ItemColumn::ALL.len() }>;

/// Some of the columns of [`Items`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields(u16);

impl Fields {
    /// All of them.
    pub const ALL: Self = Self((1 << ItemColumn::ALL.len()) - 1);

    /// These, and another.
    #[must_use]
    pub const fn with(self, column: ItemColumn) -> Self {
        Self(self.0 | 1 << column as usize)
    }

    /// Whether this column is one of them.
    pub const fn has(self, column: ItemColumn) -> bool {
        self.0 >> column as usize & 1 == 1
    }
}

impl BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Runs as recorded: a row each of [`RunColumn::ALL`].
pub type Runs = TextRows<{ RunColumn::ALL.len() }>;

/// Rows of `N` texts or NULLs, all in one buffer: a batch costs a handful of allocations, not thirteen an item.
///
/// A row is begun by its first cell and ends with its `N`th.
#[derive(Debug, Clone, Default)]
pub struct TextRows<const N: usize> {
    text: Vec<u8>,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    null: bool,
}

impl<const N: usize> TextRows<N> {
    /// No rows yet.
    pub const fn new() -> Self {
        Self { text: Vec::new(), cells: Vec::new() }
    }

    /// How many rows are complete.
    pub fn len(&self) -> usize {
        self.cells.len() / N
    }

    /// Whether no row is complete.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Add a cell of UTF-8 text.
    ///
    /// # Errors
    /// Memory ran out; the row is then not complete.
    pub fn push(&mut self, text: impl AsRef<[u8]>) -> Result<(), OutOfMemory> {
        memory::append(&mut self.text, text.as_ref())?;
        self.end_cell()
    }

    /// Add a NULL.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_null(&mut self) -> Result<(), OutOfMemory> {
        self.end_cell()?;
        if let Some(cell) = self.cells.last_mut() {
            cell.null = true;
        }
        Ok(())
    }

    /// Add text or NULL.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_option(&mut self, text: Option<impl AsRef<[u8]>>) -> Result<(), OutOfMemory> {
        match text {
            Some(text) => self.push(text),
            None => self.push_null(),
        }
    }

    /// The buffer's end, to append the next cell's UTF-8 text to; then call [`Self::end_cell`].
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Take what was appended to [`Self::buffer`] since the last cell as a cell.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn end_cell(&mut self) -> Result<(), OutOfMemory> {
        let start = self.cells.last().map_or(0, |cell| cell.end);
        memory::push(&mut self.cells, Cell { start, end: self.text.len(), null: false })
    }

    /// Forget what was appended to [`Self::buffer`] since the last cell.
    pub fn abandon_cell(&mut self) {
        self.text.truncate(self.cells.last().map_or(0, |cell| cell.end));
    }

    /// The text at a row, from 0, and a column; `None` for NULL or if there is no such cell.
    pub fn get(&self, row: usize, column: impl Into<usize>) -> Option<&[u8]> {
        let cell = self.cells.get(row * N + column.into())?;
        if cell.null { None } else { self.text.get(cell.start..cell.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_null_apart_from_empty_text() {
        let mut rows = TextRows::<2>::new();
        rows.push("a").unwrap();
        rows.push("").unwrap();
        rows.push_null().unwrap();
        rows.buffer().extend_from_slice(b"half a cell");
        rows.abandon_cell();
        rows.push("b").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.get(0, 0_usize), Some(&b"a"[..]));
        assert_eq!(rows.get(0, 1_usize), Some(&b""[..]));
        assert_eq!(rows.get(1, 0_usize), None);
        assert_eq!(rows.get(1, 1_usize), Some(&b"b"[..]));
        assert_eq!(rows.get(2, 0_usize), None);
    }
}
