//! Large batches: one thread encodes, attached to the interpreter, while another writes, detached from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use pyo3::prelude::*;

use super::convert::plain;
use super::gil::TimeSlice;
use super::open::{Open, interruptible};
use crate::error::ErrorKind;
use crate::model::caller::Caller;
use crate::sqlite::file::control;
use crate::sqlite::file::fork::Own;

/// From how many items on a second thread is worth its start.
const WORTH_A_THREAD: usize = 512;

/// How many items are encoded before they are handed over.
const SLICE: usize = 256;

/// Upsert `items` if there are many and nothing in them is unusual; otherwise nothing is done. Return whether it was.
///
/// The writer is held while items are encoded, so that no code of the user's may run meanwhile: it might wait for
/// the writer. Whatever would need such code is unusual, and the batch is then abandoned as if it had never begun;
/// so it is when other Python threads keep this one from encoding, or a signal's handler does or raises.
pub(super) fn upsert_while_encoding(
    py: Python<'_>,
    open: &Open,
    items: &[Bound<'_, PyAny>],
    strict: bool,
) -> PyResult<bool> {
    let Some((first, rest)) = items.split_at_checked(SLICE).filter(|_| items.len() >= WORTH_A_THREAD) else {
        return Ok(false);
    };
    let Some(first) = plain::rows(first, strict) else { return Ok(false) };
    let (store, owner) = (open.store()?, open.caller(py)?);
    let (to_writer, slices) = mpsc::channel();
    let mut to_writer = Some(Own::new(to_writer));
    let interrupted = AtomicBool::new(false);
    let write = || {
        let is_told = || interrupted.load(Ordering::Relaxed);
        let slices = slices;
        let caller = Caller { owner, interrupted: &is_told };
        control::until(&is_told, || store.upsert_intel_items_slices(&caller, slices))
    };
    let written = store.beside("batch-writer", write, |writer| {
        // A writer that failed has said why in its outcome, and takes no more slices.
        let send = |slice| to_writer.as_ref().is_some_and(|to_writer| to_writer.send(slice).is_ok());
        send(Some(first));
        let mut time_slice = TimeSlice::begin();
        for slice in rest.chunks(SLICE) {
            let goes_on = time_slice.yield_gil_or_end(py);
            let rows = goes_on.is_ok().then(|| plain::rows(slice, strict)).flatten();
            let Some(rows) = rows else {
                to_writer = None;
                interrupted.store(true, Ordering::Relaxed);
                // It ends soon: it was told to.
                let _ = py.detach(|| writer.wait_unless(|| true, &interrupted));
                return goes_on.map(|()| false);
            };
            if !send(Some(rows)) {
                break;
            }
        }
        send(None);
        interruptible(py, owner, |caller| match writer.wait_unless(caller.interrupted, &interrupted) {
            // The slices came too slowly, other Python threads being busy.
            Ok(Err(error)) if error.kind == ErrorKind::Interrupted && !(caller.interrupted)() => Ok(false),
            Ok(outcome) => outcome.map(|()| true),
            Err(error) if error.kind == ErrorKind::Other => {
                let error = error.during("upsert_intel_items_batch").of_kind(ErrorKind::CommitOutcomeUnknown);
                Err(error.note("whether the batch was written is unknown; repeating it is safe"))
            }
            Err(error) => Err(error),
        })
    });
    // Without a thread the batch is written in another way.
    written?.unwrap_or(Ok(false))
}
