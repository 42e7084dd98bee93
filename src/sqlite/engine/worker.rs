//! Worker threads, each of which works for one call that waits for it; and the record of one that panicked.
//!
//! The caller may fork while it waits, in a signal's handler. The child does not have the worker thread, and a wait for
//! it as in [`std::thread::scope`] would never end.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::fork::{self, Own};
use crate::sqlite::file::{trace, wait};

/// The worker thread of a store that has panicked, if one has. The state that it left is not known, so the store cannot
/// be used any more; another store on the same file can.
#[derive(Debug, Default)]
pub(crate) struct Panicked(OnceLock<&'static str>);

impl Panicked {
    /// The name of the thread.
    pub(crate) fn thread(&self) -> Option<&'static str> {
        self.0.get().copied()
    }

    /// Fail if one has, before anything is done.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(name) = self.thread() else { return Ok(()) };
        let what = format!(
            "the worker thread {name} panicked, and this call has written nothing since; close the store, and open it again"
        );
        Err(StoreError::new(ErrorKind::Other, what))
    }

    /// Do the work of a thread of this name; `None` if it panicked.
    pub(crate) fn noticed<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> Option<T> {
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        done.map_err(|_| self.0.get_or_init(|| name)).ok()
    }
}

/// The worker thread, as its caller sees it.
pub(crate) struct Worker<T> {
    name: &'static str,
    thread: Option<Own<JoinHandle<()>>>,
    outcome: Own<Receiver<T>>,
    generation: u64,
}

/// Do `work` on a thread of its own, and `meanwhile` on this one; both are over when this returns, but for a child.
///
/// # Errors
/// When there can be no such thread; neither is done then.
pub(crate) fn beside<T: Send, R>(
    name: &'static str,
    has_panicked: &Arc<Panicked>,
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(&mut Worker<T>) -> R,
) -> io::Result<R> {
    let (done, outcome) = mpsc::channel();
    let (has_panicked, work) = (Arc::clone(has_panicked), trace::as_here(work));
    let run = move || {
        // A missing result means that it panicked.
        let done = done;
        // Nobody may be waiting for it any more.
        has_panicked.noticed(name, work).map(|outcome| done.send(outcome));
    };
    let thread = thread::Builder::new().name(name.into());
    // SAFETY: what `work` borrows outlives this call, and the thread ends before it does: `Worker` is dropped here, also
    // by a panic, and waits for it. Where it does not, in a child, there is no thread.
    let thread = unsafe { thread.spawn_unchecked(run) }?;
    let generation = fork::generation();
    let mut worker = Worker { name, thread: Some(Own::new(thread)), outcome: Own::new(outcome), generation };
    Ok(meanwhile(&mut worker))
}

impl<T> Worker<T> {
    /// Wait for the result of the work. Once `is_over`, which is checked regularly, the thread is told to `stop`.
    ///
    /// # Errors
    /// [`ErrorKind::Other`] when the thread has panicked; in a child forked meanwhile.
    pub(crate) fn wait_unless(&mut self, is_over: impl Fn() -> bool, stop: &AtomicBool) -> Result<T> {
        self.next_of(&self.outcome, is_over, stop)?.ok_or_else(|| panicked_here(self.name))
    }

    /// As [`Self::wait_unless`], for what the thread sends next; `None` where it sends no more.
    pub(crate) fn next_of<P>(
        &self,
        sent: &Receiver<P>,
        is_over: impl Fn() -> bool,
        stop: &AtomicBool,
    ) -> Result<Option<P>> {
        loop {
            fork::refuse_child_of(self.generation)?;
            match sent.recv_timeout(wait::SLICE) {
                Ok(next) => return Ok(Some(next)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if is_over() => stop.store(true, Ordering::Relaxed),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// What the call raises that a worker thread panicked in, or that panicked where there was no such thread.
pub(crate) fn panicked_here(name: &str) -> StoreError {
    let what = format!("the worker thread {name} panicked in this call; close the store, and open it again");
    StoreError::new(ErrorKind::Other, what)
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        if fork::refuse_child_of(self.generation).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // It panics no more.
            let _ = thread.into_inner().join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_over_whatever_becomes_of_the_call() {
        let mut text = String::new();
        let work = || {
            thread::sleep(std::time::Duration::from_millis(20));
            text.push_str("done");
        };
        let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            beside("side", &Arc::default(), work, |_| panic!("meanwhile")).unwrap_or(())
        }));
        assert!(panicked.is_err());
        assert_eq!(text, "done");
    }

    #[test]
    fn the_thread_is_told_to_stop_by_whoever_waits() {
        let stop = AtomicBool::default();
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        beside("side", &Arc::default(), work, |worker| worker.wait_unless(|| true, &stop)).unwrap().unwrap();
    }

    #[test]
    fn a_panic_is_noticed_before_whoever_waits_is_told() {
        let panicked = Arc::default();
        let stop = AtomicBool::default();
        let outcome =
            beside("side", &panicked, || panic!("on purpose"), |worker| worker.wait_unless(|| false, &stop));
        assert_eq!((outcome.unwrap().unwrap_err().kind, panicked.thread()), (ErrorKind::Other, Some("side")));
        assert_eq!(panicked.check().unwrap_err().kind, ErrorKind::Other);
    }
}
