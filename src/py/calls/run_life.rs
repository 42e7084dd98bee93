//! The calls about the life of a run: its signs, and what becomes of one that gives none.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Store;
use crate::py::open::call;
use crate::py::{convert, run};

#[pymethods]
impl Store {
    /// Give a run's sign of life.
    fn heartbeat(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "heartbeat", "run_id")?;
        call(py, &self.0, |store, caller| store.heartbeat(caller, run_id))
    }

    /// Have a run that was recovered go on.
    fn reopen_run(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "reopen_run", "run_id")?;
        call(py, &self.0, |store, caller| store.reopen_run(caller, run_id))
    }

    /// Have a thread give a run's signs of life.
    fn begin_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "begin_heartbeats", "run_id")?;
        call(py, &self.0, |store, _| store.begin_heartbeats(run_id))
    }

    /// Have it give them no more.
    fn end_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = convert::text(run_id, "end_heartbeats", "run_id")?;
        call(py, &self.0, |store, _| {
            store.end_heartbeats(run_id);
            Ok(())
        })
    }

    /// Finish the runs that have given no sign of life for so many seconds; return each's `RunRecord` fields.
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
