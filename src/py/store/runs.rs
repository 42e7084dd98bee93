//! The calls about runs.

use pyo3::prelude::*;

use super::{Open, Store, call};
use crate::model::{IfOver, NewRun, RunEnd, now};
use crate::py::convert;

#[pymethods]
impl Store {
    /// Record a new run and return its `started_at`.
    fn start_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        run_type: &Bound<'_, PyAny>,
        settings_snapshot: &Bound<'_, PyAny>,
    ) -> PyResult<String> {
        let run_id = convert::text(run_id, "start_run", "run_id")?;
        let operation = format!("start_run {run_id:?}");
        let started_at = now();
        let run = NewRun {
            run_id: run_id.to_owned(),
            run_type: convert::text(run_type, &operation, "run_type")?.to_owned(),
            started_at: started_at.clone(),
            settings_snapshot_json: convert::json_text(settings_snapshot, &operation, "settings_snapshot")?,
        };
        call(py, &self.0, |store, caller| store.start_run(caller, run))?;
        Ok(started_at)
    }

    /// Set a run's status, notes and `finished_at`; with `force` those of one that was recovered, too.
    fn finish_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        notes: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let force = convert::flag(force, "finish_run", "force")?;
        finish(py, &self.0, run_id, status, notes, if force { IfOver::Force } else { IfOver::Replace })
    }

    /// Set the same, unless the run is over; raise where it was recovered.
    fn finish_running(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        notes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        finish(py, &self.0, run_id, status, notes, IfOver::Keep)
    }
}

fn finish(
    py: Python<'_>,
    open: &Open,
    run_id: &Bound<'_, PyAny>,
    status: &Bound<'_, PyAny>,
    notes: &Bound<'_, PyAny>,
    if_over: IfOver,
) -> PyResult<()> {
    let run_id = convert::text(run_id, "finish_run", "run_id")?;
    let operation = format!("finish_run {run_id:?}");
    let end = RunEnd {
        run_id: run_id.to_owned(),
        status: convert::text(status, &operation, "status")?.to_owned(),
        notes: convert::optional_text(notes, &operation, "notes")?.map(str::to_owned),
        if_over,
    };
    call(py, open, |store, caller| store.finish_run(caller, end))
}
