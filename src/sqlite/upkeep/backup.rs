//! A copy of the database as it was at one moment, made while others write.
//!
//! SQLite's backup starts over whenever what it copies changes beneath it, and under steady writing would never end
//! (<https://www.sqlite.org/backup.html>). So one read transaction pins the moment from the first page to the last.
//! While it lasts the log cannot start over, and grows by what is written.

use std::ffi::c_int;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::connection;
use crate::sqlite::file::fork;
use crate::sqlite::file::place::Place;
use crate::sqlite::file::platform;
use crate::sqlite::file::sizes::{self, BESIDE, beside};
use crate::sqlite::file::still::{self, Still};
use crate::sqlite::file::trace::Trace;

/// Pages copied at a time: a few milliseconds.
const SLICE_PAGES: c_int = 1024;

/// Where a database says how it is written and read, and what it says of a rollback journal: so whoever only reads the
/// copy puts nothing beside it. <https://www.sqlite.org/fileformat2.html#file_format_version_numbers>
const FORMAT_VERSIONS: u64 = 18;
const JOURNAL: [u8; 2] = [1, 1];

/// How far a backup has come, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied so far.
    pub copied: u32,
    /// Pages that the copy will have.
    pub total: u32,
}

/// Copy the next pages; say how far it has come, and whether that was all.
pub(crate) fn step(backup: &Backup<'_, '_>) -> Result<(Progress, bool)> {
    let step = backup.step(SLICE_PAGES).map_err(|error| match error {
        // Its words are of what the copy's connection did last.
        rusqlite::Error::SqliteFailure(code, _) => rusqlite::Error::SqliteFailure(code, None),
        other => other,
    })?;
    let at = backup.progress();
    let pages = |count| u32::try_from(count).unwrap_or(0);
    let progress = Progress { copied: pages(at.pagecount - at.remaining), total: pages(at.pagecount) };
    match step {
        StepResult::Done => Ok((progress, true)),
        StepResult::More => Ok((progress, false)),
        _ => Err(StoreError::new(ErrorKind::StoreBusy, "the file is locked")),
    }
}

/// A connection that holds a snapshot of the file. Where none can be held, since the file is read without a -shm, what
/// was read is valid only if the file is as it was.
pub(crate) fn pinned(place: &Place) -> Result<(Connection, Option<Still>)> {
    let begun = |connection: Connection| -> Result<Connection> {
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let path = &place.path;
    // Seen first: what is written from here on shows.
    let still = Still::of(path);
    match place.confirm_opened(connection::open_reader(path, &place.trace)).and_then(begun) {
        Err(error) if still::is_readable_despite(&error, path) => {
            Ok((begun(connection::open_immutable(path, &place.trace)?)?, Some(still)))
        }
        opened => Ok((opened?, None)),
    }
}

/// Where a backup goes.
pub(crate) struct Destination {
    pub(crate) path: PathBuf,
    overwrite: bool,
    /// What to do where there is a file already.
    remedy: &'static str,
}

impl Destination {
    /// Where `dest` leads, if the file may be put there.
    pub(crate) fn find(dest: &Path, source: &Place, overwrite: bool, remedy: &'static str) -> Result<Self> {
        let trace = &source.trace;
        let source = &*source.path;
        let path = platform::resolve(dest).map_err(StoreError::cannot_open)?;
        let is = |other: &Path| {
            let id = platform::file_id(other);
            path == other || (id.is_some() && id == platform::file_id(&path))
        };
        if is(source) || BESIDE.iter().any(|suffix| is(&beside(source, suffix))) {
            return Err(StoreError::new(ErrorKind::InvalidValue, "that is the store's own file"));
        }
        sizes::refuse_irregular(&path)?;
        if path.exists() && !overwrite {
            return Err(is_there(remedy));
        }
        remove_leftovers(&path, trace)?;
        Ok(Self { path, overwrite, remedy })
    }
}

/// Remove what is beside a database where nothing is in it, and nobody has it open any more: an empty log, as whoever
/// only reads leaves it, and its index. SQLite would apply anything else to the copy.
fn remove_leftovers(path: &Path, trace: &Trace) -> Result<()> {
    let left = BESIDE.map(|suffix| beside(path, suffix)).into_iter().filter(|file| file.exists());
    let left: Vec<_> = left.collect();
    match left.first() {
        Some(first) if !sizes::is_settled(path) || is_open(path, trace) => Err(StoreError::new(
            ErrorKind::CannotOpen,
            format!("{} is there: a database is open here, or was not closed", first.display()),
        )),
        _ => left.iter().try_for_each(fs::remove_file).map_err(StoreError::cannot_open),
    }
}

/// Whether somebody has a database open, or may have. Nobody has what is none.
fn is_open(path: &Path, trace: &Trace) -> bool {
    let none = |error: StoreError| matches!(error.kind, ErrorKind::NotADatabase | ErrorKind::CorruptDatabase);
    path.exists() && connection::open_alone(path, trace).is_err_and(|error| !none(error))
}

/// The file that becomes the backup; removed unless it does, with what SQLite has put beside it.
pub(crate) struct Partial {
    pub(crate) path: PathBuf,
    file: File,
    generation: u64,
}

impl Partial {
    /// Create it beside `dest`, under a name that nothing else has.
    pub(crate) fn create(dest: &Path, mode: u32) -> Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let path = beside(dest, &format!(".{}-{number}.partial", std::process::id()));
            match platform::create_new(&path, mode) {
                Ok(file) => return Ok(Self { path, file, generation: fork::generation() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::cannot_open(error)),
            }
        }
    }

    /// Have it read and written without a log, until a store opens it for writing: it is one file.
    pub(crate) fn do_without_log(&self) -> Result<()> {
        let set = self.file.write_all_at(&JOURNAL, FORMAT_VERSIONS);
        set.map_err(|error| StoreError::new(ErrorKind::StorageIO, error))
    }

    /// Have it on disk, under its name.
    pub(crate) fn publish(self, dest: &Destination) -> Result<()> {
        let publish = || {
            self.file.sync_all()?;
            if dest.overwrite {
                fs::rename(&self.path, &dest.path)?;
            } else {
                // A file may have appeared meanwhile.
                platform::rename_new(&self.path, &dest.path)?;
            }
            Ok(())
        };
        let failed = |error| StoreError::new(ErrorKind::StorageIO, error);
        publish().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(dest.remedy),
            _ => failed(error),
        })?;
        platform::sync_parent(&dest.path).map_err(|error| {
            failed(error)
                .note("the copy is whole and in its place, but a power cut may undo that: repeat the call")
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // Most are not there, nor is the file where it was renamed. One that cannot be removed is left, as after a crash.
            for suffix in [""].iter().chain(&BESIDE) {
                let _ = fs::remove_file(beside(&self.path, suffix));
            }
        }
    }
}

fn is_there(remedy: &str) -> StoreError {
    StoreError::new(ErrorKind::CannotOpen, "there is a file already").note(remedy)
}
