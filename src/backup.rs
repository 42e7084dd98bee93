//! A copy of the database as it was at one moment, made while others write.
//!
//! SQLite's backup starts over whenever what it copies changes beneath it, and under steady writing would never end
//! (<https://www.sqlite.org/backup.html>). So one read transaction pins the moment from the first page to the last.
//! While it lasts the log cannot start over, and grows by what is written.

use std::ffi::c_int;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use rusqlite::{Connection, ffi};

use crate::connection;
use crate::error::{ErrorKind, Result, StoreError};
use crate::fork::{self, Exclusive, Forkable};
use crate::place::Place;
use crate::sync::lock;

/// Pages copied at a time: a few milliseconds, for which a fork is kept waiting.
const SLICE_PAGES: c_int = 1024;

/// How far a backup has come, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied so far.
    pub copied: u32,
    /// Pages that the copy will have.
    pub total: u32,
}

/// A backup under way.
pub(crate) struct Copying {
    /// `None` once it is over, and in a child forked meanwhile. Locked only behind the fork's gate.
    parts: Mutex<Option<Parts>>,
}

/// Dropped in this order.
struct Parts {
    backup: Handle,
    source: Connection,
    target: Connection,
}

/// SQLite's own handle of a backup, valid for as long as both connections are open.
struct Handle(*mut ffi::sqlite3_backup);

// SAFETY: the handle is used by one thread at a time, behind a mutex, together with the connections that it belongs to.
unsafe impl Send for Handle {}

impl Copying {
    /// Pin the moment of the file at `place`, to be copied into the empty file at `target`.
    pub(crate) fn begin(place: &Place, target: &Path) -> Result<Arc<Self>> {
        let gate = fork::enter();
        let source = place.confirm_opened(pinned(&place.path))?;
        let target = connection::open_copy(target)?;
        let parts = Parts { backup: Handle::new(&source, &target)?, source, target };
        let copying: Arc<Self> = Arc::new(Self { parts: Mutex::new(Some(parts)) });
        let forkable: Weak<dyn Forkable> = Arc::<Self>::downgrade(&copying);
        fork::register(forkable, &gate);
        Ok(copying)
    }

    /// Copy the next pages; say how far it has come, and whether that was all.
    pub(crate) fn step(&self) -> Result<(Progress, bool)> {
        let _gate = fork::enter();
        match &*lock(&self.parts) {
            Some(parts) => parts.backup.step(),
            None => Err(StoreError::new(
                ErrorKind::Transaction,
                "this process was forked during the backup, which goes on in the parent only",
            )),
        }
    }

    /// Close both files.
    pub(crate) fn end(&self) {
        let _gate = fork::enter();
        lock(&self.parts).take();
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.end();
    }
}

impl Forkable for Copying {
    /// Nothing is written to the copy, which is the parent's: without a journal there is nothing to roll back.
    fn start_over(&self, alone: &Exclusive) {
        if let Some(Parts { backup, source, target }) = lock(&self.parts).take() {
            drop(backup);
            fork::discard(source, alone);
            fork::discard(target, alone);
        }
    }
}

impl Handle {
    fn new(source: &Connection, target: &Connection) -> Result<Self> {
        // SAFETY: both connections are open; the names are C strings.
        let handle = unsafe {
            ffi::sqlite3_backup_init(target.handle(), c"main".as_ptr(), source.handle(), c"main".as_ptr())
        };
        if handle.is_null() {
            // SAFETY: the connection is open.
            return Err(failure(unsafe { ffi::sqlite3_extended_errcode(target.handle()) }));
        }
        Ok(Self(handle))
    }

    fn step(&self) -> Result<(Progress, bool)> {
        // SAFETY: the handle is valid.
        let (code, left, total) = unsafe {
            let code = ffi::sqlite3_backup_step(self.0, SLICE_PAGES);
            (code, ffi::sqlite3_backup_remaining(self.0), ffi::sqlite3_backup_pagecount(self.0))
        };
        let pages = |count| u32::try_from(count).unwrap_or(0);
        let progress = Progress { copied: pages(total - left), total: pages(total) };
        match code {
            ffi::SQLITE_OK => Ok((progress, false)),
            ffi::SQLITE_DONE => Ok((progress, true)),
            failed => Err(failure(failed)),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and not used again. What failed was reported by the step that met it.
        unsafe { ffi::sqlite3_backup_finish(self.0) };
    }
}

/// A connection that goes on reading the file as it is now.
fn pinned(path: &Path) -> Result<Connection> {
    let connection = connection::open_reader(path)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn failure(code: c_int) -> StoreError {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
}
