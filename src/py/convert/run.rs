//! Runs: rows to tuples.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::json;
use super::values::{cell, during};
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
    let list = PyList::empty(py);
    let mut time_slice = TimeSlice::begin();
    for row in 0..runs.len() {
        time_slice.yield_gil(py);
        let value = |column: &RunColumn| {
            let text = runs.get(row, *column);
            let value = match text {
                Some(text) if *column == RunColumn::SettingsSnapshot => json::decode(py, text),
                _ => cell(py, text),
            };
            value.map_err(|error| {
                let run_id = String::from_utf8_lossy(runs.get(row, RunColumn::RunId).unwrap_or_default());
                during(py, error, &format!("{operation}: run {}, {}", excerpt(&run_id), column.name()))
            })
        };
        let values = RunColumn::ALL.iter().map(value).collect::<PyResult<Vec<_>>>()?;
        list.append(PyTuple::new(py, values)?)?;
    }
    Ok(list)
}
