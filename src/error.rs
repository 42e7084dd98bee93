//! The core's errors: one error type that keeps SQLite's code and a one-line message.

use std::ffi::c_int;
use std::fmt::Display;
use std::path::Path;

use crate::memory::OutOfMemory;

/// A result whose error is a [`StoreError`].
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What kind of failure a [`StoreError`] is. Each has a Python exception class of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A run with this id exists already.
    RunExists,
    /// No run has this id.
    RunNotFound,
    /// The run is running, and was not to be deleted by force.
    RunActive,
    /// The run is finished, or was recovered.
    RunFinished,
    /// No item has this id.
    IntelItemNotFound,
    /// A wait reached the busy timeout, or could never have ended.
    StoreBusy,
    /// The disk is full; nothing was written.
    DiskFull,
    /// The operating system failed to read or write; nothing was written.
    StorageIO,
    /// Memory ran out, or a damaged file claims a record larger than memory can be.
    OutOfMemory,
    /// COMMIT itself failed: it may or may not be on disk.
    CommitOutcomeUnknown,
    /// The path cannot be created or opened.
    CannotOpen,
    /// The file, or its log, is no longer where it was when the store was opened; nothing was written.
    FileMoved,
    /// A write where only reads are allowed.
    ReadOnly,
    /// SQL that SQLite does not accept.
    Query,
    /// The file is not a SQLite database.
    NotADatabase,
    /// The file is damaged, or holds values that no store writes.
    CorruptDatabase,
    /// The file is a SQLite database of another program, or its schema would run what is not ours.
    ForeignDatabase,
    /// The file was written by a newer version.
    SchemaTooNew,
    /// The store is closed.
    StoreClosed,
    /// A transaction handle used where it cannot be.
    Transaction,
    /// SQLite rolled the transaction back by itself.
    TransactionDoomed,
    /// A value or an option that is not accepted, or that a constraint of the user's own forbids.
    InvalidValue,
    /// The clock is not to be believed, and so nothing was deleted or recovered by age.
    Clock,
    /// The caller's interrupt check ended a wait.
    Interrupted,
    /// Anything else that SQLite reported.
    Other,
}

/// A failure of the store: its kind, a one-line message and, where SQLite reported it, SQLite's extended code.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct StoreError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// SQLite's extended result code, <https://www.sqlite.org/rescode.html>.
    pub sqlite_code: Option<c_int>,
    message: String,
}

impl StoreError {
    /// An error of this kind that SQLite did not report.
    pub fn new(kind: ErrorKind, message: impl Display) -> Self {
        Self { kind, sqlite_code: None, message: one_line(&message.to_string()) }
    }

    /// An error of this kind with SQLite's code for it.
    pub(crate) fn reported(kind: ErrorKind, sqlite_code: c_int, message: impl Display) -> Self {
        Self { sqlite_code: Some(sqlite_code), ..Self::new(kind, message) }
    }

    /// The same error, its message prefixed with the operation.
    #[must_use]
    pub fn during(mut self, operation: impl Display) -> Self {
        self.message = one_line(&format!("{operation}: {}", self.message));
        self
    }

    /// The same error with a note appended to its message.
    #[must_use]
    pub(crate) fn note(mut self, remark: impl Display) -> Self {
        self.message = format!("{}; {remark}", self.message);
        self
    }

    /// The same error as another kind.
    #[must_use]
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The path cannot be created or opened, as the system says.
    pub(crate) fn cannot_open(error: std::io::Error) -> Self {
        Self::new(ErrorKind::CannotOpen, error)
    }

    /// What every call on a closed store returns.
    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::StoreClosed, "the store is closed")
    }
}

impl From<OutOfMemory> for StoreError {
    fn from(_: OutOfMemory) -> Self {
        Self::new(ErrorKind::OutOfMemory, "out of memory")
    }
}

/// The longest path, in bytes, that systems take.
const LONGEST_PATH: usize = 4096;

/// How many characters of a text messages quote.
pub(crate) const MOST_QUOTED: usize = 200;

/// A text of the caller's or of the file's, as messages quote it: it may be of any length.
pub(crate) fn excerpt(text: &(impl AsRef<str> + ?Sized)) -> String {
    let text = text.as_ref();
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A text that is whole already, if it is not longer than messages quote one.
pub(crate) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MOST_QUOTED) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// A path of the caller's: whole where a file can have it, since a remedy needs it.
pub(crate) fn path(path: &Path) -> String {
    let text = path.display().to_string();
    if text.len() > LONGEST_PATH { cut(text) } else { text }
}

/// The same text without line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_a_character_ends() {
        assert_eq!(excerpt("a\"b"), r#""a\"b""#);
        assert_eq!(excerpt(&"é".repeat(200)), format!("{:?}", "é".repeat(200)));
        assert_eq!(excerpt(&"é".repeat(201)), format!("{:?}...", "é".repeat(200)));
    }

    #[test]
    fn messages_are_one_line() {
        let error = StoreError::new(ErrorKind::Query, "near\n  \"x\"").during("query");
        assert_eq!(error.to_string(), "query: near \"x\"");
    }
}
