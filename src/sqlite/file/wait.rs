//! Waiting: a deadline, and slices short enough that Ctrl-C is noticed at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::file::fork;

/// How long a wait may go without asking whether it was interrupted.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts at a lock that another process holds.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// One call's wait: a single deadline over our queues and SQLite's locks.
pub(crate) struct Wait<'a> {
    caller: Caller<'a>,
    timeout: Duration,
    /// `None` where the timeout is longer than time can be told.
    deadline: Option<Instant>,
    asked: Cell<Instant>,
    pause: Duration,
    generation: u64,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(caller: Caller<'a>, timeout: Duration) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(timeout);
        Self {
            caller,
            timeout,
            deadline,
            asked: Cell::new(now),
            pause: LONGEST_PAUSE / 64,
            generation: fork::generation(),
        }
    }

    /// How long to sleep before the next look. Fails when the wait is over. Call it with no lock held.
    pub(crate) fn slice(&self) -> Result<Duration> {
        let now = Instant::now();
        if now.duration_since(self.asked.get()) >= SLICE {
            self.asked.set(now);
            if (self.caller.interrupted)() {
                return Err(StoreError::new(ErrorKind::Interrupted, "interrupted while waiting"));
            }
        }
        // A signal's handler, or a callback between two waits, may have forked.
        fork::refuse_child_of(self.generation)?;
        let left = self.deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(now));
        if left.is_zero() { Err(self.busy()) } else { Ok(left.min(SLICE)) }
    }

    /// Sleep before the next attempt at a lock that another process holds: briefly at first, then longer.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.pause_at_most(LONGEST_PAUSE)
    }

    /// As [`Self::pause`], for no longer than this.
    pub(crate) fn pause_at_most(&mut self, longest: Duration) -> Result<()> {
        self.sleep(self.pause.min(longest))?;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Sleep for so long, or until the wait is over.
    pub(crate) fn sleep(&self, pause: Duration) -> Result<()> {
        std::thread::sleep(self.slice()?.min(pause));
        Ok(())
    }

    /// Sleep, with no lock held, for longer than the pause between two attempts at a lock: others who wait for it, in
    /// this process or another, get it first.
    pub(crate) fn give_way(&self) -> Result<()> {
        self.slice()?;
        std::thread::sleep(LONGEST_PAUSE + LONGEST_PAUSE / 8);
        Ok(())
    }

    /// Do not count so long a time, in which nothing was waited for.
    pub(crate) fn extend(&mut self, by: Duration) {
        self.deadline = self.deadline.and_then(|deadline| deadline.checked_add(by));
    }

    /// A wait of which so much is over.
    pub(crate) fn after(mut self, waited: Duration) -> Self {
        self.deadline = self.deadline.map(|deadline| deadline.checked_sub(waited).unwrap_or(deadline));
        self
    }

    /// The thread that waits, or for which another one does.
    pub(crate) fn thread(&self) -> u64 {
        self.caller.owner.thread
    }

    /// Another wait of the same length, begun now, that nothing interrupts.
    pub(crate) fn of_another(&self) -> Wait<'static> {
        Wait::new(Caller { owner: self.caller.owner, interrupted: &|| false }, self.timeout)
    }

    fn busy(&self) -> StoreError {
        let seconds = self.timeout.as_secs_f64();
        StoreError::new(
            ErrorKind::StoreBusy,
            format!(
                "still busy after busy_timeout ({seconds} s): another thread or process holds it; nothing was changed"
            ),
        )
    }

    /// Do `attempt` until it is anything but busy. `attempt` must leave nothing locked behind it.
    pub(crate) fn until_free<T>(&mut self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match attempt() {
                Err(error) if error.kind == ErrorKind::StoreBusy => self.pause()?,
                done => return done,
            }
        }
    }
}

/// Fail once this is set: by whoever waits for what is done here.
pub(crate) fn refuse_stopped(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(StoreError::new(ErrorKind::Interrupted, "interrupted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::caller::Owner;

    fn always_busy() -> Result<()> {
        Err(StoreError::new(ErrorKind::StoreBusy, "locked"))
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let mut wait = Wait::new(Caller::thread(), Duration::from_millis(20));
        let error = wait.until_free(always_busy).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StoreBusy);
        assert!(error.to_string().contains("busy_timeout (0.02 s)"), "{error}");
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let caller = Caller { owner: Owner::thread(), interrupted: &|| true };
        let mut wait = Wait::new(caller, Duration::from_secs(3600));
        assert_eq!(wait.until_free(always_busy).unwrap_err().kind, ErrorKind::Interrupted);
    }
}
