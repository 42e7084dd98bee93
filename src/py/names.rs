//! Python objects that are made once.

use std::convert::Infallible;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// As `pyo3::intern`, which keeps others waiting for whoever makes the string, while that thread itself may be waiting for
/// the interpreter. A child that is forked meanwhile would wait for ever.
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

/// What is in `made`, or else what `make` returns. Others may make another one meanwhile, and the first is kept: nobody
/// has the lock but for a moment, in which he has the interpreter.
pub(super) fn once<T, E>(made: &OnceLock<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    match made.get() {
        Some(made) => Ok(made),
        None => {
            let fresh = make()?;
            Ok(made.get_or_init(|| fresh))
        }
    }
}
