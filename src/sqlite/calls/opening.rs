//! Opening a store: how, where the file is, and whether it is one of ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::writer::File;
use crate::sqlite::file::connection::{self, Synchronous};
use crate::sqlite::file::migrations::{self, Found};
use crate::sqlite::file::place;
use crate::sqlite::file::platform;
use crate::sqlite::file::sizes;
use crate::sqlite::file::wait::Wait;

/// The shortest that a database can be; SQLite itself takes some shorter files for empty ones.
/// <https://www.sqlite.org/fileformat2.html#the_database_header>
const HEADER_BYTES: u64 = 100;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// The longest that a call may wait.
    pub busy_timeout: Duration,
    /// The most connections that read at one time.
    pub pool_size: usize,
    /// Never change the file.
    pub read_only: bool,
    /// Permission bits of a new file.
    pub file_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(30),
            pool_size: 4,
            read_only: false,
            file_mode: 0o600,
        }
    }
}

/// Where the file is, all links followed, as SQLite names what it puts beside it. Creates it if need be.
pub(crate) fn find(path: &Path, options: &Options, wait: &mut Wait) -> Result<PathBuf> {
    let path = platform::resolve(path).map_err(|error| cannot_open(&error))?;
    if path.is_dir() {
        return Err(StoreError::new(ErrorKind::CannotOpen, "it is a folder"));
    }
    if std::fs::metadata(&path).is_ok_and(|file| (1..HEADER_BYTES).contains(&file.len())) {
        return Err(StoreError::new(ErrorKind::NotADatabase, "file is not a database: it is too short"));
    }
    if !options.read_only {
        place::refuse_linked(&path)?;
        platform::create_parents(&path).map_err(|error| cannot_open(&error))?;
        place::set_orphan_aside(&path, wait)?;
        platform::create_file(&path, options.file_mode).map_err(|error| cannot_open(&error))?;
    }
    path.canonicalize().map_err(|error| cannot_open(&error))
}

/// Open a file for writing: see that it is ours, and bring it up to date.
pub(crate) fn open_writer(file: &File) -> Result<Connection> {
    let mut connection = file.place.confirm_opened(connection::open_file(&file.place.path))?;
    let foreign_log = !sizes::log_is_empty(&file.place.path);
    let found = migrations::inspect(&connection)
        .and_then(|found| migrations::refuse_triggers(&connection).map(|()| found));
    match found {
        Ok(Found::Empty) => migrations::prepare_new(&connection)?,
        Ok(Found::Store(_)) => {}
        Err(refused) => {
            if foreign_log {
                connection::keep_log_on_close(&connection)?;
            }
            return Err(refused);
        }
    }
    file.configure(&mut connection)?;
    migrations::migrate(&mut connection)?;
    Ok(connection)
}

fn cannot_open(error: &std::io::Error) -> StoreError {
    StoreError::new(ErrorKind::CannotOpen, error)
}
