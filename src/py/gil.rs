//! Yielding the GIL to other Python threads.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// The time slice of a thread that converts much: less than the 5 ms after which Python makes a thread yield the GIL. A
/// thread that misses one chance waits for the next; a shorter slice would make a batch wait for others more often.
const TIME_SLICE: Duration = Duration::from_millis(3);

/// Since when this thread has kept the GIL.
pub(super) struct TimeSlice(Instant);

impl TimeSlice {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// As [`Self::yield_gil`], and let what a signal's handler raises end the work.
    pub(super) fn yield_gil_or_end(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.yield_gil(py) { py.check_signals() } else { Ok(()) }
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
