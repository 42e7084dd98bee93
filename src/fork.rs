//! Forking: parent and child both go on, and neither can undo the other's locks.
//!
//! SQLite's documentation forbids carrying a connection across a fork
//! (<https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_file_across_a_fork_>), and for a reason
//! that leaking the connection does not cure: SQLite keeps, per file and process, what it believes to have
//! locked. The child inherits that belief but not the locks, so a connection opened in the child would trust
//! locks that nobody holds. Only closing every inherited connection clears it. Closing is safe here, because
//!
//! 1. no call is inside SQLite at the fork: every one holds [`Gate`], which the fork takes exclusively;
//! 2. the child closes without a checkpoint (SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE), so that SQLite neither asks for the
//!    exclusive lock nor deletes the -wal; and the parent commits nothing meanwhile (it waits for the end of a
//!    pipe), so that the log's index in shared memory is what it was at the fork;
//! 3. a transaction that was open at the fork is all in the child's own memory, so that rolling it back writes
//!    nothing. What is left of closing is munmap and close: locks are left as they are ([`crate::guard::let_go`]).
//!
//! The third does not hold for a transaction so large that it has spilled pages into the log: rolling that back
//! would clear the log's index in the shared memory that the parent is using. Such a connection is leaked, and
//! its file refused in the child from then on. Should the parent die inside that very transaction, its locks last as long
//! as the child, which has the same descriptors.

use std::cell::RefCell;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::platform::FileId;
use crate::sync::lock;
use crate::{connection, guard};

/// Held by every call while it is inside SQLite, or holds a lock that the child would inherit locked.
///
/// Take it last, never twice in one thread, never while waiting for anything, and never attached to Python. The
/// thread that is forking holds the gate already, and passes: other hooks, and what they drop, may use stores.
///
/// A thread that a holder starts, and joins before he lets go, is behind his gate. It must not take one of its own: it
/// would wait behind a fork that waits for him.
pub(crate) struct Gate {
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

static GATE: RwLock<()> = RwLock::new(());
/// A fork waits for the gate: whoever can begin again later makes way.
static WANTED: AtomicBool = AtomicBool::new(false);
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The generation for which [`after_in_child`] was run.
static SETTLED: AtomicU64 = AtomicU64::new(0);
static STORES: Mutex<Vec<Weak<dyn Forkable>>> = Mutex::new(Vec::new());
static LOST_FILES: Mutex<Vec<FileId>> = Mutex::new(Vec::new());
/// One fork at a time: a second child would inherit the end of the first one's pipe.
static FORKING: Mutex<()> = Mutex::new(());

thread_local!(static PENDING: RefCell<Option<Pending>> = const { RefCell::new(None) });

/// What the forking thread holds from before the fork until after it.
struct Pending {
    gate: RwLockWriteGuard<'static, ()>,
    forking: MutexGuard<'static, ()>,
    stores: Vec<Arc<dyn Forkable>>,
    pipe: Option<(std::io::PipeReader, std::io::PipeWriter)>,
}

/// A store, as a fork sees it.
pub(crate) trait Forkable: Send + Sync {
    /// In the child: let go of all that was inherited.
    fn start_over(&self, gate: &Exclusive);
}

/// Proof that no other call is inside SQLite.
pub(crate) struct Exclusive(());

/// Enter SQLite.
pub(crate) fn enter() -> Gate {
    let shared = || GATE.read().unwrap_or_else(PoisonError::into_inner);
    Gate { _shared: (!is_forking()).then(shared) }
}

/// Whether a fork waits for the gate.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Whether this thread is between the hooks of a fork.
fn is_forking() -> bool {
    PENDING.with_borrow(Option::is_some)
}

/// How many forks this process is away from the first.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Fail in a process that was forked without the hooks: what it inherited was not let go of, so that even a
/// store opened anew would trust locks that nobody holds.
pub(crate) fn check() -> Result<()> {
    if generation() == SETTLED.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(refused(
        "this process was forked without Python's fork hooks, with a store open; no store can be used in it",
    ))
}

/// Close a connection that was inherited, and leave the log to the parent.
pub(crate) fn discard(connection: Connection, _: &Exclusive) {
    // SQLite fails this only on a misuse; the parent's shared lock then keeps the close from checkpointing.
    let _ = connection::keep_log_on_close(&connection);
    drop(connection);
}

/// What every call of a store raises in a child forked inside a transaction of it.
pub(crate) fn inside_transaction() -> StoreError {
    refused(
        "this process was forked inside a transaction of this store; open another StateStore here, or fork outside transactions",
    )
}

/// What opening a file raises in a child, when a large transaction was open on it at the fork.
pub(crate) fn lost_file() -> StoreError {
    refused(
        "a large transaction was open on the file when this process was forked; use the file in another process, or fork outside transactions",
    )
}

fn refused(why: &str) -> StoreError {
    StoreError::new(ErrorKind::Transaction, why)
}

/// Have `store` take part in forks for as long as it lives.
pub(crate) fn register(store: Weak<dyn Forkable>, _: &Gate) {
    static COUNT_FORKS: Once = Once::new();
    COUNT_FORKS.call_once(|| {
        extern "C" fn count() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: `count` is async-signal-safe. A failure (no memory) leaves only forks without hooks unnoticed.
        unsafe { libc::pthread_atfork(None, None, Some(count)) };
    });
    let mut stores = lock(&STORES);
    stores.retain(|store| store.strong_count() > 0);
    stores.push(store);
}

/// Whether the file had a large transaction open when this process was forked.
pub(crate) fn is_lost(file: FileId) -> bool {
    lock(&LOST_FILES).contains(&file)
}

/// Refuse the file from now on: a large transaction was open on it at the fork.
pub(crate) fn lose(file: FileId, _: &Exclusive) {
    lock(&LOST_FILES).push(file);
}

/// Before a fork: wait until no call is inside SQLite, and let none in.
///
/// The hooks may be registered more than once: only the first to come does anything.
pub fn before() {
    if is_forking() {
        return;
    }
    let forking = lock(&FORKING);
    WANTED.store(true, Ordering::Relaxed);
    let gate = GATE.write().unwrap_or_else(PoisonError::into_inner);
    WANTED.store(false, Ordering::Relaxed);
    let stores: Vec<_> = lock(&STORES).iter().filter_map(Weak::upgrade).collect();
    let pipe = if stores.is_empty() { None } else { std::io::pipe().ok() };
    PENDING.set(Some(Pending { gate, forking, stores, pipe }));
}

/// After a fork, in the parent: wait until the child has let go (or is gone), then go on.
pub fn after_in_parent() {
    let Some(pending) = PENDING.take() else { return };
    if let Some((mut child_is_done, our_end)) = pending.pipe {
        drop(our_end);
        // The end of the pipe is all that is awaited, and an error ends it as well.
        let _ = child_is_done.read(&mut [0]);
    }
    drop(pending.gate);
    drop(pending.forking);
}

/// After a fork, in the child: let go of what was inherited.
pub fn after_in_child() {
    let Some(pending) = PENDING.take() else { return };
    let alone = Exclusive(());
    guard::let_go(&alone, || pending.stores.iter().for_each(|store| store.start_over(&alone)));
    SETTLED.store(generation(), Ordering::Relaxed);
    drop(pending.pipe);
    drop(pending.gate);
    drop(pending.forking);
}
