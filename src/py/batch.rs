//! Large batches: one thread encodes, attached to the interpreter, while another writes, detached from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

use pyo3::prelude::*;

use super::aside;
use super::item::{self, BREATH};
use super::store::Open;
use crate::error::ErrorKind;
use crate::wait::Caller;

/// From how many items on a second thread is worth its start.
const WORTH_A_THREAD: usize = 512;

/// How many items are encoded before they are handed over.
const SLICE: usize = 256;

/// Upsert `items` if there are many and nothing in them is unusual; otherwise nothing is done, and `None` returned.
///
/// The writer is held while items are encoded, so that no code of the user's may run meanwhile: it might wait for
/// the writer. Whatever would need such code is unusual, and the batch is then abandoned as if it had never begun;
/// so it is when other Python threads keep this one from encoding.
pub(super) fn upsert_while_encoding(
    py: Python<'_>,
    open: &Open,
    items: &[Bound<'_, PyAny>],
) -> PyResult<Option<()>> {
    let Some((first, rest)) = items.split_at_checked(SLICE).filter(|_| items.len() >= WORTH_A_THREAD) else {
        return Ok(None);
    };
    let Some(first) = item::plain(first) else { return Ok(None) };
    let (store, owner) = (open.store()?, open.caller(py)?);
    let (to_writer, slices) = mpsc::channel();
    let (done, mut outcome) = mpsc::channel();
    let interrupted = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let interrupted = &interrupted;
        let write = move || {
            let caller = Caller { owner, interrupted: &|| interrupted.load(Ordering::Relaxed) };
            // Nobody listens to the outcome of an abandoned batch.
            let _ = done.send(store.upsert_intel_items_slices(&caller, slices));
        };
        if std::thread::Builder::new().name("batch-writer".into()).spawn_scoped(scope, write).is_err() {
            return Ok(None);
        }
        // A writer that failed has said why in its outcome, and takes no more slices.
        let _ = to_writer.send(Some(first));
        for (index, slice) in rest.chunks(SLICE).enumerate() {
            if index % (BREATH / SLICE) == BREATH / SLICE - 1 {
                aside::breathe(py);
            }
            let Some(rows) = item::plain(slice) else {
                drop(to_writer);
                interrupted.store(true, Ordering::Relaxed);
                // It does not go on long: it has been told.
                while let Err(RecvTimeoutError::Timeout) = aside::receive(py, &mut outcome) {}
                return Ok(None);
            };
            if to_writer.send(Some(rows)).is_err() {
                break;
            }
        }
        let _ = to_writer.send(None);
        let mut raised = None;
        loop {
            match aside::receive(py, &mut outcome) {
                // The slices came too slowly, other Python threads being busy.
                Ok(Err(error)) if error.kind == ErrorKind::Interrupted && raised.is_none() => {
                    return Ok(None);
                }
                Ok(result) => return raised.map_or_else(|| Ok(Some(result?)), Err),
                Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                    raised = py.check_signals().err();
                    interrupted.store(raised.is_some(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    })
}
