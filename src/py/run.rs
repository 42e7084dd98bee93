//! Runs: rows to tuples.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::convert::{cell, during};
use super::{aside, item, json};
use crate::model::rows::{RUN_COLUMNS, Runs};

/// The column of [`Runs`] that holds JSON.
const SETTINGS: usize = 4;

/// A tuple a run, in the order of the fields of `RunRecord`; `operation` heads the message of an error.
pub(super) fn tuples<'py>(py: Python<'py>, runs: &Runs, operation: &str) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in 0..runs.len() {
        if row % item::BREATH == item::BREATH - 1 {
            aside::breathe(py);
        }
        let value = |column| {
            let text = runs.get(row, column);
            let value = match text {
                Some(text) if column == SETTINGS => json::decode(py, text),
                _ => cell(py, text),
            };
            value.map_err(|error| {
                let run_id = String::from_utf8_lossy(runs.get(row, 0).unwrap_or_default());
                during(py, error, &format!("{operation}: run {run_id:?}, {}", RUN_COLUMNS[column]))
            })
        };
        let values = (0..RUN_COLUMNS.len()).map(value).collect::<PyResult<Vec<_>>>()?;
        list.append(PyTuple::new(py, values)?)?;
    }
    Ok(list)
}
