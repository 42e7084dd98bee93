//! The calls about runs: records, heartbeats and recovery.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::Store;
use crate::error::excerpt;
use crate::memory;
use crate::model::columns::RunColumn;
use crate::model::rows::{IfOver, NewRun, RunEnd};
use crate::model::time::now;
use crate::py::convert::{run, values};
use crate::py::open::call;
use crate::py::options;
use crate::sqlite::lists::runs::{Prefix, RunFilter};

/// Runs, and the cursor of the next page.
type RunPage<'py> = (Bound<'py, PyList>, Option<String>);

#[pymethods]
impl Store {
    /// Record a new run and return its `started_at`; of one that is there already, with `if_exists="return"`, the fields
    /// of its `RunRecord`.
    fn start_run<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
        run_type: &Bound<'py, PyAny>,
        settings_snapshot: &Bound<'py, PyAny>,
        if_exists: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let run_id = values::text(run_id, "start_run", "run_id")?;
        let operation = format!("start_run {}", excerpt(run_id));
        let may_exist = values::choice(if_exists, &operation, "if_exists", ["error", "return"])? == 1;
        let started_at = now();
        let run = NewRun {
            run_id: memory::text(run_id)?,
            run_type: memory::text(values::text(run_type, &operation, "run_type")?)?,
            started_at: started_at.clone(),
            settings_snapshot_json: values::json_text(
                settings_snapshot,
                &self.1,
                &operation,
                "settings_snapshot",
            )?,
        };
        if may_exist {
            // What cannot be returned is refused before its heartbeat is recorded.
            run::tuples(
                py,
                &call(py, &self.0, |store, caller| store.get_run_for("start_run", caller, &run.run_id))?,
                "start_run",
            )?;
            let found = call(py, &self.0, |store, caller| store.start_or_get_run(caller, &run))?;
            if let Some(run) = run::changed_tuples(py, &found)?.iter().next() {
                return Ok(run);
            }
        } else {
            call(py, &self.0, |store, caller| store.start_run(caller, run))?;
        }
        Ok(started_at.into_pyobject(py)?.into_any())
    }

    /// Set a run's status, notes and `finished_at`: with `force` also of a recovered run, with `if_running` only of a
    /// running one. Return whether that is committed; in the caller's own transaction it is not yet.
    #[pyo3(signature = (run_id, status, notes, force, *, if_running = false))]
    fn finish_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        notes: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
        if_running: bool,
    ) -> PyResult<bool> {
        let if_over = match options::flag(force, "finish_run: force")? {
            true => IfOver::Force,
            false if if_running => IfOver::Keep,
            false => IfOver::Replace,
        };
        let run_id = values::text(run_id, "finish_run", "run_id")?;
        let operation = format!("finish_run {}", excerpt(run_id));
        let end = RunEnd {
            run_id: memory::text(run_id)?,
            status: memory::text(values::text(status, &operation, "status")?)?,
            notes: values::optional_text(notes, &operation, "notes")?.map(memory::text).transpose()?,
            if_over,
        };
        call(py, &self.0, |store, caller| {
            store.finish_run(caller, end)?;
            Ok(!store.is_in_transaction(caller))
        })
    }

    /// Record a run's heartbeat.
    fn heartbeat(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = values::text(run_id, "heartbeat", "run_id")?;
        call(py, &self.0, |store, caller| store.heartbeat(caller, run_id))
    }

    /// Reopen a run that was recovered.
    fn reopen_run(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = values::text(run_id, "reopen_run", "run_id")?;
        call(py, &self.0, |store, caller| store.reopen_run(caller, run_id))
    }

    /// Have a thread record a run's heartbeats.
    fn begin_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = values::text(run_id, "begin_heartbeats", "run_id")?;
        call(py, &self.0, |store, _| store.begin_heartbeats(run_id))
    }

    /// Stop that.
    fn end_heartbeats(&self, py: Python<'_>, run_id: &Bound<'_, PyAny>) -> PyResult<()> {
        let run_id = values::text(run_id, "end_heartbeats", "run_id")?;
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
        trust_clock: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let status = values::text(status, "recover_stale_runs", "status")?;
        let trust_clock = options::flag(trust_clock, "recover_stale_runs: trust_clock")?;
        // No run is older than what a Duration cannot hold.
        let older_than = Duration::try_from_secs_f64(older_than).unwrap_or(Duration::MAX);
        let runs = call(py, &self.0, |store, caller| {
            store.recover_stale_runs(caller, older_than, status, trust_clock)
        })?;
        run::changed_tuples(py, &runs)
    }

    /// Return the fields of a run's `RunRecord`; None if there is no such run.
    fn get_run<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let run_id = values::text(run_id, "get_run", "run_id")?;
        let found = call(py, &self.0, |store, caller| store.get_run(caller, run_id))?;
        let run = run::tuples(py, &found, "get_run")?.iter().next();
        run.map(|run| Ok(run.cast_into()?)).transpose()
    }

    /// Return the fields of runs, and the cursor of those that are left.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the call in Python")]
    fn list_runs<'py>(
        &self,
        py: Python<'py>,
        run_id_prefix: &Bound<'py, PyAny>,
        run_type: &Bound<'py, PyAny>,
        status: &Bound<'py, PyAny>,
        since: &Bound<'py, PyAny>,
        until: &Bound<'py, PyAny>,
        order: &Bound<'py, PyAny>,
        limit: &Bound<'py, PyAny>,
        cursor: &Bound<'py, PyAny>,
    ) -> PyResult<RunPage<'py>> {
        let filter = filter("list_runs", run_id_prefix, run_type, status, since, until)?;
        let order = values::order(order, "list_runs")?;
        let limit = values::limit(limit, "list_runs")?;
        let cursor = values::optional_text(cursor, "list_runs", "cursor")?;
        let (found, next) =
            call(py, &self.0, |store, caller| store.list_runs(caller, &filter, order, limit, cursor))?;
        Ok((run::tuples(py, &found, "list_runs")?, next))
    }

    /// Return how many runs there are of each status or type, the most frequent first.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the call in Python")]
    fn count_runs_by<'py>(
        &self,
        py: Python<'py>,
        by: &Bound<'py, PyAny>,
        run_id_prefix: &Bound<'py, PyAny>,
        run_type: &Bound<'py, PyAny>,
        status: &Bound<'py, PyAny>,
        since: &Bound<'py, PyAny>,
        until: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        const COLUMNS: [RunColumn; 2] = [RunColumn::Status, RunColumn::RunType];
        let by = values::choice(by, "count_runs_by", "by", COLUMNS.map(RunColumn::name))?;
        let filter = filter("count_runs_by", run_id_prefix, run_type, status, since, until)?;
        let counts = call(py, &self.0, |store, caller| store.count_runs_by(caller, COLUMNS[by], &filter))?;
        values::tally(py, &counts, "count_runs_by", COLUMNS[by].name())
    }

    /// Return how many runs there are.
    fn count_runs(
        &self,
        py: Python<'_>,
        run_id_prefix: &Bound<'_, PyAny>,
        run_type: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        since: &Bound<'_, PyAny>,
        until: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let filter = filter("count_runs", run_id_prefix, run_type, status, since, until)?;
        call(py, &self.0, |store, caller| store.count_runs(caller, &filter))
    }
}

/// The filter of a list or a count.
pub(in crate::py) fn filter(
    operation: &str,
    run_id_prefix: &Bound<'_, PyAny>,
    run_type: &Bound<'_, PyAny>,
    status: &Bound<'_, PyAny>,
    since: &Bound<'_, PyAny>,
    until: &Bound<'_, PyAny>,
) -> PyResult<RunFilter> {
    let text = |value, name| -> PyResult<_> {
        Ok(values::optional_text(value, operation, name)?.map(memory::text).transpose()?)
    };
    Ok(RunFilter {
        run_id_prefix: text(run_id_prefix, "run_id_prefix")?.map_or(Ok(None), Prefix::new)?,
        run_type: text(run_type, "run_type")?,
        statuses: values::texts(status, operation, "status")?,
        since: text(since, "since")?,
        until: text(until, "until")?,
    })
}
