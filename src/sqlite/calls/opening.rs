//! Opening a store: its options, the place of its file, and whether the file is a store.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use super::{Connections, Shared, Store};
use crate::error::{self, ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::engine::pool::Pool;
use crate::sqlite::engine::writer::Writer;
use crate::sqlite::engine::written_file::WrittenFile;
use crate::sqlite::file::connection::{self, Synchronous};
use crate::sqlite::file::creation::{self, Made};
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::migrations::{self, Found};
use crate::sqlite::file::place::{self, Place};
use crate::sqlite::file::platform;
use crate::sqlite::file::schema;
use crate::sqlite::file::sizes;
use crate::sqlite::file::trace::Trace;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::clock::Clock;

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
    /// Note each statement for [`crate::Store::take_traced`].
    pub trace_sql: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(30),
            pool_size: 4,
            read_only: false,
            file_mode: 0o600,
            trace_sql: false,
        }
    }
}

impl Store {
    /// Open the file at `path`, creating it (and its folders) or bringing its schema up to date, unless the
    /// store is only to be read.
    ///
    /// # Errors
    /// [`ErrorKind::CannotOpen`] when the path cannot be created or opened, [`ErrorKind::NotADatabase`],
    /// [`ErrorKind::ForeignDatabase`], [`ErrorKind::SchemaTooNew`] and [`ErrorKind::CorruptDatabase`] when the
    /// file is not one of ours (it is left as it is), [`ErrorKind::StoreBusy`] when another program keeps it
    /// locked.
    pub fn open(path: &Path, options: Options, caller: &Caller) -> Result<Self> {
        let mut made = Made::default();
        let open = || {
            connection::check_sqlite_version()?;
            let mut wait = Wait::new(*caller, options.busy_timeout);
            let path = find(path, &options, &mut made, &mut wait)?;
            let read_only = options.read_only;
            let place = Arc::new(Place::new(path.clone(), Trace::new(options.trace_sql))?);
            let file =
                (!options.read_only).then(|| WrittenFile::new(Arc::clone(&place), options.synchronous));
            let pool = Pool::new(options.pool_size);
            let writer = file.map(|file| Writer::new(None, Some(file)));
            let trace = place.trace.clone();
            let store = Self::new(Some(place), options, writer, Some(pool), trace);
            let looked = store.look(&mut wait);
            looked.map_err(|error| creation::explain(error, &path, read_only))?;
            Ok(store)
        };
        let opened = open().map_err(|error: StoreError| error.during(format!("open {}", error::path(path))));
        if opened.is_err() {
            made.undo();
        }
        opened
    }

    /// Make sure that the file is a store, and bring it up to date unless it is only to be read.
    fn look(&self, wait: &mut Wait) -> Result<()> {
        let current = self.connections()?;
        match (&current.writer, &current.place, &current.pool) {
            (Some(writer), ..) => wait.until_free(|| writer.open_with(open_writer)),
            (None, Some(place), Some(pool)) => {
                let inspect = |connection: &mut Connection| match migrations::inspect(connection)? {
                    Found::Store(_) => Ok(()),
                    Found::Empty => Err(StoreError::new(ErrorKind::NotADatabase, "nothing is in it yet")),
                };
                Pool::foresee(place, inspect)?;
                pool.read(place, wait, inspect)
            }
            _ => Err(StoreError::closed()),
        }
    }

    /// Open a private store in memory, on one connection.
    ///
    /// # Errors
    /// When SQLite cannot allocate it.
    pub fn open_in_memory(options: Options) -> Result<Self> {
        let (trace, mut memory) = (Trace::new(options.trace_sql), connection::open_memory()?);
        trace.watch(&mut memory)?;
        connection::configure_writer(&memory, options.synchronous)?;
        migrations::migrate(&mut memory)?;
        Ok(Self::new(None, options, Some(Writer::new(Some(Own::new(memory)), None)), None, trace))
    }

    fn new(
        place: Option<Arc<Place>>,
        options: Options,
        writer: Option<Writer>,
        pool: Option<Pool>,
        trace: Trace,
    ) -> Self {
        let path = place.as_ref().map(|place| place.path.clone());
        let links = place.as_ref().map(|place| Arc::clone(&place.links));
        let connections = Connections::new(place, writer, pool, None, trace);
        let shared = Arc::new(Shared {
            path,
            options,
            closed: AtomicBool::new(false),
            clock: Clock::read(),
            links,
            current: Mutex::new(Arc::new(connections)),
        });
        Self { shared }
    }
}

/// Where the file is, all links followed, as SQLite names what it puts beside it. Creates it if need be.
fn find(path: &Path, options: &Options, made: &mut Made, wait: &mut Wait) -> Result<PathBuf> {
    let path = platform::resolve(path).map_err(StoreError::cannot_open)?;
    sizes::refuse_irregular(&path)?;
    if std::fs::metadata(&path).is_ok_and(|file| (1..HEADER_BYTES).contains(&file.len())) {
        return Err(StoreError::new(ErrorKind::NotADatabase, "file is not a database: it is too short"));
    }
    if !options.read_only {
        place::refuse_linked(&path)?;
        if !path.exists() {
            creation::foresee(&path).map_err(StoreError::cannot_open)?;
        }
        place::set_orphan_aside(&path, wait)?;
        made.create(&path, options.file_mode).map_err(StoreError::cannot_open)?;
    }
    path.canonicalize().map_err(StoreError::cannot_open)
}

/// Open a file for writing: check that it is a store, and migrate it.
pub(crate) fn open_writer(file: &WrittenFile) -> Result<Connection> {
    let mut connection =
        file.place.confirm_opened(connection::open_file(&file.place.path, &file.place.trace))?;
    connection::refuse_read_only(&connection)?;
    let foreign_log = !sizes::log_is_empty(&file.place.path);
    let before = schema::version(&connection);
    match migrations::inspect_to_write(&connection) {
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
    let now = migrations::migrate(&mut connection)?;
    // It was looked at after that, or in the transaction that changed it.
    file.schema.trust(now.map_or(before, Ok)?);
    Ok(connection)
}
