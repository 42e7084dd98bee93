//! Who makes a call.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who owns a transaction: a thread, and who of those that take turns on it (tasks, greenlets). Never inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// A number that no other thread of the process ever has.
    pub thread: u64,
    /// A number that nobody else ever has who takes turns on a thread; 0 for the thread itself.
    pub context: u64,
}

impl Owner {
    /// The calling thread itself.
    pub fn thread() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        thread_local!(static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed));
        Self { thread: NUMBER.with(|number| *number), context: 0 }
    }

    /// One of those that take turns on the calling thread, who has owned nothing before.
    pub fn new_context() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self { context: LAST.fetch_add(1, Ordering::Relaxed) + 1, ..Self::thread() }
    }
}

/// Who calls, and how to ask whether the call should stop waiting.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Who owns what the call opens, and whose transaction it joins.
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
