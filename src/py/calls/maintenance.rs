//! The calls that look after the file.

use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Store;
use crate::error::{ErrorKind, StoreError};
use crate::py::json;
use crate::py::open::call;
use crate::sync::lock;

/// A finding: its kind, table, id and message.
type Finding = (&'static str, Option<&'static str>, Option<String>, String);

#[pymethods]
impl Store {
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
}
