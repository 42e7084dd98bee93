//! Runs, items and telemetry as the core sees them: plain text, JSON already encoded.

use std::ops::{BitOr, Range};

/// The columns that an item comes with, in the order of the documented API.
pub const ITEM_COLUMNS: [&str; 12] = [
    "item_id",
    "run_id",
    "item_type",
    "title",
    "summary",
    "claims_json",
    "evidence_json",
    "scores_json",
    "risk_flags_json",
    "explainability_json",
    "decision",
    "decision_reason",
];

/// Those of [`ITEM_COLUMNS`] that hold JSON.
pub(crate) const JSON_COLUMNS: Range<usize> = 5..10;

/// The status of a run that has started and not finished.
pub const RUNNING: &str = "running";

/// The columns of a run as it is read, in the order of the documented API.
pub const RUN_COLUMNS: [&str; 8] = [
    "run_id",
    "run_type",
    "started_at",
    "status",
    "settings_snapshot_json",
    "finished_at",
    "notes",
    "heartbeat_at",
];

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
    /// What becomes of a run that is over already.
    pub if_over: IfOver,
}

/// What finishing a run that is over comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfOver {
    /// It ends anew, unless it was recovered: then that is an error.
    Replace,
    /// It stays as it is; that it was recovered is an error.
    Keep,
    /// It ends anew, also if it was recovered; its worker is still kept from writing then.
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

/// Items to record: a row each of [`ITEM_COLUMNS`].
pub type NewItems = TextRows<12>;

/// Items as recorded: a row each of [`ITEM_COLUMNS`] and `created_at`.
pub type Items = TextRows<13>;

/// The name of a column of [`Items`].
pub(crate) fn item_column(column: usize) -> &'static str {
    ITEM_COLUMNS.get(column).unwrap_or(&"created_at")
}

/// Some of the columns of [`Items`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields(u16);

impl Fields {
    /// All of them.
    pub const ALL: Self = Self((1 << (ITEM_COLUMNS.len() + 1)) - 1);

    /// These, and another.
    #[must_use]
    pub const fn with(self, column: usize) -> Self {
        Self(self.0 | 1 << column)
    }

    /// Whether this column is one of them.
    pub const fn has(self, column: usize) -> bool {
        self.0 >> column & 1 == 1
    }
}

impl BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Runs as recorded: a row each of [`RUN_COLUMNS`].
pub type Runs = TextRows<8>;

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
    pub fn push(&mut self, text: impl AsRef<[u8]>) {
        self.text.extend_from_slice(text.as_ref());
        self.end_cell();
    }

    /// Add a NULL.
    pub fn push_null(&mut self) {
        self.end_cell();
        if let Some(cell) = self.cells.last_mut() {
            cell.null = true;
        }
    }

    /// Add text or NULL.
    pub fn push_option(&mut self, text: Option<impl AsRef<[u8]>>) {
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
    pub fn end_cell(&mut self) {
        let start = self.cells.last().map_or(0, |cell| cell.end);
        self.cells.push(Cell { start, end: self.text.len(), null: false });
    }

    /// Forget what was appended to [`Self::buffer`] since the last cell.
    pub fn abandon_cell(&mut self) {
        self.text.truncate(self.cells.last().map_or(0, |cell| cell.end));
    }

    /// The text at a row and column, both from 0; `None` for NULL or where there is none.
    pub fn get(&self, row: usize, column: usize) -> Option<&[u8]> {
        let cell = self.cells.get(row * N + column)?;
        if cell.null { None } else { self.text.get(cell.start..cell.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_null_apart_from_empty_text() {
        let mut rows = TextRows::<2>::new();
        rows.push("a");
        rows.push("");
        rows.push_null();
        rows.buffer().extend_from_slice(b"half a cell");
        rows.abandon_cell();
        rows.push("b");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.get(0, 0), Some(&b"a"[..]));
        assert_eq!(rows.get(0, 1), Some(&b""[..]));
        assert_eq!(rows.get(1, 0), None);
        assert_eq!(rows.get(1, 1), Some(&b"b"[..]));
        assert_eq!(rows.get(2, 0), None);
    }
}
