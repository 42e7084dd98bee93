//! Runs: rows to tuples.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use super::json;
use super::values::{cell, unreadable};
use crate::error::excerpt;
use crate::model::columns::RunColumn;
use crate::model::rows::Runs;
use crate::py::gil::TimeSlice;

/// A tuple a run, in the order of the fields of `RunRecord`; `operation` heads the message of an error.
pub(in crate::py) fn tuples<'py>(
    py: Python<'py>,
    runs: &Runs,
    operation: &str,
) -> PyResult<Bound<'py, PyList>> {
    convert(py, runs, true, |row, column, error| {
        let run_id = String::from_utf8_lossy(runs.get(row, RunColumn::RunId).unwrap_or_default());
        let what = format!("{operation}: run {}, {}", excerpt(&run_id), column.name());
        unreadable(py, error, &what, "runs", runs.get(row, column).unwrap_or_default())
    })
}

/// As [`tuples`], for a call that has changed these runs, and has to say so: what cannot be decoded comes as its text.
pub(in crate::py) fn changed_tuples<'py>(py: Python<'py>, runs: &Runs) -> PyResult<Bound<'py, PyList>> {
    convert(py, runs, false, |row, column, _| {
        let text = String::from_utf8_lossy(runs.get(row, column).unwrap_or_default());
        Ok(PyString::from_bytes(py, text.as_bytes())?.into_any())
    })
}

/// A tuple a run; `otherwise` says what comes of a cell that cannot be decoded. What a signal's handler raises ends it
/// where it `may_end`.
fn convert<'py>(
    py: Python<'py>,
    runs: &Runs,
    may_end: bool,
    otherwise: impl Fn(usize, RunColumn, PyErr) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    let mut time_slice = TimeSlice::begin();
    for row in 0..runs.len() {
        if may_end {
            time_slice.yield_gil_or_end(py)?;
        } else {
            time_slice.yield_gil(py);
        }
        let value = |column: &RunColumn| {
            let value = match runs.get(row, *column) {
                Some(text) if *column == RunColumn::SettingsSnapshot => json::decode(py, text, may_end),
                text => cell(py, text),
            };
            value.or_else(|error| otherwise(row, *column, error))
        };
        let values = RunColumn::ALL.iter().map(value).collect::<PyResult<Vec<_>>>()?;
        list.append(PyTuple::new(py, values)?)?;
    }
    Ok(list)
}
