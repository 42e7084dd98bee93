//! Locking without poison: the data behind our locks is valid at every step, whatever panicked meanwhile. And cells of a
//! thread that are set for a while.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::LocalKey;
use std::time::Duration;

/// Lock, whether or not a thread has panicked holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wait to be woken, for `timeout` at the most.
pub(crate) fn wait<'a, T>(woken: &Condvar, guard: MutexGuard<'a, T>, timeout: Duration) -> MutexGuard<'a, T> {
    woken.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// Do `work` with this in a thread's cell, which is as before afterwards, also where it panics.
pub(crate) fn with<T: Copy, R>(cell: &'static LocalKey<Cell<T>>, value: T, work: impl FnOnce() -> R) -> R {
    struct Before<T: Copy + 'static>(&'static LocalKey<Cell<T>>, T);
    impl<T: Copy> Drop for Before<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _before = Before(cell, cell.replace(value));
    work()
}
