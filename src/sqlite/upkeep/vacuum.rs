//! Returns free pages to the file system.
//!
//! A file of ours has auto_vacuum INCREMENTAL: its free pages are given back in slices, each a short write. A file of
//! the predecessor has NONE, and must be rewritten as a whole, which makes it INCREMENTAL.
//! <https://www.sqlite.org/pragma.html#pragma_incremental_vacuum>

use std::time::Instant;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};

/// Pages that are freed between two checks of the time.
const PAGES_AT_ONCE: u32 = 16;

/// The result of a vacuum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// By how many bytes the file is smaller.
    pub bytes_freed: u64,
    /// Why that is less than there was to free, if it is.
    pub reason: Option<String>,
}

/// Whether the file's free pages can be given back in slices. The pragma says what the last read has found, which may
/// have been before the file was rewritten.
pub(crate) fn is_incremental(connection: &Connection) -> Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mode: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    Ok(mode != 0)
}

/// Free pages until others should write; whether there are more.
pub(crate) fn give_back(connection: &Connection, until: Instant) -> Result<bool> {
    let count = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let mut free = count()?;
    while free > 0 {
        let mut statement =
            connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        let left = count()?;
        if left >= free {
            let what = "the free pages of the file cannot be returned";
            return Err(StoreError::new(ErrorKind::CorruptDatabase, what));
        }
        free = left;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(free > 0)
}
