//! Large batches: one thread encodes, attached to the interpreter, while another writes, detached from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

use pyo3::prelude::*;

use super::convert::item::{self, BREATH};
use super::gil;
use super::open::Open;
use crate::error::ErrorKind;
use crate::model::caller::Caller;
use crate::sqlite::engine::side_thread;
use crate::sqlite::file::fork::Own;

/// From how many items on a second thread is worth its start.
const WORTH_A_THREAD: usize = 512;

/// How many items are encoded before they are handed over.
const SLICE: usize = 256;

/// Upsert `items` if there are many and nothing in them is unusual; otherwise nothing is done. Return whether it was.
///
/// The writer is held while items are encoded, so that no code of the user's may run meanwhile: it might wait for
/// the writer. Whatever would need such code is unusual, and the batch is then abandoned as if it had never begun;
/// so it is when other Python threads keep this one from encoding.
pub(super) fn upsert_while_encoding(
    py: Python<'_>,
    open: &Open,
    items: &[Bound<'_, PyAny>],
) -> PyResult<bool> {
    let Some((first, rest)) = items.split_at_checked(SLICE).filter(|_| items.len() >= WORTH_A_THREAD) else {
        return Ok(false);
    };
    let Some(first) = item::plain(first) else { return Ok(false) };
    let (store, owner) = (open.store()?, open.caller(py)?);
    let (to_writer, slices) = mpsc::channel();
    let (done, outcome) = mpsc::channel();
    let (mut to_writer, mut outcome) = (Some(Own::new(to_writer)), Own::new(outcome));
    let interrupted = AtomicBool::new(false);
    let write = || {
        let (done, slices) = (done, slices);
        let caller = Caller { owner, interrupted: &|| interrupted.load(Ordering::Relaxed) };
        // Nobody listens to the outcome of an abandoned batch.
        let _ = done.send(store.upsert_intel_items_slices(&caller, slices));
    };
    let written = side_thread::beside("batch-writer", write, |writer| {
        // A writer that failed has said why in its outcome, and takes no more slices.
        let send = |slice| to_writer.as_ref().is_some_and(|to_writer| to_writer.send(slice).is_ok());
        send(Some(first));
        for (index, slice) in rest.chunks(SLICE).enumerate() {
            if index % (BREATH / SLICE) == BREATH / SLICE - 1 {
                gil::yield_gil(py);
            }
            let Some(rows) = item::plain(slice) else {
                to_writer = None;
                interrupted.store(true, Ordering::Relaxed);
                // It does not go on long: it has been told.
                while let Err(RecvTimeoutError::Timeout) = gil::receive(py, &mut outcome) {}
                return Ok(false);
            };
            if !send(Some(rows)) {
                break;
            }
        }
        send(None);
        let mut raised = None;
        loop {
            match gil::receive(py, &mut outcome) {
                // The slices came too slowly, other Python threads being busy.
                Ok(Err(error)) if error.kind == ErrorKind::Interrupted && raised.is_none() => {
                    return Ok(false);
                }
                Ok(result) => return raised.map_or_else(|| Ok(result.map(|()| true)?), Err),
                Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                    raised = py.check_signals().err();
                    writer.check()?;
                    interrupted.store(raised.is_some(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
    });
    // Without a thread the batch is written in another way.
    written.unwrap_or(Ok(false))
}
