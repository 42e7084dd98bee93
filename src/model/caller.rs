//! The caller of a store: its owner number, and its interrupt check.

use std::sync::atomic::{AtomicU64, Ordering};

/// The owner of a transaction: a thread, and on it a task or greenlet. Never inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// A number that no other thread of the process ever has.
    pub thread: u64,
    /// A number that no other task or greenlet of the process ever has; 0 for the thread itself.
    pub context: u64,
}

impl Owner {
    /// The calling thread itself.
    pub fn thread() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        thread_local!(static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed));
        Self { thread: NUMBER.with(|number| *number), context: 0 }
    }

    /// A new owner on the calling thread, that owned nothing before.
    pub fn new_context() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self { context: LAST.fetch_add(1, Ordering::Relaxed) + 1, ..Self::thread() }
    }
}

/// The caller, and a check whether the call should stop waiting.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The owner of a transaction that the call opens, or joins.
    pub owner: Owner,
    /// Asked about every 50 ms of a wait, with no lock held; `true` ends it with [`crate::ErrorKind::Interrupted`].
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
}

impl Caller<'_> {
    /// The calling thread itself, never interrupted.
    pub fn thread() -> Self {
        Self { owner: Owner::thread(), interrupted: &|| false }
    }
}
