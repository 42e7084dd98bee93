//! The one writer of a store: group commit for plain calls, and what explicit transactions do their work on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Owner;
use crate::sqlite::engine::checkpointer::{self, Checkpointer};
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::engine::heartbeats::{Heartbeats, Held};
use crate::sqlite::engine::queue::{Admission, Queue, Taken, Turn};
use crate::sqlite::engine::write::Write;
use crate::sqlite::file::connection::{self, Synchronous};
use crate::sqlite::file::control::{atomically, execute, roll_back};
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::gate;
use crate::sqlite::file::gate::Inside;
use crate::sqlite::file::place::Place;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::tables::references;
use crate::sync::lock;

/// A batch of more rows than this commits on its own, so that a group stays quick for all who are in it.
const LARGEST_GUEST_ROWS: usize = 64;

/// The most calls that share one commit.
const LARGEST_GROUP: usize = 256;

/// The writing side of a store.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue<Write>>,
    /// Locked by whoever has the turn or owns the transaction; of a store in memory, only inside the fork's gate.
    slot: Mutex<Slot>,
    file: Option<File>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) heartbeats: Arc<Heartbeats>,
}

/// What a writer knows of its file; a store in memory has none.
pub(crate) struct File {
    pub(crate) place: Arc<Place>,
    pub(crate) synchronous: Synchronous,
    /// How large the log was after the last commit.
    log_bytes: Arc<AtomicU64>,
    checkpointer: Arc<Checkpointer>,
    counters: Arc<Counters>,
}

/// The connection, and the transaction open on it.
pub(crate) struct Slot {
    connection: Slotted,
    /// The open explicit transaction and the savepoints in it, outermost first.
    pub(crate) levels: Vec<u64>,
    /// SQLite has rolled the open transaction back by itself.
    pub(crate) doomed: bool,
    /// Since when the open transaction holds the file's lock.
    pub(crate) held: Held,
    last_level: u64,
    /// Where the file is, where there is one.
    place: Option<Arc<Place>>,
}

enum Slotted {
    /// Not opened since the fork.
    NotYet,
    Open(Own<Connection>),
    Closed,
}

impl File {
    /// The file at `place`, to be written with this durability.
    pub(crate) fn new(place: Arc<Place>, synchronous: Synchronous) -> Self {
        let counters = Arc::<Counters>::default();
        let checkpointer = Checkpointer::new(Arc::clone(&place), synchronous, Arc::clone(&counters));
        Self { place, synchronous, log_bytes: Arc::default(), checkpointer: Arc::new(checkpointer), counters }
    }

    /// Set a connection up for writing it.
    pub(crate) fn configure(&self, connection: &mut Connection) -> Result<()> {
        connection::configure_writer(connection, self.synchronous)?;
        self.counters.count_syncs(connection)?;
        connection::watch_log(connection, &self.log_bytes)
    }
}

impl Writer {
    /// A writer on an open connection, or on one that is opened when it is first needed.
    pub(crate) fn new(connection: Option<Own<Connection>>, file: Option<File>) -> Self {
        let connection = connection.map_or(Slotted::NotYet, Slotted::Open);
        let slot = Slot {
            connection,
            levels: Vec::new(),
            doomed: false,
            held: Held::begin(),
            last_level: 0,
            place: file.as_ref().map(|file| Arc::clone(&file.place)),
        };
        let counters = file.as_ref().map_or_else(Arc::default, |file| Arc::clone(&file.counters));
        let heartbeats = Arc::default();
        Self { queue: Arc::new(Queue::new()), slot: Mutex::new(slot), file, counters, heartbeats }
    }

    /// Do `write` and commit it, together with what other threads bring meanwhile.
    pub(crate) fn write(&self, write: Write, owner: Owner, wait: &mut Wait) -> Result<()> {
        let admission = self.queue.enter(Some(write), owner, wait)?;
        self.write_admitted(admission, wait)
    }

    fn write_admitted(&self, admission: Admission<Write>, wait: &mut Wait) -> Result<()> {
        match admission {
            Admission::Turn(turn, Some(write)) => {
                let together = {
                    let (_gate, mut slot, held) = self.begun(wait)?;
                    slot.open(self)?;
                    slot.commit_group(held, &turn, &write, &self.counters)?
                };
                together.or_else(|apart| self.write_apart(&write, apart, wait))
            }
            Admission::Turn(_, None) | Admission::Done => Ok(()),
        }
    }

    /// Do what could not be committed together: what keeps one of them from it is no concern of the others. Of a batch
    /// in slices nothing comes again: it counts as abandoned, so that its caller brings all of it at once.
    fn write_apart(&self, own: &Write, guests: Vec<Taken<Write>>, wait: &mut Wait) -> Result<()> {
        let alone = |write: &Write, wait: &mut Wait| {
            let done = self.transact_here(wait, |connection| write.apply(connection));
            done.map_err(|error| advise(error, write.advice()))
        };
        let done = alone(own, wait);
        for guest in guests {
            let answer = alone(&guest.job, &mut wait.of_another());
            guest.answer(answer);
        }
        done
    }

    /// Before a transaction: wait while the log is too large and being checkpointed.
    pub(crate) fn throttle(&self, wait: &Wait) -> Result<()> {
        self.file
            .as_ref()
            .map_or(Ok(()), |file| file.checkpointer.throttle(file.log_bytes.load(Ordering::Relaxed), wait))
    }

    /// After a commit: have the log checkpointed if it is worth it.
    pub(crate) fn relieve_log(self: &Arc<Self>) {
        if let (Some(file), false) = (&self.file, self.queue.is_inherited()) {
            file.checkpointer.relieve(&self.queue, file.log_bytes.load(Ordering::Relaxed));
        }
    }

    /// Wait for the checkpoint that is under way: for whoever writes much and is in no hurry, before asking for the
    /// turn. What is written meanwhile would have to be checkpointed in the turn, while others wait.
    pub(crate) fn wait_for_checkpoint(&self, wait: &Wait) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.checkpointer.wait_for_checkpoint(wait))
    }

    /// Checkpoint the log and empty it; `false` where the wait ended before all of it was.
    pub(crate) fn empty_log(&self, owner: Owner, wait: &mut Wait) -> Result<bool> {
        self.file.as_ref().map_or(Ok(true), |file| file.checkpointer.empty_log(&self.queue, owner, wait))
    }

    /// Open the connection; `open` is given the file. For the store that owns this, before anyone else uses it.
    pub(crate) fn open_with(&self, open: impl FnOnce(&File) -> Result<Connection>) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        self.with_slot(|slot| {
            let connection = open(file)?;
            file.place.remember_log()?;
            slot.connection = Slotted::Open(Own::new(connection));
            Ok(())
        })
    }

    /// Do `work` with the connection. For whoever has the turn.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(|slot| work(slot.open(self)?))
    }

    /// Do `work` with the slot. For whoever has the turn, or ends a transaction.
    pub(crate) fn with_slot<T>(&self, work: impl FnOnce(&mut Slot) -> Result<T>) -> Result<T> {
        let _gate = self.gate();
        work(&mut lock(&self.slot))
    }

    /// Do `work` with the connection of the caller's own open transaction.
    pub(crate) fn inside<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(|slot| {
            slot.refuse_doomed()?;
            let connection = slot.open(self)?;
            work(connection).map_err(|error| {
                if slot.connection().is_some_and(|connection| !connection.is_autocommit()) {
                    return error;
                }
                slot.doomed = true;
                error.note("SQLite rolled back the whole transaction; nothing of it is written")
            })
        })
    }

    /// Do `write` within the caller's own open transaction; if it fails it is undone alone.
    pub(crate) fn write_inside(&self, write: &Write) -> Result<()> {
        self.inside(|connection| atomically(connection, write.rows(), || write.apply(connection)))
    }

    /// Do `work` in a transaction of its own and commit it; or within the caller's open one, where it is undone alone
    /// if it fails. For writes that are rare, or return something: [`Self::write`] shares commits.
    pub(crate) fn transact<T>(
        &self,
        owner: Owner,
        wait: &mut Wait,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        if self.queue.is_owned_by(owner) {
            return self.inside(|connection| atomically(connection, usize::MAX, || work(connection)));
        }
        let _turn = self.queue.enter(None, owner, wait)?;
        self.transact_here(wait, work)
    }

    /// Do `work` in a transaction of its own and commit it. For whoever has the turn.
    fn transact_here<T>(&self, wait: &mut Wait, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let (_gate, mut slot, held) = self.begun(wait)?;
        let connection = slot.open(self)?;
        let done = work(connection).inspect_err(|_| abandon(connection, held))?;
        slot.commit(held)?;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(done)
    }

    /// The slot, once SQLite's lock is had and a transaction begun: only that is waited for, so that what was begun
    /// is never begun again.
    fn begun(&self, wait: &mut Wait) -> Result<(Option<Inside>, MutexGuard<'_, Slot>, Held)> {
        self.throttle(wait)?;
        wait.until_free(|| {
            let gate = self.gate();
            let mut slot = lock(&self.slot);
            let held = begin(slot.open(self)?)?;
            Ok((gate, slot, held))
        })
    }

    /// Close the connection, rolling back what is open, and let nobody in any more.
    ///
    /// # Errors
    /// [`ErrorKind::FileMoved`] where what was acknowledged may not be found. It is closed all the same.
    pub(crate) fn close(&self) -> Result<()> {
        self.queue.close();
        self.heartbeats.stop();
        if let Some(file) = &self.file {
            file.checkpointer.stop();
        }
        let _gate = self.gate();
        let mut slot = lock(&self.slot);
        let mut in_place = Ok(());
        if slot.connection().is_some()
            && let Some(place) = &slot.place
        {
            in_place = place.look().map_err(|moved| moved.note(place.left_behind()));
        }
        // A log does not go into a file that left its place: others may have it by its new name, with another log.
        if in_place.is_ok()
            && self.counters.failed_syncs.load(Ordering::Relaxed) > 0
            && let Some(connection) = slot.connection()
        {
            checkpointer::meet_old_failures(connection);
        }
        slot.connection = Slotted::Closed;
        in_place
    }

    /// Fail if the file is no longer where it was. For whoever has the turn, and is about to write.
    pub(crate) fn look(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.place.look())
    }

    /// The fork's gate, for a store in memory: a child goes on with its connection.
    fn gate(&self) -> Option<Inside> {
        self.file.is_none().then(|| gate::MEMORY.enter())
    }

    /// In a forked child: the connection of a store in memory, with nothing open on it, unless it was in use; of others
    /// what nobody was using is given back.
    pub(crate) fn inherited(&self) -> Option<Own<Connection>> {
        if let Some(file) = &self.file {
            file.checkpointer.discard_inherited();
        }
        let mut slot = self.slot.try_lock().ok()?;
        let Slotted::Open(connection) = std::mem::replace(&mut slot.connection, Slotted::Closed) else {
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

impl Slot {
    fn open(&mut self, writer: &Writer) -> Result<&mut Connection> {
        if let (Slotted::NotYet, Some(file)) = (&self.connection, &writer.file) {
            let mut connection = file.place.confirm_opened(connection::open_file(&file.place.path))?;
            file.configure(&mut connection)?;
            file.place.remember_log()?;
            self.connection = Slotted::Open(Own::new(connection));
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

    /// Fail when SQLite has rolled the open transaction back.
    pub(crate) fn refuse_doomed(&self) -> Result<()> {
        if self.doomed {
            return Err(StoreError::new(
                ErrorKind::TransactionDoomed,
                "SQLite rolled the whole transaction back by itself after an earlier error; nothing of it is written; leave it and begin again",
            ));
        }
        Ok(())
    }

    /// Begin an explicit transaction of this thread.
    pub(crate) fn begin(&mut self, writer: &Writer) -> Result<u64> {
        self.look()?;
        let connection = self.open(writer)?;
        let held = begin(connection)?;
        self.held = held;
        self.doomed = false;
        self.levels.clear();
        Ok(self.push_level())
    }

    /// Fail if the file is no longer where it was. Once the connection is closed, its log may go.
    fn look(&self) -> Result<()> {
        match (&self.connection, &self.place) {
            (Slotted::Open(_), Some(place)) => place.look(),
            _ => Ok(()),
        }
    }

    /// Commit, if the file is still where it was: to one that is not, nothing is written, so that nothing is
    /// acknowledged that nobody would find. As [`commit`] does it.
    pub(crate) fn commit(&mut self, held: Held) -> Result<()> {
        let in_place = self.look();
        let connection = self.connection().ok_or_else(StoreError::closed)?;
        if let Err(moved) = in_place {
            roll_back(connection);
            return Err(moved.note("nothing was written"));
        }
        commit(connection, held)
    }

    /// In the transaction that was begun, do `own` and the jobs of those who wait next, and commit them with one sync.
    ///
    /// Each caller is answered once its own is on disk; one that fails is undone alone. Where a constraint that is
    /// looked at last forbids to commit them, nothing is written, and those who are returned want to be written apart.
    fn commit_group(
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
}

/// Take the write lock now: a transaction that reads first and writes later can find itself unable to
/// (<https://www.sqlite.org/rescode.html#busy_snapshot>).
pub(crate) fn begin(connection: &Connection) -> Result<Held> {
    execute(connection, "BEGIN IMMEDIATE")?;
    Ok(Held::begin())
}

/// Roll back what was begun.
pub(crate) fn abandon(connection: &Connection, held: Held) {
    roll_back(connection);
    make_up(connection, held);
}

/// After the file's lock was held for long, and given back otherwise than by [`commit`]: give the signs of life that
/// could not be given. For whoever has the turn.
pub(crate) fn make_up(connection: &Connection, held: Held) {
    if held.is_long() && begin(connection).is_ok() {
        // Whoever recovers runs gives them a moment, if this does not.
        let made_up = held.make_up(connection).and_then(|()| execute(connection, "COMMIT"));
        made_up.unwrap_or_else(|_| roll_back(connection));
    }
}

/// Commit. On failure nothing is left open, and the error says whether anything may be written.
fn commit(connection: &Connection, held: Held) -> Result<()> {
    // That no sign of life can be given is no reason to lose the rest, unless SQLite has rolled all of it back.
    if let Err(error) = held.make_up(connection)
        && connection.is_autocommit()
    {
        return Err(error.note("nothing was written"));
    }
    execute(connection, "COMMIT").map_err(|error| {
        roll_back(connection);
        match error.kind {
            ErrorKind::DiskFull | ErrorKind::StoreBusy | ErrorKind::ReadOnly => {
                error.note("nothing was written")
            }
            ErrorKind::InvalidValue => references::why_unmet(connection, error).note("nothing was written"),
            // A failed sync leaves a whole transaction in the log, and the next opening may well find it.
            _ => error
                .of_kind(ErrorKind::CommitOutcomeUnknown)
                .note("the commit failed, and whether it is on disk is unknown"),
        }
    })
}

/// Tell a caller who cannot know whether it was committed what to do.
pub(crate) fn advise(error: StoreError, advice: &str) -> StoreError {
    if error.kind == ErrorKind::CommitOutcomeUnknown { error.note(advice) } else { error }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::model::caller::Caller;
    use crate::sqlite::calls::opening;
    use crate::sqlite::file::migrations;
    use crate::sqlite::tables::decisions::NewDecision;

    /// A store in memory, where a row forbids that the decision on the item `held` changes.
    fn writer() -> Writer {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
                 VALUES ('r', 't', '', 'running', '{}');
                 INSERT INTO intel_items SELECT value, 'r', '', '', '', '', '', '', '', '', 'old', NULL, '', NULL
                 FROM json_each('[\"held\", \"a\", \"b\", \"c\"]');
                 CREATE UNIQUE INDEX own ON intel_items(item_id, decision);
                 CREATE TABLE labels(i, d, FOREIGN KEY (i, d) REFERENCES intel_items(item_id, decision)
                     DEFERRABLE INITIALLY DEFERRED);
                 INSERT INTO labels VALUES ('held', 'old')",
            )
            .unwrap();
        Writer::new(Some(Own::new(connection)), None)
    }

    fn decide(item_id: &str) -> Write {
        Write::Decide(NewDecision { item_id: item_id.into(), decision: Some("new".into()), reason: None })
    }

    /// Have these wait in a queue, each in a thread of its own, until the first of them does the work of all.
    fn write_together(writer: &Writer, item_ids: &[&str]) -> Vec<Result<()>> {
        let wait = || Wait::new(Caller::thread(), Duration::from_secs(60));
        let turn = writer.queue.enter(None, Owner::thread(), &wait()).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> = item_ids
                .iter()
                .map(|item_id| {
                    let (in_line, waits) = mpsc::channel();
                    let thread = scope.spawn(move || {
                        let mut wait = wait();
                        let job = Some(decide(item_id));
                        let admission = writer.queue.enter_and_tell(job, Owner::thread(), &wait, || {
                            in_line.send(()).unwrap();
                        });
                        writer.write_admitted(admission?, &mut wait)
                    });
                    waits.recv().unwrap();
                    thread
                })
                .collect();
            drop(turn);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// A constraint that is looked at when all are committed is no concern of those who share the commit.
    #[test]
    fn what_cannot_be_committed_fails_alone_whoever_commits() {
        for item_ids in [["held", "a", "b", "c"], ["a", "held", "b", "c"], ["a", "b", "c", "held"]] {
            let writer = writer();
            for (item_id, done) in item_ids.iter().zip(write_together(&writer, &item_ids)) {
                if *item_id != "held" {
                    done.unwrap();
                    continue;
                }
                let error = done.unwrap_err();
                assert_eq!(error.kind, ErrorKind::InvalidValue);
                assert!(error.to_string().contains("(labels)"), "{error}");
                assert!(error.to_string().ends_with("nothing was written"), "{error}");
            }
            let decided = "SELECT count(*) FROM intel_items WHERE decision = 'new'";
            let decided: i64 =
                writer.with(|connection| Ok(connection.query_row(decided, [], |row| row.get(0))?)).unwrap();
            assert_eq!(decided, 3);
        }
    }

    /// Not even where syncs failed, of which the one that closes is told by a checkpoint of its own.
    #[test]
    fn closing_checkpoints_nothing_into_a_file_that_left_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["state.db", "moved.db"].map(|name| folder.path().join(name));
        std::fs::write(&path, b"").unwrap();
        let place = Arc::new(Place::new(path.clone()).unwrap());
        let writer = Writer::new(None, Some(File::new(place, Synchronous::Normal)));
        writer.open_with(opening::open_writer).unwrap();
        writer.with(|connection| execute(connection, "CREATE TABLE own(x)")).unwrap();
        writer.counters.failed_syncs.store(1, Ordering::Relaxed);
        std::fs::rename(&path, &moved).unwrap();
        let before = std::fs::read(&moved).unwrap();
        assert_eq!(writer.close().unwrap_err().kind, ErrorKind::FileMoved);
        assert!(std::fs::read(&moved).unwrap() == before);
    }

    #[test]
    fn those_who_wait_together_share_a_commit() {
        let writer = writer();
        assert!(write_together(&writer, &["a", "b", "c"]).iter().all(Result::is_ok));
        assert_eq!(writer.counters.commits.load(Ordering::Relaxed), 1);
        assert_eq!(writer.counters.grouped_writes.load(Ordering::Relaxed), 2);
    }
}
