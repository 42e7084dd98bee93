//! Opening a damaged file to be salvaged, so that neither it nor what belongs to it is changed.
//!
//! It is opened immutable where all that was committed is in it, and else read-only, together with its log. That needs the
//! index of the log, and cannot undo a transaction that was cut off: then copies of the files are opened.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::connection;
use crate::sqlite::file::sizes::{self, beside};
use crate::sqlite::file::still::{READ, Still};
use crate::sqlite::file::trace::Trace;
use crate::sqlite::upkeep::backup::Partial;

/// Permission bits of what a salvage makes.
pub(crate) const MODE: u32 = 0o600;

/// A file that is open to be salvaged.
pub(crate) struct Opened {
    pub(crate) source: Connection,
    /// What it has to be at the end, where nobody is kept from writing to it.
    pub(crate) still: Option<Still>,
    /// What there is to be said of it.
    pub(crate) remark: Option<String>,
    /// What is read in the place of the file; removed when dropped, which has to be after `source`.
    pub(crate) _copies: Option<Partial>,
}

/// Copies of a file, its log and its journal, beside `dest`.
fn copy(path: &Path, dest: &Path) -> Result<Partial> {
    let copies = Partial::create(dest, MODE)?;
    for suffix in READ {
        let (from, to) = (beside(path, suffix), beside(&copies.path, suffix));
        if from.exists() {
            fs::copy(from, to).map_err(|error| {
                let kind = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                    _ => ErrorKind::StorageIO,
                };
                StoreError::new(kind, error)
            })?;
        }
    }
    Ok(copies)
}

/// Open a file to be read as it is at this moment.
pub(crate) fn open(path: &Path, dest: &Path) -> Result<Opened> {
    let still = Still::of(path);
    if sizes::is_settled(path) {
        let source = pinned(connection::open_immutable(path, &Trace::default())?)?;
        return Ok(Opened { source, still: Some(still), remark: None, _copies: None });
    }
    match connection::open_untouched(path, &Trace::default()).and_then(pinned) {
        Ok(source) => return Ok(Opened { source, still: None, remark: None, _copies: None }),
        Err(error) if error.kind == ErrorKind::StoreBusy => return Err(error),
        Err(_) => {}
    }
    let copied = copy(path, dest).and_then(|copies| {
        still.confirm(path)?;
        let source = connection::open_file(&copies.path, &Trace::default()).and_then(pinned)?;
        Ok(Opened { source, still: None, remark: None, _copies: Some(copies) })
    });
    match copied {
        Err(error) if !matches!(error.kind, ErrorKind::StoreBusy | ErrorKind::DiskFull) => {
            let source = pinned(connection::open_immutable(path, &Trace::default())?)?;
            let remark =
                format!("what is in its log (-wal or -journal) alone is lost, which cannot be read: {error}");
            Ok(Opened { source, still: Some(still), remark: Some(remark), _copies: None })
        }
        done => done,
    }
}

/// Read as much as SQLite can: also where an entry of the schema, or the size of a cell, is wrong.
fn pinned(source: Connection) -> Result<Connection> {
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    source.pragma_update(None, "writable_schema", true)?;
    source.pragma_update(None, "cell_size_check", false)?;
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection::keep_log_on_close(&source)?;
    Ok(source)
}
