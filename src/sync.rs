//! Locking without poison: the data behind our locks is valid at every step, whatever panicked meanwhile.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lock, whether or not a thread has panicked holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wait to be woken, for `timeout` at the most.
pub(crate) fn wait<'a, T>(woken: &Condvar, guard: MutexGuard<'a, T>, timeout: Duration) -> MutexGuard<'a, T> {
    woken.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}
