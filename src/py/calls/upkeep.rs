//! The calls that delete, and that maintain the file.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;

use super::Store;
use crate::Location;
use crate::error::{ErrorKind, StoreError};
use crate::memory;
use crate::py::convert::{json, values};
use crate::py::copying::{Snapshot, TextRows};
use crate::py::errors::{Refusal, wrong_value};
use crate::py::open::call;
use crate::py::options;
use crate::sqlite::tables::deletion::Deleted;
use crate::sqlite::upkeep::backup::Progress;
use crate::sqlite::upkeep::prune::Prune;
use crate::sync::lock;

/// A finding: its kind, table, id and message.
type Finding = (&'static str, Option<&'static str>, Option<String>, String);

/// Runs, items and telemetry documents that were deleted.
type Counts = (u64, u64, u64);

#[pymethods]
impl Store {
    /// Delete a run; return how many runs, items and telemetry documents that were.
    fn delete_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
    ) -> PyResult<Counts> {
        let run_id = values::text(run_id, "delete_run", "run_id")?;
        let force = options::flag(force, "delete_run: force")?;
        call(py, &self.0, |store, caller| store.delete_run(caller, run_id, force)).map(counts)
    }

    /// Delete finished runs; return how many runs, items and telemetry documents that were.
    #[expect(clippy::too_many_arguments, reason = "one for each of the call's options")]
    fn prune(
        &self,
        py: Python<'_>,
        older_than: Option<f64>,
        keep_last: &Bound<'_, PyAny>,
        run_type: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        dry_run: &Bound<'_, PyAny>,
        keep_seen: &Bound<'_, PyAny>,
        trust_clock: &Bound<'_, PyAny>,
    ) -> PyResult<Counts> {
        let prune = Prune {
            older_than: older_than.map(Duration::from_secs_f64),
            keep_last: count(keep_last, "prune: keep_last")?,
            run_type: values::optional_text(run_type, "prune", "run_type")?.map(memory::text).transpose()?,
            statuses: values::texts(status, "prune", "status")?,
            keep_seen: options::flag(keep_seen, "prune: keep_seen")?,
            trust_clock: options::flag(trust_clock, "prune: trust_clock")?,
        };
        let dry_run = options::flag(dry_run, "prune: dry_run")?;
        call(py, &self.0, |store, caller| store.prune(caller, &prune, dry_run)).map(counts)
    }

    /// Give free pages back; return how many bytes, and why not more.
    fn vacuum(&self, py: Python<'_>, full: &Bound<'_, PyAny>) -> PyResult<(u64, Option<String>)> {
        let full = options::flag(full, "vacuum: full")?;
        let done = call(py, &self.0, |store, caller| store.vacuum(caller, full))?;
        Ok((done.bytes_freed, done.reason))
    }

    /// Return what is in the file, and what this store has done to it, by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = call(py, &self.0, |store, caller| store.stats(caller))?;
        let found = PyDict::new(py);
        let by_status = PyDict::new(py);
        for (status, runs) in &stats.runs_by_status {
            by_status.set_item(status, runs)?;
        }
        found.set_item("runs", stats.runs_by_status.iter().map(|(_, runs)| runs).sum::<u64>())?;
        found.set_item("runs_by_status", by_status)?;
        for (name, number) in [
            ("intel_items", stats.intel_items),
            ("telemetry", stats.telemetry),
            ("file_bytes", stats.file_bytes),
            ("wal_bytes", stats.wal_bytes),
            ("free_bytes", stats.free_bytes),
            ("page_size", stats.page_size),
            ("commits", stats.commits),
            ("grouped_writes", stats.grouped_writes),
            ("syncs", stats.syncs),
            ("checkpoints", stats.checkpoints),
            ("hard_links", stats.hard_links),
            ("failed_syncs", stats.failed_syncs),
        ] {
            found.set_item(name, number)?;
        }
        found.set_item("sqlite_version", crate::sqlite_version())?;
        found.set_item("schema_version", stats.schema_version)?;
        found.set_item("panicked", stats.panicked)?;
        Ok(found)
    }

    /// Return the problems: kind, table, id and message of each finding.
    fn check(&self, py: Python<'_>, stale_after: f64) -> PyResult<Vec<Finding>> {
        let raised = Mutex::new(None);
        let is_json = |text: &[u8]| {
            json::fault(text).map_err(|error| {
                *lock(&raised) = Some(error);
                StoreError::new(ErrorKind::Interrupted, "the json module raised")
            })
        };
        let found = call(py, &self.0, |store, caller| {
            store.check(caller, Duration::from_secs_f64(stale_after), &is_json)
        });
        if let Some(error) = lock(&raised).take() {
            return Err(error);
        }
        let tuple = |each: crate::Finding| (each.kind.name(), each.table, each.id, each.message);
        Ok(found?.into_iter().map(tuple).collect())
    }

    /// Checkpoint the log; return its bytes before and after, and whether all of it was checkpointed.
    fn checkpoint(&self, py: Python<'_>) -> PyResult<(u64, u64, bool)> {
        let done = call(py, &self.0, |store, caller| store.checkpoint(caller))?;
        Ok((done.wal_bytes_before, done.wal_bytes_after, done.complete))
    }

    /// Copy the store to a file while others write; `progress` is called with pages copied and pages in all.
    fn backup(
        &self,
        py: Python<'_>,
        dest: &Bound<'_, PyAny>,
        overwrite: &Bound<'_, PyAny>,
        progress: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let Location::File(dest) = options::location(dest, "dest")? else {
            let message = "dest: a copy in memory would be gone at once; name a file";
            return Err(Refusal::InvalidValue.error(py, message));
        };
        let overwrite = options::flag(overwrite, "overwrite")?;
        let callback = options::callback(progress, "progress")?;
        let mut raised = None;
        let mut report = |progress: Progress| {
            let Some(callback) = &callback else { return Ok(()) };
            Python::attach(|py| callback.call1(py, (progress.copied, progress.total))).map(drop).map_err(
                |error| {
                    raised = Some(error);
                    StoreError::new(ErrorKind::Interrupted, "progress raised")
                },
            )
        };
        let done = call(py, &self.0, |store, caller| store.backup(caller, &dest, overwrite, &mut report));
        raised.map_or(done, Err)
    }

    /// Pin the store as it is now, for reads while others write.
    fn pin(&self, py: Python<'_>) -> PyResult<Snapshot> {
        call(py, &self.0, |store, caller| store.pin(caller)).map(Snapshot::new)
    }

    /// Return the mark of a copy that is not finished; None where there is none.
    fn copy_mark(&self, py: Python<'_>) -> PyResult<Option<String>> {
        call(py, &self.0, |store, caller| store.copy_mark(caller))
    }

    /// Make the store a copy that is not finished, without rows.
    fn begin_copy(&self, py: Python<'_>, mark: &str) -> PyResult<()> {
        call(py, &self.0, |store, caller| store.begin_copy(caller, mark))
    }

    /// Insert rows as they are, and set the mark, which must be `before`; all or nothing.
    fn copy_rows(
        &self,
        py: Python<'_>,
        table: &str,
        columns: Vec<String>,
        rows: TextRows,
        before: &str,
        mark: &str,
    ) -> PyResult<()> {
        call(py, &self.0, |store, caller| store.copy_rows(caller, table, &columns, &rows, [before, mark]))
    }

    /// Return why a row cannot be inserted; a file takes any.
    #[staticmethod]
    fn copy_fault(table: &str, columns: Vec<String>, row: Vec<Option<PyBackedStr>>) -> Option<String> {
        let _ = (table, columns, row);
        None
    }

    /// Make it a store like any: the copy is finished.
    fn end_copy(&self, py: Python<'_>, mark: &str) -> PyResult<()> {
        call(py, &self.0, |store, caller| store.end_copy(caller, mark))
    }
}

fn counts(deleted: Deleted) -> Counts {
    (deleted.runs, deleted.intel_items, deleted.telemetry)
}

/// A number of things, or None.
pub(in crate::py) fn count(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<u64>> {
    if value.is_none() {
        return Ok(None);
    }
    let wanted = format!("{name} must be an int of 0 or more, or None");
    match options::integer(value, &wanted)? {
        Some(count) => Ok(Some(count as u64)),
        None => Err(wrong_value(value, wanted)),
    }
}
