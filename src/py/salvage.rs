//! `_core.salvage`: copying what can be read of a damaged file.

use std::path::Path;
use std::sync::Mutex;

use pyo3::prelude::*;

use super::convert::{json, large_json};
use super::errors::Refusal;
use super::open::interruptible;
use super::options;
use crate::error::{ErrorKind, StoreError};
use crate::memory::{self, OutOfMemory};
use crate::model::caller::Owner;
use crate::sync::lock;
use crate::{Callbacks, Location, Loss};

/// A loss: its table, rowid, id, column, and why.
type LossFields = (&'static str, Option<i64>, Option<String>, Option<String>, String);

/// What is kept of each table, lost, mended, and to be said.
type Report = (Vec<(&'static str, u64)>, Vec<LossFields>, Vec<LossFields>, Vec<String>);

/// Copy what can be read of a damaged file into a new one; return what became of its rows.
#[pyfunction]
pub(super) fn salvage(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    dest: &Bound<'_, PyAny>,
    progress: &Bound<'_, PyAny>,
) -> PyResult<Report> {
    large_json::prepare(py)?;
    let (Location::File(path), Location::File(dest)) =
        (options::location(path, "path")?, options::location(dest, "dest")?)
    else {
        return Err(Refusal::InvalidValue.error(py, "salvage: path and dest are files, not :memory:"));
    };
    let progress = options::callback(progress, "progress")?;
    let (path, dest): (&Path, &Path) = (&path, &dest);
    let raised = Mutex::new(None);
    let ended = |error: PyErr| {
        *lock(&raised) = Some(error);
        StoreError::new(ErrorKind::Interrupted, "Python raised")
    };
    let mut tell = |kept: u64, lost: u64| match &progress {
        None => Ok(()),
        Some(callback) => Python::attach(|py| callback.call1(py, (kept, lost)).map(drop)).map_err(ended),
    };
    let is_json = |text: &[u8]| json::fault(text).map_err(ended);
    let done = interruptible(py, Owner::thread(), |caller| {
        crate::salvage(caller, path, dest, Callbacks { is_json: &is_json, progress: &mut tell })
    });
    if let Some(error) = lock(&raised).take() {
        return Err(error);
    }
    let done = done?;
    let fields = |losses: Vec<Loss>| -> Result<_, OutOfMemory> {
        memory::collect(
            losses.into_iter().map(|each| Ok((each.table, each.rowid, each.id, each.column, each.why))),
        )
    };
    Ok((done.kept, fields(done.lost)?, fields(done.mended)?, done.remarks))
}
