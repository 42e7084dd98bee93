//! Ad-hoc queries: most are short; one that is not runs on a thread of its own, so that Ctrl-C can end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::gil;
use super::open::{Open, call};
use crate::error::{ErrorKind, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::engine::adhoc::{Parameters, Rows, Stop};
use crate::sqlite::engine::side_thread;
use crate::sqlite::file::fork::Own;

/// How long a query may take on the thread that asks.
const SHORT: Duration = Duration::from_millis(50);

/// Run one pure read.
pub(super) fn rows(py: Python<'_>, open: &Open, sql: &str, parameters: &Parameters) -> PyResult<Rows> {
    let soon = Stop::At(Instant::now() + SHORT);
    let short = call(py, open, |store, caller| match store.query(caller, sql, parameters, &soon) {
        Err(error) if error.kind == ErrorKind::Interrupted => Ok(None),
        done => done.map(Some),
    })?;
    match short {
        Some(rows) => Ok(rows),
        None => {
            let rows = long(py, open, sql, parameters);
            open.show_trace(py)?;
            rows
        }
    }
}

fn long(py: Python<'_>, open: &Open, sql: &str, parameters: &Parameters) -> PyResult<Rows> {
    let (store, owner) = (open.store()?, open.caller(py)?);
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    let (done, outcome) = mpsc::channel();
    let mut outcome = Own::new(outcome);
    let run = || {
        let done = done;
        let caller = Caller { owner, interrupted: &|| flag.load(Ordering::Relaxed) };
        // The other end waits until it has heard.
        let _ = done.send(store.query(&caller, sql, parameters, &Stop::When(Arc::clone(&flag))));
    };
    side_thread::beside("long-query", run, |side| {
        let mut raised = None;
        loop {
            match gil::receive(py, &mut outcome) {
                Ok(rows) => return raised.map_or_else(|| Ok(rows?), Err),
                Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                    raised = py.check_signals().err();
                    side.check()?;
                    stopped.store(raised.is_some(), Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(StoreError::closed().into()),
            }
        }
    })?
}
