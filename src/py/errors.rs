//! Errors as Python exceptions: a class for each kind.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::names::intern;
use crate::error::{ErrorKind, MOST_QUOTED, StoreError, cut, excerpt, one_line};
use crate::memory::OutOfMemory;

/// What the binding raises by itself, beside the [`ErrorKind`]s; here, too, each has a class of the same name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    MissingField,
    InvalidType,
    InvalidValue,
    NestingTooDeep,
    InvalidJSON,
}

impl Refusal {
    /// An exception of this class.
    pub(super) fn error(self, py: Python<'_>, message: impl std::fmt::Display) -> PyErr {
        raise(py, &format!("{self:?}Error"), &message.to_string())
    }
}

impl From<OutOfMemory> for PyErr {
    fn from(error: OutOfMemory) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for PyErr {
    fn from(error: StoreError) -> Self {
        let class = match error.kind {
            ErrorKind::Interrupted | ErrorKind::Other => "StateStoreError".to_owned(),
            kind => format!("{kind:?}Error"),
        };
        Python::attach(|py| {
            let raised = raise(py, &class, &error.to_string());
            if let Some(code) = error.sqlite_code {
                // The name that the standard library gives it; an exception always takes attributes.
                let _ = raised.value(py).setattr("sqlite_errorcode", code);
            }
            raised
        })
    }
}

/// The error of a value whose type is not what is `wanted`, as "name must be a str".
pub(super) fn wrong_type(value: &Bound<'_, PyAny>, wanted: impl std::fmt::Display) -> PyErr {
    match value.get_type().name() {
        Ok(found) => Refusal::InvalidType.error(value.py(), format!("{wanted}, not {found}")),
        Err(error) => error,
    }
}

/// The error of a value that is not what is `wanted`.
pub(super) fn wrong_value(value: &Bound<'_, PyAny>, wanted: impl std::fmt::Display) -> PyErr {
    Refusal::InvalidValue.error(value.py(), format!("{wanted}, not {}", shown(value)))
}

/// The same exception, with a note of where it was raised. One whose own code refuses the note does without.
pub(super) fn noted(py: Python<'_>, error: PyErr, what: &str) -> PyErr {
    let _ = error.value(py).call_method1(intern!(py, "add_note"), (what,));
    error
}

/// The class of this name from `orchestrator.state_store.exceptions`.
pub(super) fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    Ok(py.import("orchestrator.state_store.exceptions")?.getattr(name)?.cast_into()?)
}

/// A text of the caller's as messages quote it, without quotes.
pub(super) fn escaped(text: &str) -> String {
    cut(text.escape_debug().take(MOST_QUOTED + 1).collect())
}

/// A value of the caller's as messages quote it, in words where Python does not print it: it may be of any length.
pub(super) fn shown(value: &Bound<'_, PyAny>) -> String {
    if let Some(text) = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok()) {
        return excerpt(text);
    }
    match value.repr() {
        Ok(printed) => cut(one_line(&printed.to_string_lossy())),
        Err(_) => value.get_type().name().map_or_else(|_| "?".to_owned(), |name| format!("a {name}")),
    }
}

fn raise(py: Python<'_>, name: &str, message: &str) -> PyErr {
    match class(py, name) {
        Ok(class) => PyErr::from_type(class, (message.to_owned(),)),
        Err(error) => error,
    }
}
