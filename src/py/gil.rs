//! Letting other Python threads run.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long this thread keeps the GIL while there is much to convert: less than the 5 ms after which Python has a thread
/// yield it. Whoever misses one chance waits for the next; shorter would make a batch wait for others as often.
const TIME_SLICE: Duration = Duration::from_millis(3);

/// Since when this thread has kept the GIL.
pub(super) struct TimeSlice(Instant);

impl TimeSlice {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Yield the GIL if it was kept for a time slice; return whether it was.
    ///
    /// Detaching alone does not: this thread would attach again before one that waits has woken up, and its waking would
    /// have put off the moment at which it insists. Asleep for the shortest time there is, this thread is late enough.
    pub(super) fn yield_gil(&mut self, py: Python<'_>) -> bool {
        let is_over = self.0.elapsed() >= TIME_SLICE;
        if is_over {
            py.detach(|| std::thread::sleep(Duration::from_micros(1)));
            self.0 = Instant::now();
        }
        is_over
    }
}
