//! Gates: a fork waits until no thread is inside one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two checks of a gate.
pub(super) const NAP: Duration = Duration::from_micros(20);

/// Protects work that a fork must not interrupt. A fork closes the gate and waits until no thread is inside.
///
/// Enter for a few system calls at most, never twice in one thread, and never wait inside for anything that may need
/// Python: the forking thread holds the interpreter.
pub(crate) struct Gate {
    closed: AtomicBool,
    inside: AtomicUsize,
}

/// Being inside a gate.
pub(crate) struct Inside(&'static Gate);

/// State that SQLite's files share, and every lock of ours that a child takes.
pub(crate) static FILES: Gate = Gate::new();

/// The connections of stores in memory, of which a child has a copy. Their calls may last: a fork does not wait for ever.
pub(crate) static MEMORY: Gate = Gate::new();

impl Gate {
    const fn new() -> Self {
        Self { closed: AtomicBool::new(false), inside: AtomicUsize::new(0) }
    }

    /// Enter, once no fork is running.
    pub(crate) fn enter(&'static self) -> Inside {
        loop {
            self.inside.fetch_add(1, Ordering::SeqCst);
            if !self.closed.load(Ordering::SeqCst) {
                return Inside(self);
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            thread::sleep(NAP);
        }
    }

    /// Close the gate, once no other fork is running.
    pub(super) fn close(&self) {
        while self.closed.swap(true, Ordering::SeqCst) {
            thread::sleep(NAP);
        }
    }

    pub(super) fn wait_until_empty(&self, within: Duration) {
        let began = Instant::now();
        while self.inside.load(Ordering::SeqCst) > 0 && began.elapsed() < within {
            thread::sleep(NAP);
        }
    }

    pub(super) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// In a child: no other thread exists.
    pub(super) fn start_over(&self) {
        self.inside.store(0, Ordering::SeqCst);
        self.open();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}
