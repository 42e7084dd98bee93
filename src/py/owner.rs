//! The owner of a transaction: a thread, the asyncio task on it, and its `contextvars.Context`.
//!
//! Greenlets and the tasks of trio, Twisted and Tornado are unknown to asyncio, but each has a Context of its own. The
//! value of a variable does not distinguish Contexts, since a copy inherits it. A token does: it resets its variable
//! only in the Context in which it was made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::names::{intern, once};
use crate::model::caller::Owner;
use crate::sync::lock;

/// Recognises the caller that entered a transaction.
pub(super) struct Mark {
    /// Its owner in the core.
    pub(super) owner: Owner,
    task: Task,
    /// Locked by who is attached, with no other code of Python's running meanwhile.
    token: Mutex<Option<Py<PyAny>>>,
}

impl Mark {
    /// The caller's mark, by which it is `owner`.
    pub(super) fn new(py: Python<'_>, owner: Owner) -> PyResult<Self> {
        let task = Task::current(py)?;
        Ok(Self { owner, task, token: Mutex::new(Some(undisturbed(py, || new_token(py))?)) })
    }

    /// Whether it was made by the caller, task and Context included.
    ///
    /// Code that runs in no task, but in the Context, is still the caller: a generator that Tornado or Twisted drives
    /// does its first step in the task of its caller, and the others in no task.
    pub(super) fn is_callers(&self, py: Python<'_>) -> PyResult<bool> {
        if self.owner.thread != Owner::thread().thread || !undisturbed(py, || self.is_of_this_context(py))? {
            return Ok(false);
        }
        let task = Task::current(py)?;
        Ok(task == self.task || task.number == 0)
    }

    /// Whether it was made by this thread, in this task.
    pub(super) fn is_of_this_task(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(Task::current(py)? == self.task)
    }

    /// Use the token up and make another: only in its own Context that succeeds.
    fn is_of_this_context(&self, py: Python<'_>) -> PyResult<bool> {
        let mut token = lock(&self.token);
        let Some(old) = token.as_ref() else { return Ok(false) };
        // SAFETY: attached; both are borrowed for the call.
        let reset = unsafe { ffi::PyContextVar_Reset(variable(py)?.as_ptr(), old.as_ptr()) };
        if reset == 0 {
            *token = Some(new_token(py)?);
            return Ok(true);
        }
        let error = PyErr::fetch(py);
        // A token that was used up, because there was no memory for the next, recognises no caller.
        let refused = error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyRuntimeError>(py);
        if refused { Ok(false) } else { Err(error) }
    }

    /// Leave no trace in the Context. From then on it recognises no caller; nor does a value that stays behind if the
    /// transaction is left in another Context.
    pub(super) fn end(&self, py: Python<'_>) {
        let Some(token) = lock(&self.token).take() else { return };
        let reset = variable(py).map(|variable| {
            // SAFETY: attached; both are borrowed for the call.
            undisturbed(py, || unsafe { ffi::PyContextVar_Reset(variable.as_ptr(), token.as_ptr()) })
        });
        if matches!(reset, Ok(-1)) {
            let _ = PyErr::take(py);
        }
    }

    /// Show the garbage collector what it holds: the token holds a Context, which may hold the transaction.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.token.try_lock() {
            Ok(token) => visit.call(&*token),
            Err(_) => Ok(()),
        }
    }

    /// Drop its references. From then on it recognises no caller.
    pub(super) fn clear(&self) {
        let token = lock(&self.token).take();
        drop(token);
    }
}

/// A thread, and the asyncio task that it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Task {
    thread: u64,
    /// Never given to another task; 0 for none.
    number: usize,
}

impl Task {
    fn current(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { thread: Owner::thread().thread, number: current_task(py)? })
    }
}

fn current_task(py: Python<'_>) -> PyResult<usize> {
    static NUMBERS: OnceLock<Py<PyAny>> = OnceLock::new();
    static LAST: AtomicUsize = AtomicUsize::new(0);

    // SAFETY: attached; a new reference, or null: without an error where the module is not loaded.
    let loaded = unsafe {
        let module = ffi::PyImport_GetModule(intern!(py, "asyncio.tasks").as_ptr());
        Bound::from_owned_ptr_or_opt(py, module)
    };
    let Some(asyncio) = loaded else { return PyErr::take(py).map_or(Ok(0), Err) };
    // While another thread is still importing the module, there is no task of it.
    let Some(current) = asyncio.getattr_opt(intern!(py, "current_task"))? else { return Ok(0) };
    let running = asyncio.getattr(intern!(py, "events"))?.call_method0(intern!(py, "_get_running_loop"))?;
    if running.is_none() {
        return Ok(0);
    }
    let task = current.call1((running,))?;
    if task.is_none() {
        return Ok(0);
    }
    let numbers =
        once(&NUMBERS, || py.import("weakref")?.getattr("WeakKeyDictionary")?.call0().map(Bound::unbind))?;
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    numbers.bind(py).call_method1(intern!(py, "setdefault"), (task, fresh))?.extract()
}

/// The one variable of all stores. What it holds means nothing.
fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: OnceLock<Py<PyAny>> = OnceLock::new();
    let variable = once(&VARIABLE, || {
        let name = c"orchestrator.state_store";
        // SAFETY: attached; the name is copied, there is no default, and a new reference or null is returned.
        unsafe {
            let made = ffi::PyContextVar_New(name.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, made).map(Bound::unbind)
        }
    })?;
    Ok(variable.bind(py))
}

/// A token of the current Context.
fn new_token(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let variable = variable(py)?;
    // SAFETY: attached; both are borrowed for the call, which returns a new reference or null.
    unsafe {
        let made = ffi::PyContextVar_Set(variable.as_ptr(), ffi::Py_None());
        Bound::from_owned_ptr_or_err(py, made).map(Bound::unbind)
    }
}

/// Do `work` while no garbage is collected: a finalizer might call the store in the middle of it.
fn undisturbed<T>(_: Python<'_>, work: impl FnOnce() -> T) -> T {
    // SAFETY: attached.
    let was_on = unsafe { ffi::PyGC_Disable() } == 1;
    let done = work();
    if was_on {
        // SAFETY: attached.
        unsafe { ffi::PyGC_Enable() };
    }
    done
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
