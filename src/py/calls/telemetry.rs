//! The calls about telemetry.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Store;
use crate::model::rows::Telemetry;
use crate::py::convert::{json, values};
use crate::py::errors::Refusal;
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
        let operation = format!("write_telemetry {run_id:?}");
        let document = Telemetry {
            run_id: run_id.to_owned(),
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
        let operation = format!("merge_telemetry {run_id:?}");
        if !telemetry.is_instance_of::<PyDict>() {
            let found = telemetry.get_type().name()?;
            let what = format!("{operation}: telemetry must be a dict, not {found}");
            return Err(Refusal::InvalidType.error(py, what));
        }
        let members = Telemetry {
            run_id: run_id.to_owned(),
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
        let document = json::decode(py, &document).map_err(|error| {
            values::during(py, error, &format!("get_telemetry {run_id:?}: telemetry_json"))
        })?;
        Ok(Some(document))
    }
}
