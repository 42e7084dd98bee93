//! Python objects that are made once.

use std::convert::Infallible;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Like `pyo3::intern`, but without its lock: there, others wait for the thread that makes the string, which may itself
/// wait for the interpreter. A child that is forked at that moment would wait for ever.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static NAME: std::sync::OnceLock<pyo3::Py<pyo3::types::PyString>> = std::sync::OnceLock::new();
        $crate::py::names::name($py, &NAME, $text)
    }};
}
pub(super) use intern;

/// The string of `text`, made by the first who asks.
pub(super) fn name<'py>(
    py: Python<'py>,
    made: &'static OnceLock<Py<PyString>>,
    text: &str,
) -> &'py Bound<'py, PyString> {
    let Ok(name) = once(made, || Ok::<_, Infallible>(PyString::intern(py, text).unbind()));
    name.bind(py)
}

/// The value in `made`, or else the one that `make` returns. If several threads make one, the first is kept. The lock
/// is held only for a moment, by a thread that has the interpreter.
pub(super) fn once<T, E>(made: &OnceLock<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    match made.get() {
        Some(made) => Ok(made),
        None => {
            let fresh = make()?;
            Ok(made.get_or_init(|| fresh))
        }
    }
}
