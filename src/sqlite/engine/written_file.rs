//! The file of a store that is written: its place, its log, and the checkpoints of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::error::Result;
use crate::sqlite::engine::checkpointer::Checkpointer;
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::engine::schema_watch::SchemaWatch;
use crate::sqlite::file::connection::{self, Synchronous};
use crate::sqlite::file::place::Place;
use crate::sqlite::file::turnstile::Turnstile;

/// What a writer knows of its file; a store in memory has none.
pub(crate) struct WrittenFile {
    pub(crate) place: Arc<Place>,
    synchronous: Synchronous,
    /// How large the log was after the last commit.
    log_bytes: Arc<AtomicU64>,
    pub(crate) checkpointer: Arc<Checkpointer>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) turnstile: Turnstile,
    pub(crate) schema: SchemaWatch,
}

impl WrittenFile {
    /// The file at `place`, to be written with this durability.
    pub(crate) fn new(place: Arc<Place>, synchronous: Synchronous) -> Self {
        let counters = Arc::<Counters>::default();
        let checkpointer = Checkpointer::new(Arc::clone(&place), synchronous, Arc::clone(&counters));
        Self {
            place,
            synchronous,
            log_bytes: Arc::default(),
            checkpointer: Arc::new(checkpointer),
            counters,
            turnstile: Turnstile::default(),
            schema: SchemaWatch::new(),
        }
    }

    /// Set a connection up for writing it.
    pub(crate) fn configure(&self, connection: &mut Connection) -> Result<()> {
        connection::configure_writer(connection, self.synchronous)?;
        self.counters.count_syncs(connection)?;
        connection::watch_log(connection, &self.log_bytes)?;
        self.schema.watch(connection)
    }

    /// Open a connection that writes it.
    pub(crate) fn open(&self) -> Result<Connection> {
        let mut connection =
            self.place.confirm_opened(connection::open_file(&self.place.path, &self.place.trace))?;
        self.configure(&mut connection)?;
        self.place.remember_log()?;
        Ok(connection)
    }

    /// How large the log was after the last commit.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }
}
