//! The calls about telemetry.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Store;
use crate::error::excerpt;
use crate::memory;
use crate::model::rows::Telemetry;
use crate::py::convert::{json, values};
use crate::py::errors::wrong_type;
use crate::py::gil::TimeSlice;
use crate::py::open::call;
use crate::py::options;

#[pymethods]
impl Store {
    /// Set a run's telemetry document; with `force` that of one that was recovered, too.
    fn write_telemetry(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        telemetry: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let run_id = values::text(run_id, "write_telemetry", "run_id")?;
        let operation = format!("write_telemetry {}", excerpt(run_id));
        let document = Telemetry {
            run_id: memory::text(run_id)?,
            telemetry_json: values::json_text(telemetry, &self.1, &operation, "telemetry")?,
            force: options::flag(force, "write_telemetry: force")?,
        };
        call(py, &self.0, |store, caller| store.write_telemetry(caller, document))
    }

    /// Put the items of a dict over those of a run's telemetry document.
    fn merge_telemetry(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        telemetry: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let run_id = values::text(run_id, "merge_telemetry", "run_id")?;
        let operation = format!("merge_telemetry {}", excerpt(run_id));
        if !telemetry.is_instance_of::<PyDict>() {
            return Err(wrong_type(telemetry, format_args!("{operation}: telemetry must be a dict")));
        }
        let members = Telemetry {
            run_id: memory::text(run_id)?,
            telemetry_json: values::json_text(telemetry, &self.1, &operation, "telemetry")?,
            force: options::flag(force, "merge_telemetry: force")?,
        };
        call(py, &self.0, |store, caller| store.merge_telemetry(caller, members))
    }

    /// Return a run's telemetry document; None if it has none.
    fn get_telemetry<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let run_id = values::text(run_id, "get_telemetry", "run_id")?;
        let Some(document) = call(py, &self.0, |store, caller| store.get_telemetry(caller, run_id))? else {
            return Ok(None);
        };
        decode(py, &document, "get_telemetry", run_id).map(Some)
    }

    /// Return the telemetry documents of those of these runs that have one.
    fn list_telemetry<'py>(
        &self,
        py: Python<'py>,
        run_ids: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let run_ids = values::several_texts(run_ids, "list_telemetry", "run_ids")?;
        let found = call(py, &self.0, |store, caller| store.list_telemetry(caller, &run_ids))?;
        let documents = PyDict::new(py);
        let mut time_slice = TimeSlice::begin();
        for (run_id, document) in run_ids.iter().zip(found) {
            time_slice.yield_gil_or_end(py)?;
            if let Some(document) = document {
                documents.set_item(run_id, decode(py, &document, "list_telemetry", run_id)?)?;
            }
        }
        Ok(documents)
    }
}

/// A document, for the call that reads it.
pub(in crate::py) fn decode<'py>(
    py: Python<'py>,
    document: &[u8],
    call: &str,
    run_id: &str,
) -> PyResult<Bound<'py, PyAny>> {
    json::decode(py, document, true).or_else(|error| {
        let what = format!("{call} {}: telemetry_json", excerpt(run_id));
        values::unreadable(py, error, &what, "telemetry", document)
    })
}
