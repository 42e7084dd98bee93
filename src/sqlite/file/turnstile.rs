//! Turns between processes: whoever has waited for a file's write lock comes before those who have just had it.
//!
//! SQLite's locks know no order: whoever asks at the right moment has them. A process that writes without pause asks
//! microseconds after it has committed, while all others sleep between two attempts, and come next by luck alone. So one
//! byte of the log is locked by whoever is next, for as long as it waits. Whoever is about to begin looks whether
//! another has it locked, and waits if so.
//!
//! - It keeps nothing safe: SQLite's own lock does. Nobody sleeps in the kernel for it, and whoever has waited for
//!   [`COURTESY`] tries all the same, so that it blocks nobody, and there is no deadlock. A process that was stopped
//!   while it is next is ignored by others once they find that it does not begin although it could. A killed one has no
//!   locks. Older versions and plain SQLite neither lock the byte nor look.
//! - SQLite locks nothing in a log, only in the database and its `-shm`. So a descriptor of our own on it drops no lock of
//!   anybody's by being closed, where file systems have no locks but those of the process
//!   ([`crate::sqlite::file::locks`]). The log stays as long as a store has it open.
//! - It is an open file description lock: two stores of one process take turns as well. A forked child closes the
//!   descriptor, which unlocks nothing of its parent's.
//! - Where there are no such locks, or no descriptor is left, there are no turns.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};
use crate::sqlite::file::fork::{self, Own};
use crate::sqlite::file::locks;
use crate::sqlite::file::open_files::Descriptor;
use crate::sqlite::file::place::Place;
use crate::sqlite::file::wait::Wait;
use crate::sync::lock;

/// How long one waits before it asks to be next: others write on until then, so that short writes do not change hands
/// each time.
const BEFORE_ASKING: Duration = Duration::from_millis(5);

/// How long one waits, at the most, for another that is next.
const COURTESY: Duration = Duration::from_millis(100);

/// For how long another is ignored that is next, once it was found not to begin although it could.
const IGNORED: Duration = Duration::from_secs(1);

/// Between two looks of a store that is not waiting, at the least.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Between two attempts of the one that is next, at the most.
const NEXT_PAUSE: Duration = Duration::from_millis(1);

/// Between two looks at whether another is still next.
const PAUSE: Duration = Duration::from_millis(5);

/// The turns of one store, of which one thread at a time writes.
#[derive(Default)]
pub(crate) struct Turnstile {
    log: Mutex<Log>,
    /// Until when another that is next is ignored: it does not begin although it could, or was just looked for.
    ignoring: Mutex<Option<Instant>>,
}

/// The log, open to lock its byte.
#[derive(Default)]
enum Log {
    #[default]
    NotYet,
    Open(Own<Descriptor>),
    Closed,
}

/// Being next, until it is dropped.
struct Next<'a> {
    turnstile: &'a Turnstile,
    generation: u64,
}

impl Turnstile {
    /// Do `attempt`, which needs the file's write lock, until it is anything but busy. `attempt` must leave nothing locked
    /// behind it.
    pub(crate) fn until_free<T>(
        &self,
        place: &Place,
        wait: &mut Wait,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut is_another_next = self.is_another_next(place);
        if !is_another_next {
            match attempt() {
                Err(error) if error.kind == ErrorKind::StoreBusy => {}
                done => return done,
            }
        }
        let began = Instant::now();
        let mut next: Option<Next<'_>> = None;
        let mut has_tried = false;
        loop {
            let paused = match (&next, is_another_next) {
                (Some(_), _) => wait.pause_at_most(NEXT_PAUSE),
                (None, true) => wait.sleep(PAUSE),
                (None, false) => wait.pause(),
            };
            // Whoever has waited for another that is next tries once before it gives up.
            let is_over = paused.as_ref().is_err_and(|over| over.kind == ErrorKind::StoreBusy);
            if !is_over {
                paused.clone()?;
            }
            let waited = began.elapsed();
            if next.is_none() && waited >= BEFORE_ASKING {
                next = self.ask(place);
            }
            is_another_next = next.is_none() && self.is_another_next(place);
            if is_another_next && !is_over && waited < COURTESY {
                continue;
            }
            match attempt() {
                Err(error) if error.kind == ErrorKind::StoreBusy => paused?,
                done => {
                    if is_another_next && !has_tried {
                        *lock(&self.ignoring) = Some(Instant::now() + IGNORED);
                    }
                    return done;
                }
            }
            has_tried |= is_another_next;
        }
    }

    /// Whether another store, of this process or another, is next. While writes are shorter than [`LOOK_EVERY`], not each
    /// of them looks.
    fn is_another_next(&self, place: &Place) -> bool {
        let ignoring = &mut *lock(&self.ignoring);
        let now = Instant::now();
        if ignoring.is_some_and(|until| until > now) {
            return false;
        }
        let is_next = matches!(&*self.log(place), Log::Open(log) if locks::is_turn_taken(log.as_raw_fd()));
        *ignoring = (!is_next).then(|| now + LOOK_EVERY);
        is_next
    }

    /// Be next, unless another is.
    fn ask(&self, place: &Place) -> Option<Next<'_>> {
        let log = self.log(place);
        let is_next = matches!(&*log, Log::Open(log) if locks::take_turn(log.as_raw_fd()));
        is_next.then(|| Next { turnstile: self, generation: fork::generation() })
    }

    fn log(&self, place: &Place) -> MutexGuard<'_, Log> {
        let mut log = lock(&self.log);
        if matches!(*log, Log::NotYet)
            && let Some(descriptor) = place.open_log()
        {
            *log = Log::Open(Own::new(descriptor));
        }
        log
    }

    /// Give the descriptor back.
    pub(crate) fn close(&self) {
        *lock(&self.log) = Log::Closed;
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        if self.generation == fork::generation()
            && let Log::Open(log) = &*lock(&self.turnstile.log)
        {
            locks::give_turn_back(log.as_raw_fd());
        }
    }
}
