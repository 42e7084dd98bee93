//! An open store in the binding: finds the caller, and detaches each call from the interpreter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use super::errors::noted;
use super::owner::{Mark, detached};
use super::signals::Taken;
use super::warnings::warn_of_links;
use crate::Location;
use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::{Caller, Owner};
use crate::sync::lock;

/// The store, shared with its transactions.
pub(super) struct Open {
    store: Option<crate::Store>,
    /// Where it was asked to be.
    pub(super) location: Location,
    /// How many transactions are open, of whatever thread.
    pub(super) transactions: AtomicUsize,
    /// Identifies the owner of the open transaction. Locked only for a moment, by an attached thread, so that a forked
    /// child never inherits it locked.
    mark: Mutex<Weak<Mark>>,
    /// What takes the SQL trace; `None` where it is off.
    trace: Option<Py<PyAny>>,
}

impl Open {
    pub(super) fn new(store: crate::Store, location: Location, trace: Option<Py<PyAny>>) -> Self {
        let (transactions, mark) = (AtomicUsize::new(0), Mutex::default());
        Self { store: Some(store), location, transactions, mark, trace }
    }

    /// The store itself.
    pub(super) fn store(&self) -> Result<&crate::Store> {
        self.store.as_ref().ok_or_else(crate::StoreError::closed)
    }

    /// Whether the store is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.store.as_ref().is_none_or(crate::Store::is_closed)
    }

    /// The caller: the owner of the open transaction, or a thread that owns none. While no transaction is open, nothing
    /// is checked.
    pub(super) fn caller(&self, py: Python<'_>) -> PyResult<Owner> {
        if self.transactions.load(Ordering::Relaxed) == 0 {
            return Ok(Owner::thread());
        }
        let mark = lock(&self.mark).upgrade();
        match mark {
            Some(mark) if mark.is_callers(py)? => Ok(mark.owner),
            _ => Ok(Owner::thread()),
        }
    }

    /// Have this tell the owner of the transaction that was begun.
    pub(super) fn set_mark(&self, mark: &Arc<Mark>) {
        *lock(&self.mark) = Arc::downgrade(mark);
    }

    /// Log the traced statements. Only at the end of a call, with no lock held: a handler may use the store, wait for
    /// other threads, or fork.
    ///
    /// # Errors
    /// KeyboardInterrupt, and others that are not an Exception. The call itself is done: a failure to log its trace
    /// does not make it fail.
    pub(super) fn show_trace(&self, py: Python<'_>) -> PyResult<()> {
        let (Some(take), Some(store)) = (&self.trace, &self.store) else { return Ok(()) };
        let shown = crate::show_traced(|| {
            let traced = store.take_traced();
            let milliseconds = |took: Duration| took.as_secs_f64() * 1000.0;
            let statements: Vec<(&str, f64)> =
                traced.statements.iter().map(|each| (&*each.sql, milliseconds(each.took))).collect();
            take.call1(py, (self.location.as_os_str(), statements, traced.not_kept))
        });
        match shown {
            Some(Err(error)) if error.is_instance_of::<PyException>(py) => {
                error.write_unraisable(py, Some(take.bind(py)));
                Ok(())
            }
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let store = self.store.take();
        detached(move || drop(store));
    }
}

/// Do `work` on the store for the caller, detached from the interpreter; then log the traced statements.
pub(super) fn call<T: Send>(
    py: Python<'_>,
    open: &Open,
    work: impl FnOnce(&crate::Store, &Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let done = call_as(py, open, open.caller(py)?, work);
    open.show_trace(py)?;
    done
}

/// As [`call`], for a caller who is known. It does not show what was traced.
pub(super) fn call_as<T: Send>(
    py: Python<'_>,
    open: &Open,
    owner: Owner,
    work: impl FnOnce(&crate::Store, &Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let store = open.store()?;
    warn_of_links(py, store)?;
    interruptible(py, owner, |caller| {
        let done = store.while_open(|| work(store, caller));
        done.map_err(|error| match error.kind {
            ErrorKind::Interrupted if store.is_closed() => StoreError::closed(),
            _ => error,
        })
    })
}

/// Do `work` detached from the interpreter; if a signal handler raises while it waits, that is raised in its place, with a
/// note of what became of the call where it was not interrupted. Ctrl-C also ends a statement that takes long.
pub(super) fn interruptible<T: Send>(
    py: Python<'_>,
    owner: Owner,
    work: impl FnOnce(&Caller) -> Result<T> + Send,
) -> PyResult<T> {
    // Not a lock: nothing may be held while this thread waits for the interpreter.
    let raised = OnceLock::new();
    let taken = Taken::default();
    let interrupted = || {
        if raised.get().is_none()
            && let Some(error) = Python::attach(|py| taken.handle(py).and_then(|()| py.check_signals()).err())
        {
            // Only the thread that calls is asked, so that nothing was set meanwhile.
            let _ = raised.set(error);
        }
        raised.get().is_some()
    };
    // What was begun is dropped detached, also where a signal's handler raised.
    let done = py.detach(|| {
        let result = taken.look_while(|| work(&Caller { owner, interrupted: &interrupted }));
        if result.is_err() && taken.is_any() {
            interrupted();
        }
        if raised.get().is_some() { Err(result.map(drop)) } else { Ok(result) }
    });
    taken.give_back();
    match (done, raised.into_inner()) {
        (Ok(result), _) => result.map_err(PyErr::from),
        (Err(Ok(())), Some(error)) => {
            Err(noted(py, error, "the call was complete all the same: what it writes is written"))
        }
        (Err(Err(failed)), Some(error)) if failed.kind != ErrorKind::Interrupted => {
            Err(noted(py, error, &failed.to_string()))
        }
        (Err(_), Some(error)) => Err(error),
        (Err(_), None) => Err(StoreError::closed().into()),
    }
}
