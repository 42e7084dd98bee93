//! Long lists: one thread reads, detached from the interpreter, while another makes dicts, attached to it.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::convert::item::Dicts;
use super::convert::item_query::ItemQuery;
use super::gil;
use super::open::{Open, call};
use crate::model::caller::Caller;
use crate::sqlite::engine::side_thread;
use crate::sqlite::file::fork::Own;
use crate::sqlite::lists::items::{ItemList, Slice};

/// After how many slices other Python threads get a chance to run: some 3 ms. One that misses it waits for two.
const SLICES_A_BREATH: usize = 2;

/// From how many items on a second thread is worth its start.
const WORTH_A_THREAD: usize = 512;

/// The dicts of the items that are asked for, the oldest first, and the cursor of those that are left.
pub(super) fn items<'py>(
    py: Python<'py>,
    open: &Open,
    query: &ItemQuery,
    limit: Option<NonZeroUsize>,
    cursor: Option<&str>,
) -> PyResult<(Bound<'py, PyList>, Option<String>)> {
    let list = ItemList {
        name: query.operation.clone(),
        filter: query.filter.clone(),
        fields: query.fields(),
        limit,
        cursor: cursor.map(str::to_owned),
    };
    let mut dicts = Dicts::new(py, &query.columns)?;
    let is_long = limit.is_none_or(|limit| limit.get() > WORTH_A_THREAD)
        && call(py, open, |store, caller| {
            store.may_have_more_intel_items_than(caller, &list, WORTH_A_THREAD)
        })?;
    let next = if is_long {
        let read = extend_while_reading(py, open, &list, &mut dicts);
        open.show_trace(py)?;
        read?
    } else {
        let (items, next) = call(py, open, |store, caller| store.list_intel_items(caller, &list))?;
        dicts.extend(&items, &list.name)?;
        next
    };
    Ok((dicts.into_list(), next))
}

fn extend_while_reading(
    py: Python<'_>,
    open: &Open,
    list: &ItemList,
    dicts: &mut Dicts<'_>,
) -> PyResult<Option<String>> {
    let (store, owner) = (open.store()?, open.caller(py)?);
    let (sender, slices) = mpsc::channel();
    let mut slices = Own::new(slices);
    let interrupted = AtomicBool::new(false);
    let read = || {
        let caller = Caller { owner, interrupted: &|| interrupted.load(Ordering::Relaxed) };
        let sender = sender;
        // A list that failed has dropped the other end, and needs no more.
        store.list_intel_items_slices(&caller, list, &|slice| sender.send(slice).unwrap_or_default())
    };
    side_thread::beside("list-reader", read, |reader| {
        let mut failed = None;
        for turn in 1.. {
            // What has come already is taken without a pause for other Python threads, but not for too long.
            if turn % SLICES_A_BREATH == 0 {
                gil::yield_gil(py);
            }
            let ready = slices.try_recv().ok();
            let result = match ready.map_or_else(|| gil::receive(py, &mut slices), Ok) {
                Ok(_) if failed.is_some() => Ok(()),
                Ok(Slice::Start) => {
                    dicts.clear();
                    Ok(())
                }
                Ok(Slice::Rows(items)) => dicts.extend(&items, &list.name),
                Err(RecvTimeoutError::Timeout) => py.check_signals(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            reader.check()?;
            if let Err(error) = result {
                interrupted.store(true, Ordering::Relaxed);
                failed = failed.or(Some(error));
            }
        }
        let read = py.detach(|| reader.join());
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Some(read)) => Ok(read?),
            (None, None) => Err(crate::StoreError::closed().into()),
        }
    })?
}
