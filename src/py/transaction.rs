//! The context manager of `StateStore.transaction()`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::open::{Open, call_as};
use super::owner::{Mark, detached};
use crate::error::{ErrorKind, StoreError};
use crate::model::caller::Owner;
use crate::sync::lock;

/// A transaction of one store: entered once, rolled back when it is dropped without being left.
#[pyclass(frozen, module = "orchestrator.state_store")]
pub(super) struct Transaction {
    store: Arc<Open>,
    state: Mutex<TransactionState>,
}

enum TransactionState {
    New,
    Entered(Entered),
    Over,
}

/// The transaction that was entered, and its owner.
struct Entered {
    transaction: crate::Transaction,
    mark: Arc<Mark>,
}

impl Transaction {
    pub(super) fn new(store: Arc<Open>) -> Self {
        Self { store, state: Mutex::new(TransactionState::New) }
    }

    fn take(&self) -> TransactionState {
        std::mem::replace(&mut *lock(&self.state), TransactionState::Over)
    }

    /// Take the writer, or open a savepoint within the transaction that the caller is in.
    fn begin(&self, py: Python<'_>) -> PyResult<Entered> {
        let caller = self.store.caller(py)?;
        let owner = if caller == Owner::thread() { Owner::new_context() } else { caller };
        let mark = Arc::new(Mark::new(py, owner)?);
        self.store.transactions.fetch_add(1, Ordering::Relaxed);
        match call_as(py, &self.store, owner, |store, caller| store.begin(caller)) {
            Ok(transaction) => {
                if transaction.is_outermost() {
                    self.store.set_mark(&mark);
                }
                Ok(Entered { transaction, mark })
            }
            Err(error) => {
                mark.end(py);
                self.store.transactions.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Roll back if it is open. A user's exception propagates unchanged: a rollback that fails cannot mask it.
    fn roll_back(&self, py: Python<'_>) {
        let TransactionState::Entered(Entered { transaction, mark }) = self.take() else { return };
        mark.end(py);
        let _ = py.detach(|| transaction.roll_back());
        self.store.transactions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the caller may leave it with success: the thread and task that entered it, which may be in another
    /// Context by now; or the owner.
    fn may_be_left(&self, py: Python<'_>) -> PyResult<bool> {
        let mark = match &*lock(&self.state) {
            TransactionState::Entered(entered) => Arc::clone(&entered.mark),
            TransactionState::New | TransactionState::Over => return Ok(true),
        };
        Ok(mark.is_of_this_task(py)? || self.store.caller(py)? == mark.owner)
    }

    /// Take what was entered, if it is open and the caller may leave it.
    fn take_own(&self, py: Python<'_>) -> PyResult<Entered> {
        let may = self.may_be_left(py)?;
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, TransactionState::Over) {
            TransactionState::Entered(entered) if may => Ok(entered),
            TransactionState::Over => Err(misuse("it is over").into()),
            TransactionState::New => {
                *state = TransactionState::New;
                Err(misuse("it was not entered; use `with`").into())
            }
            other => {
                *state = other;
                Err(misuse("only the thread or task that entered it can leave it").into())
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
            TransactionState::New => {}
            other => {
                *lock(&this.state) = other;
                return Err(misuse("it was entered before; each `with` needs its own transaction()").into());
            }
        }
        let entered = this.begin(py)?;
        *lock(&this.state) = TransactionState::Entered(entered);
        // What is not entered is not left either.
        this.store.show_trace(py).inspect_err(|_| this.roll_back(py))?;
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
            let Entered { transaction, mark } = self.take_own(py)?;
            mark.end(py);
            let committed = py.detach(|| transaction.commit()).map_err(PyErr::from);
            self.store.transactions.fetch_sub(1, Ordering::Relaxed);
            self.store.show_trace(py)?;
            return committed;
        }
        self.roll_back(py);
        self.store.show_trace(py)
    }

    /// Show the file and the state of the transaction.
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = match &*lock(&self.state) {
            TransactionState::New => "new",
            TransactionState::Entered(_) => "open",
            TransactionState::Over => "over",
        };
        let path = self.store.location.as_os_str().into_pyobject(py)?;
        Ok(format!("<Transaction of {}, {state}>", path.repr()?))
    }

    /// A Context that ends may hold the very transaction that was entered in it.
    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        match self.state.try_lock() {
            Ok(state) => match &*state {
                TransactionState::Entered(entered) => entered.mark.traverse(&visit),
                TransactionState::New | TransactionState::Over => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let mark = match &*lock(&self.state) {
            TransactionState::Entered(entered) => Arc::clone(&entered.mark),
            TransactionState::New | TransactionState::Over => return,
        };
        mark.clear();
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let TransactionState::Entered(Entered { transaction, .. }) = self.take() {
            self.store.transactions.fetch_sub(1, Ordering::Relaxed);
            detached(move || drop(transaction));
        }
    }
}

fn misuse(what: &str) -> StoreError {
    StoreError::new(ErrorKind::Transaction, format!("transaction: {what}"))
}
