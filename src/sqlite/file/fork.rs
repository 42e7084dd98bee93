//! Forking: the store works in parent and child, and neither can drop the other's locks.
//!
//! SQLite's documentation forbids carrying a connection across a fork
//! (<https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_file_across_a_fork_>), and for a reason
//! that leaking the connection does not cure: SQLite keeps, per file and process, what it believes to have
//! locked. The child inherits that belief but not the locks, so a connection opened in the child would trust
//! locks that no one holds. Only closing every inherited file clears it.
//!
//! So the child closes the files beneath the connections, and never uses a connection that was in use. That is safe
//! whatever the parent's threads were doing at the fork, because
//!
//! 1. no thread is inside what the files share (who has them open, their locks, the maps of their -shm), nor inside a
//!    mutex of SQLite's own: the fork waits for that, and for nothing else. Each method of [`crate::sqlite::file::vfs`] that touches
//!    any of it is in [`FILES`] for as long as the system's own method takes, which is a few system calls;
//! 2. closing a file of SQLite's unix VFS counts down, unmaps and closes, and does no more: nothing is written to the
//!    file, to its log or to the shared memory, no transaction is rolled back, and no lock is changed
//!    ([`crate::sqlite::file::locks::keeping_locks`]). It does not matter when the child does it, and the parent does not wait;
//! 3. the child's heap is whole. POSIX promises less, but the C libraries take their allocator's locks after the last
//!    handler that runs before a fork, and give them back in the child before the first one that runs there
//!    (<https://sourceware.org/bugzilla/show_bug.cgi?id=19431>).
//!
//! It happens in fork(2) itself, by <https://man7.org/linux/man-pages/man3/pthread_atfork.3.html>, so that the hooks of
//! other libraries can neither come between nor be waited for, and forks behind Python's back are no different.
//! vfork(2), posix_spawn(3) and a bare clone(2) run no handlers. The former two are followed by an exec, which closes
//! the files; a child of a bare system call must not use the files.
//!
//! Inherited state above the files may be locked by threads that do not exist in the child, or be half changed. It is
//! not touched ([`Own`]), and each store starts over when it is next used. A call that the forking thread itself was
//! inside, for a signal's handler or a callback, fails in the child.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Duration;

use rusqlite::ffi;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Owner;
use crate::sqlite::file::gate::{self, FILES, Inside, MEMORY};
use crate::sqlite::file::locks;
use crate::sqlite::file::open_files;
use crate::sqlite::file::vfs;
use crate::sync::lock;

/// How long a fork waits for the calls of stores in memory. One that lasts longer keeps its store from the child.
const MEMORY_WITHIN: Duration = Duration::from_millis(200);

/// The mutexes that SQLite has for itself: <https://www.sqlite.org/c3ref/c_mutex_fast.html>.
const MUTEXES: std::ops::RangeInclusive<i32> = ffi::SQLITE_MUTEX_STATIC_MAIN..=ffi::SQLITE_MUTEX_STATIC_VFS3;

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The threads that forked, from the first process down to this one. Locked only inside [`FILES`].
static FORKED_BY: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// How many forks this process is away from the first.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Fail in a child of the process that was of this generation.
pub(crate) fn refuse_child_of(generation: u64) -> Result<()> {
    if generation == self::generation() {
        return Ok(());
    }
    Err(refused("this process was forked inside the call, which continues in the parent only"))
}

/// The thread by which the process of this generation was forked into this one, or into its ancestor.
pub(crate) fn forked_by(generation: u64, _: &Inside) -> Option<u64> {
    lock(&FORKED_BY).get(usize::try_from(generation).ok()?).copied()
}

/// What every call of a store raises in a child forked inside a transaction of it.
pub(crate) fn inside_transaction() -> StoreError {
    refused(
        "this process was forked inside a transaction of this store; open another StateStore here, or fork outside transactions",
    )
}

/// What every call of a store in memory raises in a child that has no whole copy of it.
pub(crate) fn no_copy() -> StoreError {
    refused(
        "this process was forked during a long call on this store in memory; open another StateStore here",
    )
}

fn refused(why: &str) -> StoreError {
    StoreError::new(ErrorKind::Transaction, why)
}

/// A value that only the process that made it drops: a child leaves it as the parent's threads had it at the fork.
pub(crate) struct Own<T> {
    value: ManuallyDrop<T>,
    generation: u64,
}

impl<T> Own<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), generation: generation() }
    }

    /// The value itself, which is dropped as usual.
    pub(crate) fn into_inner(mut self) -> T {
        // SAFETY: `self` is forgotten at once, so that nobody has the value twice.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        std::mem::forget(self);
        value
    }

    /// In a child: adopt a value that was not in use at the fork.
    pub(crate) fn adopt(self) -> Self {
        Self::new(self.into_inner())
    }
}

impl<T> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Own<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.generation == generation() {
            // SAFETY: it is dropped here alone, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// Have forks of this process noticed, before the first file is opened. What is made only once is made here, where no
/// fork of another thread can come between: when the module is imported.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers may run in any thread at any time, and a mutex has to be there by then.
        unsafe {
            ffi::sqlite3_initialize();
            locks::install();
            vfs::name();
            // It fails only for want of memory. A child would then use what it inherited.
            libc::pthread_atfork(Some(prepare), Some(parent), Some(child));
        }
    });
}

/// Before the fork, in the thread that forks.
extern "C" fn prepare() {
    MEMORY.close();
    MEMORY.wait_until_empty(MEMORY_WITHIN);
    loop {
        FILES.close();
        FILES.wait_until_empty(Duration::MAX);
        if take_mutexes() {
            return;
        }
        // A thread that holds one may be waiting for the gate.
        FILES.open();
        thread::sleep(gate::NAP);
    }
}

/// After the fork, in the parent.
extern "C" fn parent() {
    give_mutexes_back(MUTEXES);
    FILES.open();
    MEMORY.open();
}

/// After the fork, in the child, which has one thread: close the inherited files.
extern "C" fn child() {
    give_mutexes_back(MUTEXES);
    GENERATION.fetch_add(1, Ordering::Relaxed);
    lock(&FORKED_BY).push(Owner::thread().thread);
    locks::keeping_locks(open_files::close_inherited);
    FILES.start_over();
    MEMORY.start_over();
}

/// Take all mutexes that SQLite has for itself, or none. Waiting for none of them, this cannot deadlock.
fn take_mutexes() -> bool {
    // SAFETY: these are static.
    let taken = |id| unsafe { ffi::sqlite3_mutex_try(ffi::sqlite3_mutex_alloc(id)) == ffi::SQLITE_OK };
    let Some(held) = MUTEXES.into_iter().find(|id| !taken(*id)) else { return true };
    give_mutexes_back(*MUTEXES.start()..=held - 1);
    false
}

fn give_mutexes_back(ids: std::ops::RangeInclusive<i32>) {
    for id in ids {
        // SAFETY: they are static, and this thread has taken them, or the one that it was before the fork.
        unsafe { ffi::sqlite3_mutex_leave(ffi::sqlite3_mutex_alloc(id)) };
    }
}
