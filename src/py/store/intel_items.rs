//! The calls about intel items.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Store, call};
use crate::cursor::Position;
use crate::py::item::Dicts;
use crate::py::{batch, convert, item, list};

/// Items, and where they end.
type Page<'py> = (Bound<'py, PyList>, Option<(String, i64)>);

#[pymethods]
impl Store {
    /// Insert or update one item.
    fn upsert_intel_item(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let item = item::one(item)?;
        call(py, &self.0, |store, caller| store.upsert_intel_item(caller, item))
    }

    /// Insert or update many items in one transaction.
    fn upsert_intel_items_batch(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = item::exhaust(items)?;
        if let Some(done) = batch::upsert_while_encoding(py, &self.0, &items)? {
            return Ok(done);
        }
        let items = item::many(py, &items)?;
        call(py, &self.0, |store, caller| store.upsert_intel_items_batch(caller, items))
    }

    /// Return a run's items, the oldest first.
    fn list_intel_items_for_run<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let run_id = convert::text(run_id, "list_intel_items_for_run", "run_id")?;
        list::items(py, &self.0, run_id, &format!("list_intel_items_for_run {run_id:?}"))
    }

    /// Return the next items, the oldest first, and where they end; None where none are left.
    fn page_intel_items<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
        after: Option<(String, i64)>,
        limit: usize,
    ) -> PyResult<Page<'py>> {
        let run_id = convert::optional_text(run_id, "iter_intel_items", "run_id")?;
        let after = after.map(|(time, rowid)| Position { time, rowid }).unwrap_or_default();
        let (items, end) =
            call(py, &self.0, |store, caller| store.page_intel_items(caller, run_id, &after, limit))?;
        let mut dicts = Dicts::new(py)?;
        dicts.extend(&items, "iter_intel_items")?;
        Ok((dicts.into_list(), end.map(|end| (end.time, end.rowid))))
    }
}
