//! Runs: rows to tuples.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::values::{cell, during};
use super::{item, json};
use crate::model::columns::RunColumn;
use crate::model::rows::Runs;
use crate::py::gil;

/// A tuple a run, in the order of the fields of `RunRecord`; `operation` heads the message of an error.
pub(in crate::py) fn tuples<'py>(
    py: Python<'py>,
    runs: &Runs,
    operation: &str,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in 0..runs.len() {
        if row % item::BREATH == item::BREATH - 1 {
            gil::yield_gil(py);
        }
        let value = |column: &RunColumn| {
            let text = runs.get(row, *column);
            let value = match text {
                Some(text) if *column == RunColumn::SettingsSnapshot => json::decode(py, text),
                _ => cell(py, text),
            };
            value.map_err(|error| {
                let run_id = String::from_utf8_lossy(runs.get(row, RunColumn::RunId).unwrap_or_default());
                during(py, error, &format!("{operation}: run {run_id:?}, {}", column.name()))
            })
        };
        let values = RunColumn::ALL.iter().map(value).collect::<PyResult<Vec<_>>>()?;
        list.append(PyTuple::new(py, values)?)?;
    }
    Ok(list)
}
