//! The context manager of `StateStore.transaction()`, and who owns it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::store::{Open, call};
use crate::error::{ErrorKind, Result, StoreError};
use crate::sync::lock;
use crate::wait::Owner;

/// A transaction of one store: entered once, rolled back when it is dropped without being left.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Transaction {
    store: Arc<Open>,
    state: Mutex<State>,
}

enum State {
    New,
    Entered(crate::Transaction),
    Over,
}

impl Transaction {
    pub(super) fn new(store: Arc<Open>) -> Self {
        Self { store, state: Mutex::new(State::New) }
    }

    fn take(&self) -> State {
        std::mem::replace(&mut *lock(&self.state), State::Over)
    }

    /// Take what was entered, if it is open and the caller's.
    fn take_own(&self, caller: Owner) -> Result<crate::Transaction> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Over) {
            State::Entered(transaction) if transaction.is_owned_by(caller) => Ok(transaction),
            State::Over => Err(misuse("it is over")),
            other => {
                *state = other;
                Err(misuse("only the thread or task that entered it can leave it"))
            }
        }
    }
}

#[pymethods]
impl Transaction {
    /// Take the writer, or open a savepoint within the transaction that the caller is in.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let this = slf.get();
        let py = slf.py();
        match this.take() {
            State::New => {}
            other => {
                *lock(&this.state) = other;
                return Err(misuse("it was entered before; each `with` needs its own transaction()").into());
            }
        }
        this.store.transactions.fetch_add(1, Ordering::Relaxed);
        match call(py, &this.store, |store, caller| store.begin(caller)) {
            Ok(begun) => *lock(&this.state) = State::Entered(begun),
            Err(error) => {
                this.store.transactions.fetch_sub(1, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(slf)
    }

    /// Commit, or roll back where an exception leaves the block.
    #[pyo3(signature = (exc_type, exc, traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc, traceback);
        if exc_type.is_none() {
            let transaction = self.take_own(owner(py)?)?;
            let committed = py.detach(|| transaction.commit()).map_err(PyErr::from);
            self.store.transactions.fetch_sub(1, Ordering::Relaxed);
            return committed;
        }
        let State::Entered(transaction) = self.take() else { return Ok(()) };
        // The user's exception passes untouched: a rollback that fails cannot mask it.
        let _ = py.detach(|| transaction.roll_back());
        self.store.transactions.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let State::Entered(transaction) = self.take() {
            self.store.transactions.fetch_sub(1, Ordering::Relaxed);
            detached(move || drop(transaction));
        }
    }
}

/// Do `work` detached from the interpreter, whether or not the thread is attached or there still is one.
pub(super) fn detached(work: impl FnOnce() + Send) {
    let mut work = Some(work);
    let attached = Python::try_attach(|py| {
        let work = work.take();
        py.detach(move || work.map(|work| work()));
    });
    if attached.is_none()
        && let Some(work) = work
    {
        work();
    }
}

/// Who is calling: this thread, and the asyncio task that it runs, if any.
pub(super) fn owner(py: Python<'_>) -> PyResult<Owner> {
    Ok(Owner { task: current_task(py)?, ..Owner::thread() })
}

/// A number for the current asyncio task, 0 for none; never given to another task.
fn current_task(py: Python<'_>) -> PyResult<usize> {
    static NUMBERS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static LAST: AtomicUsize = AtomicUsize::new(0);

    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(asyncio) = modules.get_item(intern!(py, "asyncio.tasks")) else { return Ok(0) };
    let running = asyncio.getattr(intern!(py, "events"))?.call_method0(intern!(py, "_get_running_loop"))?;
    if running.is_none() {
        return Ok(0);
    }
    let task = asyncio.call_method1(intern!(py, "current_task"), (running,))?;
    if task.is_none() {
        return Ok(0);
    }
    let numbers = NUMBERS.get_or_try_init(py, || {
        py.import("weakref")?.getattr("WeakKeyDictionary")?.call0().map(Bound::unbind)
    })?;
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    numbers.bind(py).call_method1(intern!(py, "setdefault"), (task, fresh))?.extract()
}

fn misuse(what: &str) -> StoreError {
    StoreError::new(ErrorKind::Transaction, format!("transaction: {what}"))
}
