//! The calls about telemetry.

use pyo3::prelude::*;

use super::{Store, call};
use crate::model::Telemetry;
use crate::py::convert;

#[pymethods]
impl Store {
    /// Set a run's telemetry document.
    fn write_telemetry(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        telemetry: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let run_id = convert::text(run_id, "write_telemetry", "run_id")?;
        let operation = format!("write_telemetry {run_id:?}");
        let document = Telemetry {
            run_id: run_id.to_owned(),
            telemetry_json: convert::json_text(telemetry, &operation, "telemetry")?,
        };
        call(py, &self.0, |store, caller| store.write_telemetry(caller, document))
    }
}
