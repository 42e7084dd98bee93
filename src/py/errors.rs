//! Errors as Python exceptions: a class for each kind.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use super::names::intern;
use crate::error::{ErrorKind, MOST_QUOTED, StoreError, cut, excerpt, one_line};
use crate::memory::OutOfMemory;

/// The exception classes that the binding raises by itself, beside those of [`ErrorKind`].
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    MissingField,
    InvalidType,
    InvalidValue,
    NestingTooDeep,
    InvalidJson,
}

impl Refusal {
    /// An exception of this class.
    pub(super) fn error(self, py: Python<'_>, message: impl std::fmt::Display) -> PyErr {
        let class = match self {
            Self::MissingField => "MissingFieldError",
            Self::InvalidType => "InvalidTypeError",
            Self::InvalidValue => "InvalidValueError",
            Self::NestingTooDeep => "NestingTooDeepError",
            Self::InvalidJson => "InvalidJSONError",
        };
        raise(py, class, &message.to_string())
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
            ErrorKind::RunExists => "RunExistsError",
            ErrorKind::RunNotFound => "RunNotFoundError",
            ErrorKind::RunActive => "RunActiveError",
            ErrorKind::RunFinished => "RunFinishedError",
            ErrorKind::IntelItemNotFound => "IntelItemNotFoundError",
            ErrorKind::StoreBusy => "StoreBusyError",
            ErrorKind::DiskFull => "DiskFullError",
            ErrorKind::StorageIO => "StorageIOError",
            ErrorKind::OutOfMemory => "OutOfMemoryError",
            ErrorKind::CommitOutcomeUnknown => "CommitOutcomeUnknownError",
            ErrorKind::CannotOpen => "CannotOpenError",
            ErrorKind::FileMoved => "FileMovedError",
            ErrorKind::ReadOnly => "ReadOnlyError",
            ErrorKind::Query => "QueryError",
            ErrorKind::NotADatabase => "NotADatabaseError",
            ErrorKind::CorruptDatabase => "CorruptDatabaseError",
            ErrorKind::ForeignDatabase => "ForeignDatabaseError",
            ErrorKind::SchemaTooNew => "SchemaTooNewError",
            ErrorKind::StoreClosed => "StoreClosedError",
            ErrorKind::Transaction => "TransactionError",
            ErrorKind::TransactionDoomed => "TransactionDoomedError",
            ErrorKind::InvalidValue => "InvalidValueError",
            ErrorKind::Clock => "ClockError",
            ErrorKind::Interrupted | ErrorKind::Other => "StateStoreError",
        };
        Python::attach(|py| {
            let raised = raise(py, class, &error.to_string());
            if let Some(code) = error.sqlite_code {
                // The name that the standard library gives it; an exception always takes attributes.
                let _ = raised.value(py).setattr("sqlite_errorcode", code);
            }
            raised
        })
    }
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
