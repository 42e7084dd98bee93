//! The calls that iterate over items by a number: they are ranked once, and then read page by page.

use std::num::NonZeroUsize;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Store;
use crate::py::convert::item;
use crate::py::convert::item_selection::ItemSelection;
use crate::py::errors::Refusal;
use crate::py::open::call;
use crate::sqlite::lists::best;

/// Items in their order, which are still to be read.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(in crate::py) struct Ranking(pub(in crate::py) best::Ranking);

#[pymethods]
impl Ranking {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Whether there are items behind its last.
    #[getter]
    fn is_more(&self) -> bool {
        self.0.is_more()
    }
}

#[pymethods]
impl Store {
    /// Rank the first `most` items by the number of the selection's `order_by`, or those behind a ranking.
    fn rank_intel_items(
        &self,
        py: Python<'_>,
        selection: &ItemSelection,
        after: Option<&Bound<'_, Ranking>>,
        most: NonZeroUsize,
    ) -> PyResult<Ranking> {
        let Some(by) = &selection.order_by else {
            return Err(Refusal::InvalidValue.error(py, "rank_intel_items: the selection has no order_by"));
        };
        let after = after.map(|after| &after.get().0);
        let ranking = call(py, &self.0, |store, caller| {
            store.rank_intel_items(caller, &selection.filter, by, selection.order, after, most)
        })?;
        Ok(Ranking(ranking))
    }

    /// Return some items of a ranking of the same selection, without those that are gone.
    fn read_ranked_intel_items<'py>(
        &self,
        py: Python<'py>,
        selection: &ItemSelection,
        ranking: &Bound<'py, Ranking>,
        start: usize,
        stop: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let ranking = &ranking.get().0;
        let items = call(py, &self.0, |store, caller| {
            store.read_ranked_intel_items(
                caller,
                &selection.filter,
                selection.fields(),
                selection.order,
                ranking,
                start..stop,
            )
        })?;
        item::dicts(py, items, &selection.columns, &selection.operation)
    }
}
