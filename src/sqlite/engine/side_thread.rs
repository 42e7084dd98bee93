//! A thread that works for one call, which waits for its end.
//!
//! The caller may fork meanwhile, in a signal's handler. In the child there is no such thread, and whoever waited for it
//! as [`std::thread::scope`] does would wait for ever.

use std::io;
use std::thread::{self, JoinHandle};

use crate::error::Result;
use crate::sqlite::file::fork::{self, Own};

/// The thread, to whoever has it work.
pub(crate) struct Side<T> {
    thread: Option<Own<JoinHandle<T>>>,
    generation: u64,
}

/// Do `work` on a thread of its own, and `meanwhile` on this one; both are over when this returns, but for a child.
///
/// # Errors
/// When there can be no such thread; neither is done then.
pub(crate) fn beside<T: Send, R>(
    name: &str,
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(&mut Side<T>) -> R,
) -> io::Result<R> {
    let thread = thread::Builder::new().name(name.into());
    // SAFETY: what `work` borrows outlives this call, and the thread ends before it does: `Side` is dropped here, also by
    // a panic, and waits for it. Where it does not, in a child, there is no thread.
    let thread = unsafe { thread.spawn_unchecked(work) }?;
    let mut side = Side { thread: Some(Own::new(thread)), generation: fork::generation() };
    Ok(meanwhile(&mut side))
}

impl<T> Side<T> {
    /// Fail in a child forked meanwhile, before it waits for anything that the thread was to do.
    pub(crate) fn check(&self) -> Result<()> {
        fork::refuse_child_of(self.generation)
    }

    /// Wait for the thread, and have what its work came to; `None` if it has panicked, or was waited for before.
    pub(crate) fn join(&mut self) -> Option<T> {
        self.check().ok()?;
        self.thread.take().and_then(|thread| thread.into_inner().join().ok())
    }
}

impl<T> Drop for Side<T> {
    fn drop(&mut self) {
        self.join();
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
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            beside("side", work, |_| panic!("meanwhile")).unwrap_or(())
        }));
        assert!(panicked.is_err());
        assert_eq!(text, "done");
    }

    #[test]
    fn what_the_work_came_to_is_had_once() {
        let had = beside("side", || 7, |side| (side.join(), side.join())).unwrap();
        assert_eq!(had, (Some(7), None));
    }
}
