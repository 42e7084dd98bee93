//! The one writer of a store: group commit for plain calls, and the connection of explicit transactions.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result};
use crate::model::caller::Owner;
use crate::sqlite::engine::adhoc;
use crate::sqlite::engine::commit::{abandon, advise, begin};
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::engine::heartbeats::{Heartbeats, Held};
use crate::sqlite::engine::holders;
use crate::sqlite::engine::queue::{Admission, Queue, Taken};
use crate::sqlite::engine::slot::Slot;
use crate::sqlite::engine::write::Write;
use crate::sqlite::engine::written_file::WrittenFile;
use crate::sqlite::file::control::{atomically, roll_back};
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::gate;
use crate::sqlite::file::gate::Inside;
use crate::sqlite::file::platform::FileId;
use crate::sqlite::file::wait::Wait;
use crate::sync::lock;

/// The writing side of a store.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue<Write>>,
    /// Locked by the holder of the turn or the owner of the transaction; of a store in memory, only inside the fork's
    /// gate.
    slot: Mutex<Slot>,
    file: Option<Arc<WrittenFile>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) heartbeats: Heartbeats,
}

/// The slot with a transaction that was begun; none is open any more once this is dropped.
struct Begun<'a> {
    slot: MutexGuard<'a, Slot>,
    held: Held,
    _gate: Option<Inside>,
}

impl Drop for Begun<'_> {
    /// Whoever panics must not keep the file locked: other processes write to it.
    fn drop(&mut self) {
        if let Some(connection) = self.slot.connection() {
            roll_back(connection);
        }
    }
}

impl Writer {
    /// A writer on an open connection, or on one that is opened when it is first needed.
    pub(crate) fn new(connection: Option<Own<Connection>>, file: Option<WrittenFile>) -> Self {
        let file = file.map(Arc::new);
        let slot = Slot::new(connection, file.clone());
        let counters = file.as_ref().map_or_else(Arc::default, |file| Arc::clone(&file.counters));
        let heartbeats = Heartbeats::new(Arc::clone(&counters.panicked));
        Self { queue: Arc::new(Queue::new()), slot: Mutex::new(slot), file, counters, heartbeats }
    }

    /// Do `write` and commit it, together with writes of other threads that arrive meanwhile.
    pub(crate) fn write(&self, write: Write, owner: Owner, wait: &mut Wait) -> Result<()> {
        let admission = self.queue.enter(Some(write), owner, wait)?;
        self.write_admitted(admission, wait)
    }

    fn write_admitted(&self, admission: Admission<Write>, wait: &mut Wait) -> Result<()> {
        match admission {
            Admission::Turn(turn, Some(write)) => {
                let together = {
                    let mut begun = self.begun(wait)?;
                    let held = begun.held;
                    begun.slot.commit_group(held, &turn, &write, &self.counters)?
                };
                together.or_else(|apart| self.write_apart(&write, apart, wait))
            }
            Admission::Turn(_, None) | Admission::Done => Ok(()),
        }
    }

    /// Commit one by one the writes that could not be committed together, so that only the one that fails is refused. A
    /// batch in slices cannot be repeated: it counts as abandoned, and its caller writes it as a whole.
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
        if let Some(file) = &self.file {
            file.checkpointer.throttle(file.log_bytes(), wait)?;
        }
        self.counters.panicked.check()
    }

    /// After a commit: have the log checkpointed if it is worth it.
    pub(crate) fn relieve_log(self: &Arc<Self>) {
        if let (Some(file), false) = (&self.file, self.queue.is_inherited()) {
            file.checkpointer.relieve(&self.queue, file.log_bytes());
        }
    }

    /// Wait for the running checkpoint, before asking for the turn: for large writes that are in no hurry. Frames that
    /// they wrote during the checkpoint would have to be checkpointed in its turn, while others wait.
    pub(crate) fn wait_for_checkpoint(&self, wait: &Wait) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.checkpointer.wait_for_checkpoint(wait))
    }

    /// Checkpoint the log and empty it; `false` where the wait ended before all of it was.
    pub(crate) fn empty_log(&self, owner: Owner, wait: &mut Wait) -> Result<bool> {
        self.file.as_ref().map_or(Ok(true), |file| file.checkpointer.empty_log(&self.queue, owner, wait))
    }

    /// Open the connection; `open` is given the file. For the store that owns this, before anyone else uses it.
    pub(crate) fn open_with(&self, open: impl FnOnce(&WrittenFile) -> Result<Connection>) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        self.with_slot(|slot| {
            let connection = open(file)?;
            file.place.remember_log()?;
            slot.put(connection);
            Ok(())
        })
    }

    /// Do `work` with the connection. Only the holder of the turn calls this.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(|slot| work(slot.open()?))
    }

    /// Do `work` with the slot. For the holder of the turn, or the end of a transaction.
    pub(crate) fn with_slot<T>(&self, work: impl FnOnce(&mut Slot) -> Result<T>) -> Result<T> {
        let _gate = self.gate();
        work(&mut lock(&self.slot))
    }

    /// Do `work` with the connection of the caller's own open transaction.
    pub(crate) fn inside<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.with_slot(|slot| {
            slot.refuse_doomed()?;
            slot.open()?;
            // It stays so where `work` panics, having done half of it.
            slot.doomed = true;
            let done = slot.open().and_then(work);
            let is_open = slot.connection().is_some_and(|connection| !connection.is_autocommit());
            slot.doomed = done.is_err() && !is_open;
            done.map_err(|error| match is_open {
                true => error,
                false => error.note("SQLite rolled back the whole transaction; nothing of it is written"),
            })
        })
    }

    /// Let its connection prepare anything again, after [`adhoc::restrict`].
    pub(crate) fn unrestrict(&self, connection: &mut Connection) -> Result<()> {
        match &self.file {
            Some(file) => file.schema.watch(connection),
            None => adhoc::unrestrict(connection),
        }
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

    /// Do `work` in a transaction of its own and commit it, and no more: a long one else records the heartbeats that it has
    /// kept from others, in rows that are to stay as they are.
    pub(crate) fn transact_alone<T>(
        &self,
        owner: Owner,
        wait: &mut Wait,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let _turn = self.queue.enter(None, owner, wait)?;
        let Begun { slot, .. } = &mut self.begun(wait)?;
        let done = work(slot.open()?)?;
        slot.commit(Held::begin())?;
        Ok(done)
    }

    /// Do `work` in a transaction of its own and commit it. Only the holder of the turn calls this.
    fn transact_here<T>(&self, wait: &mut Wait, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let Begun { slot, held, .. } = &mut self.begun(wait)?;
        let connection = slot.open()?;
        let done = work(connection).inspect_err(|_| abandon(connection, *held))?;
        slot.commit(*held)?;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(done)
    }

    /// The slot, once SQLite's lock is had and a transaction begun: only that is waited for, so that what was begun
    /// is never begun again.
    fn begun(&self, wait: &mut Wait) -> Result<Begun<'_>> {
        self.throttle(wait)?;
        self.until_free(wait, || {
            let gate = self.gate();
            let mut slot = lock(&self.slot);
            let held = begin(slot.open()?)?;
            Ok(Begun { slot, held, _gate: gate })
        })
    }

    /// Do `attempt`, which needs the file's write lock, until it is anything but busy; other processes have their turns.
    /// Fail at once where this very thread holds the lock. `attempt` must leave nothing locked behind it.
    pub(crate) fn until_free<T>(&self, wait: &mut Wait, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let thread = wait.thread();
        let attempt = || match attempt() {
            Err(busy) if busy.kind == ErrorKind::StoreBusy => match self.refuse_own_file(thread) {
                Ok(()) => Err(busy),
                Err(own) => Ok(Err(own)),
            },
            done => done.map(Ok),
        };
        match &self.file {
            Some(file) => file.turnstile.until_free(&file.place, wait, attempt),
            None => wait.until_free(attempt),
        }?
    }

    /// Fail where a transaction of this thread holds the file, by another store.
    pub(crate) fn refuse_own_file(&self, thread: u64) -> Result<()> {
        self.file_id().map_or(Ok(()), |file| holders::refuse_own(file, thread))
    }

    /// Which file is written; `None` for a store in memory.
    pub(crate) fn file_id(&self) -> Option<FileId> {
        self.file.as_ref().map(|file| file.place.id)
    }

    /// Close the connection, as [`Slot::close`] does, and refuse further writes.
    pub(crate) fn close(&self) -> Result<()> {
        self.queue.close();
        self.heartbeats.stop();
        if let Some(file) = &self.file {
            file.checkpointer.stop();
            file.turnstile.close();
        }
        self.with_slot(Slot::close)
    }

    /// Fail if the file is no longer where it was. The holder of the turn calls this before it writes.
    pub(crate) fn look(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.place.look())
    }

    /// The fork's gate, for a store in memory: a child keeps its connection.
    fn gate(&self) -> Option<Inside> {
        self.file.is_none().then(|| gate::MEMORY.enter())
    }

    /// In a forked child: the connection of a store in memory, with nothing open on it, unless it was in use; of others
    /// the connections that were not in use are freed.
    pub(crate) fn inherited(&self) -> Option<Own<Connection>> {
        if let Some(file) = &self.file {
            file.checkpointer.discard_inherited();
        }
        self.slot.try_lock().ok()?.inherited()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::model::caller::Caller;
    use crate::sqlite::calls::opening;
    use crate::sqlite::file::connection::{self, Synchronous};
    use crate::sqlite::file::control::execute;
    use crate::sqlite::file::migrations;
    use crate::sqlite::file::place::Place;
    use crate::sqlite::file::trace::Trace;
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

    #[test]
    fn a_long_transaction_alone_leaves_the_heartbeats_of_others_as_they_are() {
        let beats = |alone: bool| {
            let writer = writer();
            let long = |connection: &Connection| -> Result<()> {
                connection.execute("UPDATE runs SET status = 'running', started_at = ?", [crate::now()])?;
                let begun = std::time::Instant::now();
                while begun.elapsed() <= Duration::from_millis(1100) {}
                Ok(())
            };
            let (owner, mut wait) = (Owner::thread(), Wait::new(Caller::thread(), Duration::from_secs(60)));
            if alone {
                writer.transact_alone(owner, &mut wait, long)
            } else {
                writer.transact(owner, &mut wait, long)
            }
            .unwrap();
            let count = "SELECT count(heartbeat_at) FROM runs";
            writer
                .with(|connection| Ok(connection.query_row(count, [], |row| row.get::<_, i64>(0))?))
                .unwrap()
        };
        assert_eq!((beats(true), beats(false) > 0), (0, true));
    }

    /// A deferred constraint of one call must not fail the others that share the commit.
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
        let place = Arc::new(Place::new(path.clone(), Trace::default()).unwrap());
        let writer = Writer::new(None, Some(WrittenFile::new(place, Synchronous::Normal)));
        writer.open_with(opening::open_writer).unwrap();
        writer.with(|connection| execute(connection, "CREATE TABLE own(x)")).unwrap();
        writer.counters.failed_syncs.store(1, Ordering::Relaxed);
        std::fs::rename(&path, &moved).unwrap();
        let before = std::fs::read(&moved).unwrap();
        assert_eq!(writer.close().unwrap_err().kind, ErrorKind::FileMoved);
        assert!(std::fs::read(&moved).unwrap() == before);
    }

    /// Or the file would stay locked until the store is closed.
    #[test]
    fn a_panic_leaves_nothing_written_and_no_transaction_open() {
        let writer = writer();
        let mut wait = Wait::new(Caller::thread(), Duration::from_secs(60));
        let panics = || {
            writer.transact(Owner::thread(), &mut wait, |connection| -> Result<()> {
                decide("a").apply(connection)?;
                panic!("on purpose")
            })
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
        let left = writer.with(|connection| {
            let decided = "SELECT decision = 'new' FROM intel_items WHERE item_id = 'a'";
            Ok((connection.is_autocommit(), connection.query_row(decided, [], |row| row.get(0))?))
        });
        assert_eq!(left.unwrap(), (true, false));
    }

    /// SQLite's own error for it is that of a damaged file.
    #[test]
    fn a_transaction_that_was_left_open_is_told_as_what_it_is() {
        let writer = writer();
        writer.with(|connection| execute(connection, "BEGIN")).unwrap();
        let mut wait = Wait::new(Caller::thread(), Duration::from_secs(60));
        let error = writer.write(decide("a"), Owner::thread(), &mut wait).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Other, "{error}");
    }

    #[test]
    fn those_who_wait_together_share_a_commit() {
        let writer = writer();
        assert!(write_together(&writer, &["a", "b", "c"]).iter().all(Result::is_ok));
        assert_eq!(writer.counters.commits.load(Ordering::Relaxed), 1);
        assert_eq!(writer.counters.grouped_writes.load(Ordering::Relaxed), 2);
    }
}
