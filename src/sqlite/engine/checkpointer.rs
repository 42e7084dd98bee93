//! Checkpoints off the caller's path: a thread of the store's own checkpoints the log.
//!
//! A passive checkpoint disturbs no one, but does not bound the log: while others write, some frame is always left, and
//! the log starts over only when all frames are checkpointed and no reader uses it. So each passive checkpoint, which
//! does most of the work, is followed by a turn in the writer's queue that checkpoints the few new frames and has the
//! next write start the log over (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>).

use std::ffi::c_int;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, ffi};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::{Caller, Owner};
use crate::sqlite::engine::background::{Background, BackgroundState, Next};
use crate::sqlite::engine::counters::Counters;
use crate::sqlite::engine::queue::{Admission, Queue};
use crate::sqlite::engine::write::Write;
use crate::sqlite::file::connection::{self, Synchronous};
use crate::sqlite::file::errors;
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::place::Place;
use crate::sqlite::file::wait::Wait;
use crate::sync::lock;

/// Bytes of log that are checkpointed at a time: two syncs each. With more, a batch seldom meets the checkpoint of the
/// one before it; the log takes more of the disk, and longer to recover after a kill (docs/design.md has the figures).
const CHECKPOINT_BYTES: u64 = 48 << 20;

/// Bytes of log from which writers are throttled while it is being checkpointed: neither a slow disk nor other
/// processes must let it grow. The log is cut back to little more ([`connection::configure_writer`]).
const THROTTLE_BYTES: u64 = 60 << 20;

/// How long another process's checkpoint may take before this process writes again nevertheless.
const PASSIVE_WITHIN: Duration = Duration::from_secs(1);

/// How long the turn may last: a long read, or another process's long transaction, keeps the log from starting over.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long it may last if that was not enough, and the log is so large that writers are throttled. All processes reach
/// this at about the same size of the log, and then none writes until the readers have ended.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How often an attempt of that turn tries each lock, a millisecond apart: readers come and go quickly. SQLite keeps
/// other processes from writing while it waits for their readers; between attempts they write, and all of that has to
/// be checkpointed as well.
const LOCK_RETRIES: i32 = 50;

/// How long the thread waits for the turn: as long as a transaction may reasonably last. The wait delays no one.
const TURN_WITHIN: Duration = Duration::from_secs(60);

/// How long the thread stays when nothing is due. A process without it forks without Python's warning of threads.
const IDLE: Duration = Duration::from_secs(1);

/// The checkpoints of one file.
pub(crate) struct Checkpointer {
    thread: Arc<Background<Progress>>,
    connection: Mutex<Option<Own<Connection>>>,
    place: Arc<Place>,
    synchronous: Synchronous,
    counters: Arc<Counters>,
}

/// Where the thread is in its checkpoint, and when the next is due.
#[derive(Default)]
struct Progress {
    /// Bytes of log from which it is checkpointed next.
    due: u64,
    /// Bytes of log when it was last found to be due.
    wanted: Option<u64>,
    /// The passive part is under way, and the turn not asked for yet.
    in_passive: bool,
    /// The thread is at work, from before the passive part until the log can start over.
    busy: bool,
    /// The disk failed the last attempt.
    failed: bool,
}

impl BackgroundState<Progress> {
    /// The passive part is under way, or next. A thread that is busy otherwise waits for the turn, or has it.
    fn is_passive_to_come(&self) -> bool {
        self.is_running() && (self.in_passive || self.wanted.is_some() && !self.busy)
    }
}

impl Checkpointer {
    pub(crate) fn new(place: Arc<Place>, synchronous: Synchronous, counters: Arc<Counters>) -> Self {
        let state = Progress { due: CHECKPOINT_BYTES, ..Progress::default() };
        let thread = Background::new("checkpointer", state, Arc::clone(&counters.panicked));
        Self { thread, connection: Mutex::new(None), place, synchronous, counters }
    }

    /// Have the log checkpointed if it is due, now that it is of `bytes`. The thread is started by the first need; where
    /// there can be none, this one checkpoints. For whoever has committed, and given the turn back.
    pub(crate) fn relieve(self: &Arc<Self>, queue: &Arc<Queue<Write>>, bytes: u64) {
        if bytes < CHECKPOINT_BYTES {
            return;
        }
        let mut state = self.thread.state();
        if bytes >= state.due {
            state.wanted = Some(bytes);
            let (this, theirs) = (Arc::clone(self), Arc::clone(queue));
            let work = move |bytes| this.work(&theirs, bytes, TURN_WITHIN);
            if !self.thread.wake(&mut state, next, work) {
                drop(state);
                // The caller's write is done, and must not wait for long.
                self.work(queue, bytes, PATIENCE);
            }
        }
    }

    /// Wait for the running checkpoint, if the log, of `bytes`, is large. Only the holder of the turn calls this, so
    /// that no other thread writes either. If the disk failed the last attempt, this is the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`], and [`ErrorKind::StorageIO`] where the disk fails it again: the log must not grow for
    /// as long as that lasts. A wait that lasts too long ends, and the log grows.
    pub(crate) fn throttle(&self, bytes: u64, wait_for: &Wait) -> Result<()> {
        while bytes >= THROTTLE_BYTES && self.thread.state().is_passive_to_come() {
            let slice = match wait_for.slice() {
                Err(over) if over.kind == ErrorKind::StoreBusy => break,
                slice => slice?,
            };
            let state = self.thread.state();
            if state.is_passive_to_come() {
                self.thread.wait(state, slice);
            }
        }
        if bytes < THROTTLE_BYTES || !self.thread.state().failed {
            return Ok(());
        }
        match self.checkpoint(ffi::SQLITE_CHECKPOINT_PASSIVE) {
            Err(error) if error.kind == ErrorKind::StorageIO => {
                Err(error.note(format_args!(
                    "the log, of {bytes} bytes, cannot be checkpointed, and nothing was written; check the disk and its free space, and write again"
                )))
            }
            _ => {
                self.thread.state().due = CHECKPOINT_BYTES;
                Ok(())
            }
        }
    }

    /// Wait until the thread has no work.
    ///
    /// # Errors
    /// As [`Wait::slice`] has them.
    pub(crate) fn wait_for_checkpoint(&self, wait_for: &Wait) -> Result<()> {
        loop {
            let slice = wait_for.slice()?;
            let state = self.thread.state();
            if !(state.is_running() && (state.busy || state.wanted.is_some())) {
                return Ok(());
            }
            self.thread.wait(state, slice);
        }
    }

    /// Checkpoint the log and truncate it; `false` if the wait ended first. A reader of an older snapshot prevents it,
    /// and the turn is given up between two attempts.
    ///
    /// # Errors
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::Interrupted`], [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`].
    pub(crate) fn empty_log(
        &self,
        queue: &Arc<Queue<Write>>,
        owner: Owner,
        wait_for: &mut Wait,
    ) -> Result<bool> {
        let is_busy =
            |done: &Result<()>| done.as_ref().is_err_and(|error| error.kind == ErrorKind::StoreBusy);
        loop {
            // The bulk, while others write; where another process is at it, the attempt will tell.
            let passive = self.checkpoint(ffi::SQLITE_CHECKPOINT_PASSIVE);
            if !is_busy(&passive) {
                passive?;
            }
            let emptied = queue
                .enter(None, owner, wait_for)
                .and_then(|_turn| self.checkpoint(ffi::SQLITE_CHECKPOINT_TRUNCATE));
            if !is_busy(&emptied) {
                return emptied.map(|()| true);
            }
            let paused = wait_for.pause();
            if is_busy(&paused) {
                return Ok(false);
            }
            paused?;
        }
    }

    /// Stop the thread, wait until it is gone, and close its connection.
    pub(crate) fn stop(&self) {
        self.thread.stop();
        *lock(&self.connection) = None;
    }

    /// In a forked child: free the connection, if it was not in use.
    pub(crate) fn discard_inherited(&self) {
        if let Ok(mut connection) = self.connection.try_lock() {
            connection.take().into_iter().for_each(connection::discard);
        }
    }

    fn is_stopped(&self) -> bool {
        self.thread.state().is_stopped()
    }

    fn work(&self, queue: &Arc<Queue<Write>>, bytes: u64, turn_within: Duration) {
        // A checkpoint that fails loses nothing. Whoever keeps the log from starting over although writers waited
        // for it is not bothered again before it has grown by as much.
        // `due` tells which attempt this is: the first, the one while writers are throttled, or a later one.
        let (patience, or_else) = match self.thread.state().due {
            CHECKPOINT_BYTES => (PATIENCE, THROTTLE_BYTES),
            THROTTLE_BYTES => (LAST_PATIENCE, bytes + CHECKPOINT_BYTES),
            _ => (PATIENCE, bytes + CHECKPOINT_BYTES),
        };
        // Most of the log, which no one reads or writes any more. One process at a time can: the others wait, and have
        // their writers wait with them, or the log would grow faster than it is checkpointed.
        let bulk = self.checkpoint_within(PASSIVE_WITHIN, ffi::SQLITE_CHECKPOINT_PASSIVE);
        let turn = bulk.and_then(|()| self.take_turn(queue, turn_within));
        // The rest, while no thread of this process writes, so that the next write starts the log over.
        let is_complete = turn
            .as_ref()
            .is_ok_and(|_| self.checkpoint_within(patience, ffi::SQLITE_CHECKPOINT_RESTART).is_ok());
        self.thread.change(|state| {
            state.due = if is_complete { CHECKPOINT_BYTES } else { or_else };
            state.wanted = None;
            state.in_passive = false;
            state.busy = false;
        });
    }

    /// Stop throttling writers.
    fn end_throttling(&self) {
        self.thread.change(|state| state.in_passive = false);
    }

    /// The turn in the writer's queue. Throttled writers continue once none can overtake it.
    fn take_turn(&self, queue: &Arc<Queue<Write>>, within: Duration) -> Result<Admission<Write>> {
        let stopped = || self.is_stopped();
        let caller = Caller { owner: Owner::thread(), interrupted: &stopped };
        let wait = Wait::new(caller, within);
        queue.enter_and_tell(None, caller.owner, &wait, || self.end_throttling())
    }

    fn checkpoint_within(&self, patience: Duration, mode: c_int) -> Result<()> {
        let stopped = || self.is_stopped();
        let caller = Caller { owner: Owner::thread(), interrupted: &stopped };
        Wait::new(caller, patience).until_free(|| self.checkpoint(mode))
    }

    fn checkpoint(&self, mode: c_int) -> Result<()> {
        let failed_before = self.counters.failed_syncs.load(Ordering::Relaxed);
        let attempt = self.attempt(mode);
        match &attempt {
            Ok(()) => self.thread.state().failed = false,
            Err(error) if error.kind == ErrorKind::StorageIO => self.thread.state().failed = true,
            Err(_) => {}
        }
        if attempt.is_ok() && mode != ffi::SQLITE_CHECKPOINT_PASSIVE {
            self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
            self.counters.make_up_for(failed_before);
        }
        attempt
    }

    fn attempt(&self, mode: c_int) -> Result<()> {
        let mut slot = lock(&self.connection);
        if self.is_stopped() {
            return Err(StoreError::closed());
        }
        // Neither may the log of one file go into another, nor what is in a log that others do not have.
        self.place.look()?;
        let connection = match &mut *slot {
            Some(connection) => connection,
            None => {
                let mut connection =
                    self.place.confirm_opened(connection::open_file(&self.place.path, &self.place.trace))?;
                connection::configure_writer(&connection, self.synchronous)?;
                self.counters.count_syncs(&connection)?;
                connection.busy_handler(Some(try_again))?;
                slot.insert(Own::new(connection))
            }
        };
        errors::checked(connection::checkpoint(connection, mode))
    }
}

/// Begin as soon as it is asked for; end having long been idle.
fn next(state: &mut Progress, idle: Duration) -> Next<u64> {
    if let Some(bytes) = state.wanted.take() {
        state.in_passive = true;
        state.busy = true;
        return Next::Do(bytes);
    }
    IDLE.checked_sub(idle).filter(|left| !left.is_zero()).map_or(Next::End, Next::Wait)
}

/// Whether to try a lock again, having waited a little. <https://www.sqlite.org/c3ref/busy_handler.html>
fn try_again(tries: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    tries < LOCK_RETRIES
}
