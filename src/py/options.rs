//! The options of `StateStore`, checked.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::Location;
use crate::error::excerpt;
use crate::py::errors::{Refusal, wrong_type, wrong_value};
use crate::sqlite::file::connection::Synchronous;

/// The longest `busy_timeout`, in seconds: some thirty years.
const LONGEST_TIMEOUT: f64 = 1e9;

/// The largest `pool_size`.
const LARGEST_POOL: usize = 64;

/// Where a str or a path leads. Only a str may be a URL.
pub(super) fn location(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Location> {
    let py = value.py();
    let path: PathBuf = value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyUnicodeEncodeError>(py) {
            return Refusal::InvalidValue
                .error(py, format!("{name} has a surrogate in it, which no path can have"));
        }
        // What `__fspath__` raised is its author's to see.
        if !error.is_instance_of::<PyTypeError>(py) {
            return error;
        }
        wrong_type(value, format_args!("{name} must be a str or an os.PathLike of str"))
    })?;
    if path.as_os_str().is_empty() {
        return Err(Refusal::InvalidValue.error(py, format!("{name} is empty")));
    }
    if !value.is_instance_of::<PyString>() {
        return Ok(Location::of_path(path.as_os_str()));
    }
    Ok(Location::of_text(path.as_os_str()).map_err(|error| error.during(name))?)
}

/// What is to be called, if anything is.
pub(super) fn callback(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Py<PyAny>>> {
    if !value.is_none() && !value.is_callable() {
        return Err(wrong_type(value, format_args!("{name} must be callable, or None")));
    }
    Ok((!value.is_none()).then(|| value.clone().unbind()))
}

pub(super) fn synchronous(value: &Bound<'_, PyAny>) -> PyResult<Synchronous> {
    let py = value.py();
    let wanted = "synchronous must be \"FULL\" or \"NORMAL\"";
    match value.cast::<PyString>().map_err(|_| Refusal::InvalidType.error(py, wanted))?.to_str()? {
        "FULL" => Ok(Synchronous::Full),
        "NORMAL" => Ok(Synchronous::Normal),
        other => Err(Refusal::InvalidValue.error(py, format!("{wanted}, not {}", excerpt(other)))),
    }
}

pub(super) fn busy_timeout(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let wanted = format!("busy_timeout must be a number of seconds from 0 to {LONGEST_TIMEOUT:e}");
    if value.is_instance_of::<PyBool>()
        || !(value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>())
    {
        return Err(wrong_type(value, wanted));
    }
    let seconds = value.extract::<f64>().ok().filter(|seconds| (0.0..=LONGEST_TIMEOUT).contains(seconds));
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(timeout)) => Ok(timeout),
        _ => Err(wrong_value(value, wanted)),
    }
}

pub(super) fn pool_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let wanted = format!("pool_size must be an int from 1 to {LARGEST_POOL}");
    match integer(value, &wanted)?.filter(|size| (1..=LARGEST_POOL).contains(size)) {
        Some(size) => Ok(size),
        None => Err(wrong_value(value, wanted)),
    }
}

pub(super) fn file_mode(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    let wanted = "file_mode must be permission bits that let the owner read and write, such as 0o600";
    match integer(value, wanted)?.filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600) {
        Some(mode) => Ok(mode as u32),
        None => Err(wrong_value(value, wanted)),
    }
}

pub(super) fn flag(value: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    match value.cast::<PyBool>() {
        Ok(flag) => Ok(flag.is_true()),
        Err(_) => Err(wrong_type(value, format_args!("{name} must be a bool"))),
    }
}

/// An int, but not a bool; `None` where it does not fit.
pub(super) fn integer(value: &Bound<'_, PyAny>, wanted: &str) -> PyResult<Option<usize>> {
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        return Err(wrong_type(value, wanted));
    }
    Ok(value.extract().ok())
}
