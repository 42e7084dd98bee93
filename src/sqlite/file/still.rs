//! Reading a file of which nobody writes, without the -shm by which readers and writers keep apart: in a folder without
//! write permission, SQLite cannot make one.

use std::path::Path;
use std::time::SystemTime;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::sizes;

/// The file, its log and its journal.
pub(crate) const READ: [&str; 3] = ["", "-wal", "-journal"];

/// By what one sees that nobody has written to a file, its log or its journal.
#[derive(PartialEq, Eq)]
pub(crate) struct Still([Option<(u64, SystemTime)>; 3]);

impl Still {
    pub(crate) fn of(path: &Path) -> Self {
        Self(READ.map(|suffix| sizes::stamp(path, suffix)))
    }

    /// Fail if somebody has written meanwhile.
    pub(crate) fn confirm(&self, path: &Path) -> Result<()> {
        if *self == Self::of(path) {
            return Ok(());
        }
        let what = "the file changed while it was being read; stop whoever writes to it";
        Err(StoreError::new(ErrorKind::StoreBusy, what))
    }
}

/// Whether SQLite fails so since it cannot make a -shm, and the file can be read without one.
pub(crate) fn is_readable_despite(error: &StoreError, path: &Path) -> bool {
    // SQLite calls it one or the other.
    matches!(error.kind, ErrorKind::CannotOpen | ErrorKind::ReadOnly)
        && path.exists()
        && sizes::is_settled(path)
}
