//! The facade of the core: one writer, a pool of readers, one file. The calls are in the submodules, by subject.

mod forked;
mod intel_items;
pub(crate) mod opening;
mod runs;
mod telemetry;
mod upkeep;
mod workers;

pub use upkeep::Checkpointed;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use self::opening::Options;
use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::engine::adhoc;
use crate::sqlite::engine::commit;
use crate::sqlite::engine::pool::Pool;
use crate::sqlite::engine::transaction::Transaction;
use crate::sqlite::engine::worker::Panicked;
use crate::sqlite::engine::write::Write;
use crate::sqlite::engine::writer::Writer;
use crate::sqlite::file::place::{self, Links, Place};
use crate::sqlite::file::trace::{Trace, Traced};
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::clock::Clock;

/// Runs, intel items and telemetry in one SQLite file. Share it freely between threads.
///
/// # Examples
/// ```
/// use orchestrator_state_store::{Caller, NewRun, Options, Store, now};
///
/// let store = Store::open_in_memory(Options::default())?;
/// let run = NewRun {
///     run_id: "run-1".into(),
///     run_type: "daily".into(),
///     started_at: now(),
///     settings_snapshot_json: b"{}".to_vec(),
/// };
/// store.start_run(&Caller::thread(), run)?;
/// # Ok::<(), orchestrator_state_store::StoreError>(())
/// ```
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` for a store in memory.
    path: Option<PathBuf>,
    options: Options,
    closed: AtomicBool,
    clock: Clock,
    /// `None` for a store in memory.
    links: Option<Arc<Links>>,
    /// Replaced in a forked child. Locked only inside the fork's gate.
    current: Mutex<Arc<Connections>>,
}

/// A process's own connections.
struct Connections {
    /// `None` for a store in memory.
    place: Option<Arc<Place>>,
    /// `None` for a store that is only read.
    writer: Option<Arc<Writer>>,
    /// `None` for a store in memory, which has one connection.
    pool: Option<Pool>,
    /// Why this store cannot be used in the forked child that this process is.
    lost: Option<StoreError>,
    trace: Trace,
    panicked: Arc<Panicked>,
    generation: u64,
}

/// The author of the SQL of a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sql {
    Ours,
    Callers,
}

impl Store {
    /// The file, made absolute; `None` for a store in memory.
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// What to warn the user of, once: the file was seen to have several names.
    pub fn warning(&self) -> Option<String> {
        let is_new = self.shared.links.as_ref().is_some_and(|links| links.are_news());
        self.path().filter(|_| is_new).map(|path| place::several_names(path, "several"))
    }

    /// Whether the store is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Take what was traced since the last time: nothing, unless [`Options::trace_sql`] is set. A forked child has what it
    /// ran itself.
    pub fn take_traced(&self) -> Traced {
        self.shared.current().trace.take()
    }

    /// Begin a transaction, or a savepoint within the caller's own.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::ReadOnly`],
    /// [`ErrorKind::TransactionDoomed`].
    pub fn begin(&self, caller: &Caller) -> Result<Transaction> {
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        self.writer()
            .and_then(|writer| Transaction::begin(&writer, caller.owner, &mut wait))
            .map_err(|error| error.during("transaction"))
    }

    /// Whether the caller has a transaction open.
    pub fn is_in_transaction(&self, caller: &Caller) -> bool {
        self.writer().is_ok_and(|writer| writer.queue.is_owned_by(caller.owner))
    }

    /// Close every connection; what is open is rolled back. Closing again does nothing.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`] or [`ErrorKind::Interrupted`] when the wait for running reads ended first. The store is
    /// closed nevertheless; their connections end with the process. [`ErrorKind::FileMoved`] when a file that was
    /// written is no longer where it was: acknowledged writes may not be found.
    pub fn close(&self, caller: &Caller) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        let current = self.shared.current();
        let wait = Wait::new(*caller, self.shared.options.busy_timeout);
        // The writer is the last to go: it is the one that may checkpoint the log and delete it.
        let readers_gone = current.pool.as_ref().map_or(Ok(()), |pool| pool.close(&wait));
        // In a child that was forked during that wait it is the parent's.
        let writer = current.writer.as_ref().filter(|_| !current.is_inherited());
        let in_place = writer.map_or(Ok(()), |writer| writer.close());
        readers_gone.and(in_place).map_err(|error| error.during("close"))
    }

    /// Do `write` in the caller's own transaction, or with what others write meanwhile.
    pub(crate) fn write(&self, caller: &Caller, write: Write) -> Result<()> {
        let what = write.describe();
        let done = self.writer().and_then(|writer| {
            if writer.queue.is_owned_by(caller.owner) {
                return writer.write_inside(&write);
            }
            let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
            writer.write(write, caller.owner, &mut wait)?;
            writer.relieve_log();
            Ok(())
        });
        done.map_err(|error| error.during(what))
    }

    /// Do `work` in a transaction of its own, or within the caller's. `advice` is for a caller who cannot know
    /// whether it was committed.
    pub(crate) fn transact<T>(
        &self,
        caller: &Caller,
        what: impl FnOnce() -> String,
        advice: &str,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        self.writer()
            .and_then(|writer| {
                let done = writer.transact(caller.owner, &mut wait, work);
                writer.relieve_log();
                done.map_err(|error| commit::advise(error, advice))
            })
            .map_err(|error| error.during(what()))
    }

    /// Read from the pool, or from the caller's own transaction so that it sees what it wrote.
    pub(crate) fn read<T>(
        &self,
        caller: &Caller,
        whose: Sql,
        read: impl Fn(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.read_by(&*self.connections()?, caller, whose, read)
    }

    fn read_by<T>(
        &self,
        current: &Connections,
        caller: &Caller,
        whose: Sql,
        read: impl Fn(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        // A reader is restricted for good. The writer is so for the while, which makes it prepare all its
        // statements again: only for SQL that needs it.
        let by_writer = |writer: &Writer, connection: &mut Connection| {
            if whose == Sql::Ours {
                return read(connection);
            }
            adhoc::restrict(connection)?;
            let result = read(connection);
            writer.unrestrict(connection)?;
            result
        };
        if let Some(writer) = &current.writer
            && writer.queue.is_owned_by(caller.owner)
        {
            return writer.inside(|connection| by_writer(writer, connection));
        }
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        match (&current.place, &current.pool, &current.writer) {
            (Some(place), Some(pool), _) => pool.read(place, &mut wait, read),
            (_, _, Some(writer)) => {
                let _turn = writer.queue.enter(None, caller.owner, &wait)?;
                writer.with(|connection| by_writer(writer, connection))
            }
            _ => Err(StoreError::closed()),
        }
    }

    /// Fail inside the caller's own transaction.
    fn refuse_inside(&self, caller: &Caller, why: &str) -> Result<()> {
        match &self.connections()?.writer {
            Some(writer) if writer.queue.is_owned_by(caller.owner) => {
                Err(StoreError::new(ErrorKind::Transaction, format!("{why}: leave the transaction first")))
            }
            _ => Ok(()),
        }
    }

    fn writer(&self) -> Result<Arc<Writer>> {
        let current = self.connections()?;
        current.writer.clone().ok_or_else(|| {
            StoreError::new(
                ErrorKind::ReadOnly,
                "the store was opened with read_only=True; nothing was changed",
            )
        })
    }

    /// The connections of this process.
    fn connections(&self) -> Result<Arc<Connections>> {
        let current = self.whatever_connections()?;
        current.panicked.check()?;
        Ok(current)
    }

    /// The connections of this process, also where a worker thread has panicked.
    fn whatever_connections(&self) -> Result<Arc<Connections>> {
        if self.is_closed() {
            return Err(StoreError::closed());
        }
        let current = self.shared.current();
        match &current.lost {
            Some(why) => Err(why.clone()),
            None => Ok(current),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // There is no caller to tell, and no reader.
        let _ = self.close(&Caller::thread());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::NewRun;
    use crate::sqlite::engine::adhoc::Parameters;
    use crate::sqlite::tables::runs;

    fn run(run_id: &str, settings: &str) -> NewRun {
        let settings_snapshot_json = format!("{settings:?}").into_bytes();
        NewRun {
            run_id: run_id.into(),
            run_type: "t".into(),
            started_at: "now".into(),
            settings_snapshot_json,
        }
    }

    #[test]
    fn a_full_disk_dooms_the_transaction_that_meets_it() {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let me = Caller::thread();
        store
            .writer()
            .unwrap()
            .with(|memory| Ok(memory.pragma_update(None, "max_page_count", 100)?))
            .unwrap();
        let big = "x".repeat(100_000);
        let transaction = store.begin(&me).unwrap();
        let error = (0..100).find_map(|n| store.start_run(&me, run(&n.to_string(), &big)).err()).unwrap();
        assert_eq!(error.kind, ErrorKind::DiskFull);
        let doomed = |error: StoreError| assert_eq!(error.kind, ErrorKind::TransactionDoomed);
        doomed(store.start_run(&me, run("later", "")).unwrap_err());
        doomed(store.list_intel_items_for_run(&me, "r").unwrap_err());
        doomed(store.begin(&me).err().unwrap());
        doomed(transaction.commit().unwrap_err());
        let runs = "SELECT * FROM runs";
        assert_eq!(store.query(&me, runs, &Parameters::Positional(Vec::new())).unwrap().rows.len(), 0);
        store.start_run(&me, run("later", "")).unwrap();
    }

    #[test]
    fn a_worker_thread_that_panics_is_told_by_each_call_until_the_store_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let me = Caller::thread();
        let beats =
            |store: &Store| store.writer().unwrap().heartbeats.begin("r", |_, _| panic!("on purpose"));
        let works = |store: &Store| {
            let done =
                store.on_worker("list-reader", &me, &|| false, |_, _| -> Result<()> { panic!("on purpose") });
            assert!(done.unwrap_err().to_string().contains("list-reader panicked in this call"));
        };
        for (thread, work) in [("heartbeats", &beats as &dyn Fn(&Store)), ("list-reader", &works)] {
            let store = Store::open(&path, Options::default(), &me).unwrap();
            let transaction = store.begin(&me).unwrap();
            store.start_run(&me, run(thread, "")).unwrap();
            assert_eq!(store.stats(&me).unwrap().panicked, None);
            work(&store);
            while store.stats(&me).unwrap().panicked.is_none() {}
            let told = store.start_run(&me, run("later", "")).unwrap_err().to_string();
            let what =
                format!("the worker thread {thread} panicked, and this call has written nothing since");
            assert!(told.contains(&what), "{told}");
            assert!(store.begin(&me).is_err_and(|error| error.kind == ErrorKind::Other));
            assert!(
                store.list_intel_items_for_run(&me, "r").is_err_and(|error| error.kind == ErrorKind::Other)
            );
            // What was open before is decided by whoever opened it.
            transaction.commit().unwrap();
            store.close(&me).unwrap();
            let store = Store::open(&path, Options::default(), &me).unwrap();
            assert_eq!(store.stats(&me).unwrap().panicked, None);
            assert_eq!(store.get_run(&me, thread).unwrap().len(), 1);
            assert_eq!(store.get_run(&me, "later").unwrap().len(), 0);
        }
    }

    #[test]
    fn half_of_what_panicked_is_not_committed_with_the_rest_of_its_transaction() {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let me = Caller::thread();
        let transaction = store.begin(&me).unwrap();
        store.start_run(&me, run("before", "")).unwrap();
        let half = |connection: &mut Connection| -> Result<()> {
            runs::insert(connection, &run("half", "")).unwrap();
            panic!("on purpose")
        };
        let work = |_: &Caller, _: &Arc<AtomicBool>| store.writer()?.inside(half);
        store.on_worker("batch-writer", &me, &|| false, work).unwrap_err();
        assert_eq!(transaction.commit().unwrap_err().kind, ErrorKind::TransactionDoomed);
        assert!(store.stats(&me).unwrap().runs_by_status.is_empty());
    }

    #[test]
    fn a_full_disk_in_a_plain_call_leaves_nothing_open() {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let me = Caller::thread();
        store.writer().unwrap().with(|memory| Ok(memory.pragma_update(None, "max_page_count", 20)?)).unwrap();
        let error = store.start_run(&me, run("big", &"x".repeat(500_000))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::DiskFull);
        store.start_run(&me, run("small", "")).unwrap();
    }
}
