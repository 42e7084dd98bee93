//! `_core.Store`: the calls of `StateStore`, each converted, detached and its errors mapped.

mod backup;
mod intel_items;
mod maintenance;
mod options;
mod retention;
mod run_life;
mod runs;
mod telemetry;

use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::errors::{Refusal, class};
use super::owner::Mark;
use super::transaction::{Transaction, detached};
use super::{convert, query};
use crate::Location;
use crate::error::Result;
use crate::model::caller::{Caller, Owner};
use crate::sqlite::calls::opening::Options;
use crate::sync::lock;

/// A store's connections; `StateStore` documents each call.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Store(Arc<Open>);

/// The store, shared with its transactions.
pub(super) struct Open {
    store: Option<crate::Store>,
    /// Where it was asked to be.
    location: Location,
    /// How many transactions are open, of whatever thread.
    pub(super) transactions: AtomicUsize,
    /// What tells the owner of the open transaction, for as long as it is open. Locked by who is attached and only for
    /// a moment, so that a forked child never inherits it locked.
    mark: Mutex<Weak<Mark>>,
}

impl Open {
    fn new(store: crate::Store, location: Location) -> Self {
        Self { store: Some(store), location, transactions: AtomicUsize::new(0), mark: Mutex::default() }
    }

    /// The store itself.
    pub(super) fn store(&self) -> Result<&crate::Store> {
        self.store.as_ref().ok_or_else(crate::StoreError::closed)
    }

    /// Who is calling: the owner of the open transaction, or a thread that owns none. While no transaction is open,
    /// nobody need ask.
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
}

impl Drop for Open {
    fn drop(&mut self) {
        let store = self.store.take();
        detached(move || drop(store));
    }
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (db_path, *, synchronous, busy_timeout, pool_size, read_only, file_mode))]
    fn new(
        py: Python<'_>,
        db_path: &Bound<'_, PyAny>,
        synchronous: &Bound<'_, PyAny>,
        busy_timeout: &Bound<'_, PyAny>,
        pool_size: &Bound<'_, PyAny>,
        read_only: &Bound<'_, PyAny>,
        file_mode: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let location = options::location(db_path, "db_path")?;
        let options = Options {
            synchronous: options::synchronous(synchronous)?,
            busy_timeout: options::busy_timeout(busy_timeout)?,
            pool_size: options::pool_size(pool_size)?,
            read_only: options::flag(read_only, "read_only")?,
            file_mode: options::file_mode(file_mode)?,
        };
        let store = match &location {
            Location::Memory if options.read_only => {
                let what = "read_only: a store in memory is always new, so that there is nothing to read";
                return Err(Refusal::InvalidValue.error(py, what));
            }
            Location::Memory => py.detach(|| crate::Store::open_in_memory(options))?,
            Location::File(path) => {
                let open = |caller: &Caller| crate::Store::open(path, options, caller);
                let store = interruptible(py, Owner::thread(), open)?;
                warn_of_network(py, path)?;
                warn_of_mount(py, path)?;
                warn(py, "FileLinkedWarning", store.warning())?;
                store
            }
        };
        Ok(Self(Arc::new(Open::new(store, location))))
    }

    /// The path that `db_path` means.
    #[getter]
    fn db_path(&self) -> &OsStr {
        self.0.location.as_os_str()
    }

    /// Whether the store is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.store.as_ref().is_none_or(crate::Store::is_closed)
    }

    /// Return a transaction that is not entered yet.
    fn transaction(&self) -> PyResult<Transaction> {
        if self.closed() {
            return Err(crate::StoreError::closed().during("transaction").into());
        }
        Ok(Transaction::new(Arc::clone(&self.0)))
    }

    /// Run one pure read; return the column names and the rows.
    fn query<'py>(
        &self,
        py: Python<'py>,
        sql: &Bound<'py, PyAny>,
        parameters: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyList>)> {
        let sql = convert::text(sql, "execute", "sql")?;
        let parameters = convert::parameters(parameters)?;
        convert::rows(py, query::rows(py, &self.0, sql, &parameters)?)
    }

    /// Close every connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let store = self.0.store()?;
        interruptible(py, self.0.caller(py)?, |caller| store.close(caller))?;
        warn_of_links(py, store)
    }
}

/// Do `work` on the store, detached from the interpreter, as who is calling.
pub(super) fn call<T: Send>(
    py: Python<'_>,
    open: &Open,
    work: impl FnOnce(&crate::Store, &Caller) -> Result<T> + Send,
) -> PyResult<T> {
    call_as(py, open, open.caller(py)?, work)
}

/// As [`call`], for a caller who is known.
pub(super) fn call_as<T: Send>(
    py: Python<'_>,
    open: &Open,
    owner: Owner,
    work: impl FnOnce(&crate::Store, &Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let store = open.store()?;
    warn_of_links(py, store)?;
    interruptible(py, owner, |caller| work(store, caller))
}

/// Do `work` detached from the interpreter; whatever a signal handler raises meanwhile is raised in its place.
fn interruptible<T: Send>(
    py: Python<'_>,
    owner: Owner,
    work: impl FnOnce(&Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let interrupted = || {
        let mut raised = lock(&raised);
        if raised.is_none() {
            *raised = Python::attach(|py| py.check_signals().err());
        }
        raised.is_some()
    };
    let done = py.detach(|| {
        let result = work(&Caller { owner, interrupted: &interrupted });
        let interrupted = lock(&raised).take();
        // What was begun is dropped here, still detached, when a signal handler raised.
        interrupted.map_or_else(|| Ok(result), Err)
    });
    done?.map_err(PyErr::from)
}

/// Warn where SQLite's locks and shared memory cannot be relied on.
fn warn_of_network(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    let Some(system) = py.detach(|| crate::network_file_system(path)) else { return Ok(()) };
    let message = format!(
        "{} is on a network file system ({system}): stores of several hosts cannot share it, and its locks may not hold",
        path.display()
    );
    warn(py, "NetworkFileSystemWarning", Some(message))
}

/// Warn where what belongs to the file is not beside it for whoever reaches it by another path.
fn warn_of_mount(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    let is_mounted = py.detach(|| crate::is_mounted_file(path));
    let message = format!(
        "{} is mounted as a single file: its log is not where others look for it who reach the file by another path, and is lost with the folder around it; mount the folder instead",
        path.display()
    );
    warn(py, "FileLinkedWarning", is_mounted.then_some(message))
}

/// Warn, once, of a file that got more names while it was open. Before a call begins, so that a warning that is made an
/// error tells of a call that has done nothing; whichever call has noticed was right to succeed.
fn warn_of_links(py: Python<'_>, store: &crate::Store) -> PyResult<()> {
    warn(py, "FileLinkedWarning", store.warning())
}

/// Warn the one who called the method of `StateStore` that called us.
fn warn(py: Python<'_>, category: &str, message: Option<String>) -> PyResult<()> {
    let Some(message) = message else { return Ok(()) };
    let category = class(py, category)?;
    PyErr::warn(py, &category, &std::ffi::CString::new(message)?, 2)
}
