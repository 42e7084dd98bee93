//! Other threads: letting them run, and waiting for what one does aside in slices short enough that Ctrl-C is seen.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use pyo3::prelude::*;

/// How often a wait looks whether a signal came.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Let other Python threads run.
///
/// Detaching alone does not: this thread would attach again before one that waits has woken up, and its waking would
/// have put off the moment at which it insists. Asleep for the shortest time there is, this thread is late enough.
pub(super) fn yield_gil(py: Python<'_>) {
    py.detach(|| std::thread::sleep(Duration::from_micros(1)));
}

/// What comes next, or `Timeout` when it is time to look for signals. Detached from the interpreter meanwhile; the
/// exclusive borrow is what lets a detached thread have the receiver.
pub(super) fn receive<T: Send>(py: Python<'_>, receiver: &mut Receiver<T>) -> Result<T, RecvTimeoutError> {
    py.detach(|| next(receiver))
}

fn next<T>(receiver: &mut Receiver<T>) -> Result<T, RecvTimeoutError> {
    receiver.recv_timeout(LOOK_EVERY)
}
