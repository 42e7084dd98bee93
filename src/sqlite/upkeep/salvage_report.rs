//! A salvage under way, and what it has to report.

use rusqlite::Connection;

use crate::error::Result;
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::wait::Wait;

/// A row that was lost, or what was lost of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The table that it was in.
    pub table: &'static str,
    /// Where it was in the table, if it was there.
    pub rowid: Option<i64>,
    /// Its key, where that is known.
    pub id: Option<String>,
    /// The column that could not be decoded, where it was one.
    pub column: Option<String>,
    /// Why it was lost.
    pub why: String,
}

/// What became of the rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// How many rows of each table are in the new file.
    pub kept: Vec<(&'static str, u64)>,
    /// Those that are known to have been there, and are not in the new file.
    pub lost: Vec<Loss>,
    /// Those that are kept without what could not be decoded of them.
    pub mended: Vec<Loss>,
    /// What else is not in the new file, or may not be.
    pub remarks: Vec<String>,
}

/// What is called while it goes on.
pub struct Callbacks<'a> {
    /// Says what is wrong with a text, if it is no JSON.
    pub is_json: &'a dyn Fn(&[u8]) -> Result<Option<String>>,
    /// Told how many rows were kept and lost so far; its error ends the salvage.
    pub progress: &'a mut dyn FnMut(u64, u64) -> Result<()>,
}

/// A salvage under way.
pub(crate) struct Salvage<'a> {
    pub(crate) parts: Own<Parts>,
    pub(crate) callbacks: Callbacks<'a>,
    pub(crate) wait: Wait<'a>,
    pub(crate) report: Salvaged,
    /// Bytes of the file and its log: no more rows than fit into them can be there.
    pub(crate) bytes: i64,
}

/// The file that is read, and the one that is made.
pub(crate) struct Parts {
    pub(crate) source: Connection,
    pub(crate) target: Connection,
}

impl Salvage<'_> {
    /// To be called now and then: whoever waits may have had enough.
    pub(crate) fn tell(&mut self, kept: u64) -> Result<()> {
        let before: u64 = self.report.kept.iter().map(|(_, kept)| kept).sum();
        (self.callbacks.progress)(before + kept, self.report.lost.len() as u64)?;
        self.wait.slice()?;
        Ok(())
    }
}
