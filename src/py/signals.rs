//! Ctrl-C in the middle of a statement of SQLite's.
//!
//! A signal's handler is Python code, which may use the store, so that it cannot run while a statement does. Here it is
//! only found out whether SIGINT has come. If so the statement fails, its locks are let go, and then the handler runs.

use std::cell::{Cell, OnceCell};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;

use super::names::intern;
use crate::error::Result;
use crate::sqlite::file::control;

/// How long a call goes on before it is asked for, and between two times.
const EVERY: Duration = Duration::from_millis(50);

/// How long one goes on whose handler is not Python's own: others need not raise, and the call would fail for nothing.
const WITH_OTHER_HANDLER: Duration = Duration::from_secs(2);

/// A SIGINT that was taken from Python's record of it, so that its handler is ours to call.
#[derive(Default)]
pub(super) struct Taken(AtomicBool);

impl Taken {
    /// Do `work`; a statement in it fails once SIGINT has come.
    pub(super) fn look_while<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // Since the first look: most calls are over by then.
        let (began, last) = (OnceCell::new(), Cell::new(None));
        let look = || {
            let began = began.get_or_init(Instant::now);
            if !self.is_any() && last.get().unwrap_or(*began).elapsed() >= EVERY {
                last.set(Some(Instant::now()));
                let any = began.elapsed() >= WITH_OTHER_HANDLER;
                self.0.store(is_main_thread() && take(any), Ordering::Relaxed);
            }
            self.is_any()
        };
        control::until(&look, work)
    }

    /// Whether one was taken, and not handled yet.
    pub(super) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Call the handler, if one was taken.
    pub(super) fn handle(&self, py: Python<'_>) -> PyResult<()> {
        if !self.0.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let handler = py.import("_signal")?.call_method1(intern!(py, "getsignal"), (libc::SIGINT,))?;
        if handler.is_callable() {
            let frame = py.import("sys")?.call_method0(intern!(py, "_getframe"))?;
            handler.call1((libc::SIGINT, frame))?;
        }
        Ok(())
    }

    /// Have Python call the handler, if one was taken and the call succeeded all the same.
    pub(super) fn give_back(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            // SAFETY: it may be called at any time.
            unsafe { ffi::PyErr_SetInterruptEx(libc::SIGINT) };
        }
    }
}

/// Whether this is the process's first thread, which runs the handlers of Python's signals.
fn is_main_thread() -> bool {
    // SAFETY: none of them takes anything. glibc has had `gettid` since 2.30 only.
    #[cfg(target_os = "linux")]
    let is_first = unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    // SAFETY: as above.
    #[cfg(not(target_os = "linux"))]
    let is_first = unsafe { libc::pthread_main_np() != 0 };
    is_first
}

/// Take SIGINT from Python's record if it has come, and its handler is Python's own, which raises, or may be `any`.
///
/// The locks of the store are held here, but no attached thread waits for one. Nothing of Python's runs: not even what
/// PyO3 would drop when it attaches.
fn take(any: bool) -> bool {
    // SAFETY: the thread is detached, and attached only in between. The two objects are borrowed, or new and given up.
    unsafe {
        let state = ffi::PyGILState_Ensure();
        let taken = (any || is_default().unwrap_or(false)) && ffi::PyOS_InterruptOccurred() != 0;
        ffi::PyGILState_Release(state);
        taken
    }
}

/// Whether SIGINT has come, and this thread is to run its handler, Python's own. An event loop would be told of the signal
/// again where it has another one.
pub(super) fn is_pending(_: Python<'_>) -> bool {
    // SAFETY: the thread is attached. What is taken from Python's record is put back.
    unsafe {
        let is_pending = is_default().unwrap_or(false) && ffi::PyOS_InterruptOccurred() != 0;
        if is_pending {
            ffi::PyErr_SetInterruptEx(libc::SIGINT);
        }
        is_pending
    }
}

/// Whether the handler of SIGINT is Python's own; `None` where that cannot be found out.
///
/// # Safety
/// The thread is attached.
unsafe fn is_default() -> Option<bool> {
    // SAFETY: as the caller says; each object is checked, and what is new is given up.
    unsafe {
        let name = ffi::PyUnicode_FromString(c"_signal".as_ptr());
        let module = if name.is_null() { name } else { ffi::PyImport_GetModule(name) };
        ffi::Py_XDECREF(name);
        if module.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let default = ffi::PyObject_GetAttrString(module, c"default_int_handler".as_ptr());
        let arguments: c_int = libc::SIGINT;
        let handler = ffi::PyObject_CallMethod(module, c"getsignal".as_ptr(), c"i".as_ptr(), arguments);
        let is_default = !default.is_null() && default == handler;
        for object in [module, default, handler] {
            ffi::Py_XDECREF(object);
        }
        ffi::PyErr_Clear();
        Some(is_default)
    }
}
