//! The calls that delete, and that give space back.

use std::time::Duration;

use pyo3::prelude::*;

use super::{Store, options};
use crate::py::convert;
use crate::py::errors::Refusal;
use crate::py::open::call;
use crate::sqlite::tables::deletion::Deleted;
use crate::sqlite::upkeep::prune::Prune;

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
        let run_id = convert::text(run_id, "delete_run", "run_id")?;
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
    ) -> PyResult<Counts> {
        let prune = Prune {
            older_than: older_than.map(Duration::from_secs_f64),
            keep_last: count(keep_last, "prune: keep_last")?,
            run_type: convert::optional_text(run_type, "prune", "run_type")?.map(str::to_owned),
            statuses: convert::texts(status, "prune", "status")?,
            keep_seen: options::flag(keep_seen, "prune: keep_seen")?,
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
}

fn counts(deleted: Deleted) -> Counts {
    (deleted.runs, deleted.intel_items, deleted.telemetry)
}

/// A number of things, or None.
fn count(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<u64>> {
    if value.is_none() {
        return Ok(None);
    }
    let wanted = format!("{name} must be an int of 0 or more, or None");
    match options::integer(value, &wanted)? {
        Some(count) => Ok(Some(count as u64)),
        None => {
            let message = format!("{wanted}, not {}", value.repr()?);
            Err(Refusal::InvalidValue.error(value.py(), message))
        }
    }
}
