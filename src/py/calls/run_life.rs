//! The calls about heartbeats, and the recovery of stale runs.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Store;
use crate::py::open::call;
use crate::py::{convert, run};

#[pymethods]
impl Store {
    /// Record a run's heartbeat.
    fn heartbeat(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "heartbeat", "run_id")?;
        call(py, &self.0, |store, caller| store.heartbeat(caller, run_id))
    }

    /// Reopen a run that was recovered.
    fn reopen_run(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "reopen_run", "run_id")?;
        call(py, &self.0, |store, caller| store.reopen_run(caller, run_id))
    }

    /// Have a thread record a run's heartbeats.
    fn begin_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "begin_heartbeats", "run_id")?;
        call(py, &self.0, |store, _| store.begin_heartbeats(run_id))
    }

    /// Stop that.
    fn end_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "end_heartbeats", "run_id")?;
        call(py, &self.0, |store, _| {
            store.end_heartbeats(run_id);
            Ok(())
        })
    }

    /// Finish the runs without a heartbeat or a write for so many seconds; return each's `RunRecord` fields.
    fn recover_stale_runs<'py>(
        &self,
        py: Python<'py>,
        older_than: f64,
        status: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let status = convert::text(status, "recover_stale_runs", "status")?;
        // No run is older than what a Duration cannot hold.
        let older_than = Duration::try_from_secs_f64(older_than).unwrap_or(Duration::MAX);
        let runs = call(py, &self.0, |store, caller| store.recover_stale_runs(caller, older_than, status))?;
        run::tuples(py, &runs, "recover_stale_runs")
    }
}
