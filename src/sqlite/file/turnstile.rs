//! Turns between processes: whoever has waited for a file's write lock comes before those who have just had it.
//!
//! SQLite's locks know no order: whoever asks at the right moment has them. A process that writes without pause asks
//! microseconds after it has committed, while all others sleep between two attempts, and come next by luck alone. So
//! there is a line, of [`PLACES`] bytes of the log: whoever waits has one locked, behind all that others have. Whoever is
//! about to begin looks whether another is in line, and waits if so.
//!
//! - It keeps nothing safe: SQLite's own lock does. Nobody sleeps in the kernel for it, and whoever has waited for
//!   [`COURTESY`] tries all the same, so that it blocks nobody, and there is no deadlock. A process that was stopped
//!   while it is first is ignored by others once they find that it does not begin although it could. Since one that is
//!   alive may be first and not begin, behind somebody's long write, they line up behind it before they know. A killed
//!   one has no locks. Older versions and plain SQLite neither lock the bytes nor look; those that know one place only
//!   look at the first.
//! - SQLite locks nothing in a log, only in the database and its `-shm`. So a descriptor of our own on it drops no lock of
//!   anybody's by being closed, where file systems have no locks but those of the process
//!   ([`crate::sqlite::file::locks`]). The log stays as long as a store has it open.
//! - It is an open file description lock: two stores of one process take turns as well. A forked child closes the
//!   descriptor, which unlocks nothing of its parent's.
//! - Where there are no such locks, or no descriptor is left, there are no turns.

use std::ops::Range;
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

/// How many can be in line.
const PLACES: i64 = 16;

/// How long one waits before it lines up: others write on until then, so that short writes do not change hands
/// each time.
const BEFORE_ASKING: Duration = Duration::from_millis(5);

/// How long one waits, at the most, for another that is before it, and before it lines up behind another.
const COURTESY: Duration = Duration::from_millis(100);

/// For how long another is ignored that is first, once it was found not to begin although it could.
const IGNORED: Duration = Duration::from_secs(1);

/// Between two looks of a store that is not waiting, at the least.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Between two attempts of the one that is first, at the most.
const NEXT_PAUSE: Duration = Duration::from_millis(1);

/// Between two looks at whether another is still in line, and two attempts of one behind it: whoever is first tries
/// more often.
const PAUSE: Duration = Duration::from_millis(5);

/// The turns of one store, of which one thread at a time writes.
#[derive(Default)]
pub(crate) struct Turnstile {
    log: Mutex<Log>,
    seen: Mutex<Seen>,
}

/// What is known of the line.
#[derive(Default)]
struct Seen {
    /// So many places are ignored, until then: whoever has the last of them does not begin although it could.
    ignored: i64,
    ignored_until: Option<Instant>,
    /// Nobody else is taken to be in line until then.
    empty_until: Option<Instant>,
}

/// The log, open to lock its bytes.
#[derive(Default)]
enum Log {
    #[default]
    NotYet,
    Open(Own<Descriptor>),
    Closed,
}

/// A place in line, until it is dropped.
struct InLine<'a> {
    turnstile: &'a Turnstile,
    place: i64,
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
        let mut is_behind = self.is_behind(place, PLACES);
        if !is_behind {
            match attempt() {
                Err(error) if error.kind == ErrorKind::StoreBusy => {}
                done => return done,
            }
        }
        let began = Instant::now();
        let mut in_line: Option<InLine<'_>> = None;
        loop {
            let paused = match (&in_line, is_behind) {
                (_, true) => wait.sleep(PAUSE),
                (Some(_), false) => wait.pause_at_most(NEXT_PAUSE),
                (None, false) => wait.pause(),
            };
            // Whoever has waited for another in line tries once before it gives up.
            let is_over = paused.as_ref().is_err_and(|over| over.kind == ErrorKind::StoreBusy);
            if !is_over {
                paused.clone()?;
            }
            let waited = began.elapsed();
            if in_line.is_none() && waited >= BEFORE_ASKING {
                in_line = self.line_up(place, waited >= COURTESY);
            }
            is_behind = self.is_behind(place, in_line.as_ref().map_or(PLACES, |own| own.place));
            if is_behind && !is_over && waited < COURTESY {
                continue;
            }
            match attempt() {
                Err(error) if error.kind == ErrorKind::StoreBusy => paused?,
                done => {
                    if is_behind {
                        self.ignore_first(place);
                    }
                    return done;
                }
            }
        }
    }

    /// Whether another store, of this process or another, is in line before this place. While writes are shorter than
    /// [`LOOK_EVERY`], not each of them looks.
    fn is_behind(&self, place: &Place, own: i64) -> bool {
        let seen = &mut *lock(&self.seen);
        let now = Instant::now();
        if seen.empty_until.is_some_and(|until| until > now) {
            return false;
        }
        let log = self.log(place);
        if seen.ignored_until.is_none_or(|until| until <= now) || taken(&log, 0..seen.ignored).is_none() {
            seen.ignored = 0;
        }
        let is_behind = taken(&log, seen.ignored..own).is_some();
        seen.empty_until = (!is_behind).then(|| now + LOOK_EVERY);
        is_behind
    }

    /// Ignore whoever is first, and was found not to begin although it could.
    fn ignore_first(&self, place: &Place) {
        let seen = &mut *lock(&self.seen);
        let log = self.log(place);
        let mut end = PLACES;
        while let Some(first) = taken(&log, seen.ignored..end) {
            end = first;
        }
        if end < PLACES {
            seen.ignored = end + 1;
            seen.ignored_until = Some(Instant::now() + IGNORED);
        }
    }

    /// Take the place behind all that are taken; behind another that is not ignored only where `behind_others`.
    fn line_up(&self, place: &Place, behind_others: bool) -> Option<InLine<'_>> {
        let first = lock(&self.seen).ignored;
        let log = self.log(place);
        let mut own = first;
        while let Some(other) = taken(&log, own..PLACES) {
            own = other + 1;
        }
        let Log::Open(log) = &*log else { return None };
        let may = own < PLACES && (own == first || behind_others);
        (may && locks::take_turn(log.as_raw_fd(), own)).then(|| InLine {
            turnstile: self,
            place: own,
            generation: fork::generation(),
        })
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

/// A place among these that another has.
fn taken(log: &Log, places: Range<i64>) -> Option<i64> {
    match log {
        Log::Open(log) => locks::taken_turn(log.as_raw_fd(), places),
        Log::NotYet | Log::Closed => None,
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.generation == fork::generation()
            && let Log::Open(log) = &*lock(&self.turnstile.log)
        {
            locks::give_turn_back(log.as_raw_fd(), self.place);
        }
    }
}
