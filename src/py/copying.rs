//! What `copy_store` asks of a file: a moment of it, rows as they are, and its name.

use std::path::Path;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyString};

use super::convert::values;
use super::open::interruptible;
use super::options;
use super::owner::detached;
use crate::error::StoreError;
use crate::model::caller::Owner;
use crate::sqlite::file::platform;
use crate::sync::lock;

/// Rows of texts.
pub(super) type TextRows = Vec<Vec<Option<PyBackedStr>>>;

/// One moment of a store's file.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Snapshot(Mutex<Option<crate::Pinned>>);

impl Snapshot {
    pub(super) fn new(pinned: crate::Pinned) -> Self {
        Self(Mutex::new(Some(pinned)))
    }
}

#[pymethods]
impl Snapshot {
    /// The column of a table that its rows are recorded in the order of.
    #[classattr]
    const ORDER: &'static str = "rowid";

    /// SQL of when an item, a row `t` of its table, came again last.
    #[classattr]
    const UPDATED_AT: &'static str = "t.updated_at";

    /// Run one pure read; return the rows.
    fn query<'py>(&self, py: Python<'py>, sql: &str) -> PyResult<Bound<'py, PyList>> {
        let found = interruptible(py, Owner::thread(), |_| {
            lock(&self.0).as_ref().ok_or_else(StoreError::closed)?.query(sql)
        })?;
        Ok(values::rows(py, found)?.1)
    }

    /// Let go of it.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(lock(&self.0).take()));
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // Not locked: in a child that was forked inside a call it would be so for ever.
        let pinned = self.0.get_mut().map_or_else(|poisoned| poisoned.into_inner().take(), Option::take);
        detached(move || drop(pinned));
    }
}

/// The path that a str, a path or a URL means; `:memory:` for a store in memory.
#[pyfunction]
pub(super) fn locate<'py>(db_path: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyString>> {
    options::location(db_path, name)?.as_os_str().into_pyobject(db_path.py()).map_err(Into::into)
}

/// Rename a file durably, unless there is one of the new name already.
#[pyfunction]
pub(super) fn rename_new(py: Python<'_>, from: &str, to: &str) -> PyResult<()> {
    let (from, to) = (Path::new(from), Path::new(to));
    let renamed = py.detach(|| platform::rename_new(from, to).and_then(|()| platform::sync_parent(to)));
    renamed.map_err(|error| StoreError::cannot_open(error).into())
}
