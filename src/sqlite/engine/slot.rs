//! The writer's connection, and the transaction open on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::commit::{abandon, advise, begin, commit};
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::engine::heartbeats::Held;
use crate::sqlite::engine::queue::{Taken, Turn};
use crate::sqlite::engine::write::Write;
use crate::sqlite::engine::written_file::WrittenFile;
use crate::sqlite::file::connection;
use crate::sqlite::file::control::{atomically, roll_back};
use crate::sqlite::file::fork::Own;

/// A batch of more rows than this commits on its own, so that a group stays quick for all who are in it.
const LARGEST_GUEST_ROWS: usize = 64;

/// The most calls that share one commit.
const LARGEST_GROUP: usize = 256;

/// The connection, and the transaction open on it.
pub(crate) struct Slot {
    connection: Slotted,
    /// The open explicit transaction and the savepoints in it, outermost first.
    pub(crate) levels: Vec<u64>,
    /// SQLite has rolled the open transaction back by itself, or what was done in it panicked.
    pub(crate) doomed: bool,
    /// Since when the open transaction holds the file's lock.
    pub(crate) held: Held,
    last_level: u64,
    file: Option<Arc<WrittenFile>>,
}

enum Slotted {
    /// Not opened since the fork.
    NotYet,
    Open(Own<Connection>),
    Closed,
}

impl Slot {
    /// The slot of this connection, or of one that is opened when it is first needed.
    pub(crate) fn new(connection: Option<Own<Connection>>, file: Option<Arc<WrittenFile>>) -> Self {
        let connection = connection.map_or(Slotted::NotYet, Slotted::Open);
        Self { connection, levels: Vec::new(), doomed: false, held: Held::begin(), last_level: 0, file }
    }

    /// Put the connection in.
    pub(crate) fn put(&mut self, connection: Connection) {
        self.connection = Slotted::Open(Own::new(connection));
    }

    /// The connection, opened if it has not been since the fork.
    pub(crate) fn open(&mut self) -> Result<&mut Connection> {
        if let (Slotted::NotYet, Some(file)) = (&self.connection, &self.file) {
            self.connection = Slotted::Open(Own::new(file.open()?));
        }
        self.connection().ok_or_else(StoreError::closed)
    }

    /// The connection, if it is open.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.connection {
            Slotted::Open(connection) => Some(connection),
            Slotted::NotYet | Slotted::Closed => None,
        }
    }

    /// Fail when the open transaction cannot be committed any more.
    pub(crate) fn refuse_doomed(&self) -> Result<()> {
        if self.doomed {
            return Err(StoreError::new(
                ErrorKind::TransactionDoomed,
                "an earlier error has undone the whole transaction; nothing of it is written; leave it and begin again",
            ));
        }
        Ok(())
    }

    /// Begin an explicit transaction of this thread.
    pub(crate) fn begin(&mut self) -> Result<u64> {
        self.look()?;
        let held = begin(self.open()?)?;
        self.held = held;
        self.doomed = false;
        self.levels.clear();
        Ok(self.push_level())
    }

    /// Fail if the file is no longer where it was. Once the connection is closed, its log may go.
    fn look(&self) -> Result<()> {
        match (&self.connection, &self.file) {
            (Slotted::Open(_), Some(file)) => file.place.look(),
            _ => Ok(()),
        }
    }

    /// Fail if another program has made the schema run what is not ours.
    fn look_at_schema(&self) -> Result<()> {
        match (&self.connection, &self.file) {
            (Slotted::Open(connection), Some(file)) => file.schema.look(connection),
            _ => Ok(()),
        }
    }

    /// Commit as [`commit`] does, if the file is still in its place: nothing is acknowledged that no one would find. Nor
    /// is what ran on a schema that was not looked at.
    pub(crate) fn commit(&mut self, held: Held) -> Result<()> {
        let as_before = self.look().and_then(|()| self.look_at_schema());
        let connection = self.connection().ok_or_else(StoreError::closed)?;
        if let Err(changed) = as_before {
            roll_back(connection);
            return Err(changed.note("nothing was written"));
        }
        commit(connection, held)
    }

    /// In the transaction that was begun, do `own` and the jobs of those who wait next, and commit them with one sync.
    ///
    /// Each caller is answered once its write is on disk; one that fails is rolled back alone. If a deferred constraint
    /// makes the commit fail, nothing is written, and the returned jobs have to be written one by one.
    pub(crate) fn commit_group(
        &mut self,
        held: Held,
        turn: &Turn<Write>,
        own: &Write,
        counters: &Counters,
    ) -> Result<Result<(), Vec<Taken<Write>>>> {
        let connection = self.connection().ok_or_else(StoreError::closed)?;
        // Nothing else is in the transaction yet.
        own.apply(connection).inspect_err(|_| abandon(connection, held))?;
        let mut guests: Vec<(Taken<Write>, Result<()>)> = Vec::new();
        while guests.len() < LARGEST_GROUP
            && guests.try_reserve(1).is_ok()
            && let Some(guest) = turn.take_job(|write| write.rows() <= LARGEST_GUEST_ROWS)
        {
            let done = atomically(connection, guest.job.rows(), || guest.job.apply(connection));
            let lost = done.clone().err().filter(|_| connection.is_autocommit());
            guests.push((guest, done));
            if let Some(error) = lost {
                let error = error.note("SQLite rolled back all that shared this commit; nothing was written");
                guests.into_iter().for_each(|(guest, _)| guest.answer(Err(error.clone())));
                return Err(error);
            }
        }
        let committed = self.commit(held);
        if !guests.is_empty() && committed.as_ref().is_err_and(StoreError::is_of_constraint) {
            return Ok(Err(guests.into_iter().map(|(guest, _)| guest).collect()));
        }
        if committed.is_ok() {
            counters.commits.fetch_add(1, Ordering::Relaxed);
            counters.grouped_writes.fetch_add(guests.len() as u64, Ordering::Relaxed);
        }
        for (guest, done) in guests {
            // One that failed may have met what others wrote in this very commit: it is told so only if that counts.
            let advice = guest.job.advice();
            guest.answer(committed.clone().map_err(|error| advise(error, advice)).and(done));
        }
        committed.map(Ok).map_err(|error| advise(error, own.advice()))
    }

    /// Count in a new transaction or savepoint, and number it.
    pub(crate) fn push_level(&mut self) -> u64 {
        self.last_level += 1;
        self.levels.push(self.last_level);
        self.last_level
    }

    /// Close the connection, rolling back what is open.
    ///
    /// # Errors
    /// [`ErrorKind::FileMoved`] if acknowledged writes may not be found. The connection is closed nevertheless.
    pub(crate) fn close(&mut self) -> Result<()> {
        let Slotted::Open(connection) = std::mem::replace(&mut self.connection, Slotted::Closed) else {
            return Ok(());
        };
        let Some(file) = &self.file else { return Ok(()) };
        file.place.look().map_err(|moved| moved.note(file.place.left_behind()))?;
        // A log does not go into a file that left its place: others may have it by its new name, with another log.
        if file.counters.failed_syncs.load(Ordering::Relaxed) > 0 {
            connection::meet_old_failures(&connection);
        }
        Ok(())
    }

    /// In a forked child: the connection of a store in memory, with nothing open on it. That of a file is given back.
    pub(crate) fn inherited(&mut self) -> Option<Own<Connection>> {
        let Slotted::Open(connection) = std::mem::replace(&mut self.connection, Slotted::Closed) else {
            return None;
        };
        if self.file.is_some() {
            connection::discard(connection);
            return None;
        }
        let connection = connection.adopt();
        roll_back(&connection);
        Some(connection)
    }
}
