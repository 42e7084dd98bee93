//! The calls about intel items.

use std::num::NonZeroUsize;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple};

use super::Store;
use crate::error::excerpt;
use crate::memory;
use crate::model::columns::ItemColumn;
use crate::py::batch;
use crate::py::convert::item::{self, Dicts};
use crate::py::convert::item_selection::ItemSelection;
use crate::py::convert::values;
use crate::py::errors::{Refusal, wrong_type};
use crate::py::open::{Open, call};
use crate::py::options;
use crate::sqlite::lists::cursor::Position;
use crate::sqlite::lists::items::ItemList;
use crate::sqlite::tables::decisions::NewDecision;

/// Items, and where they end.
type ItemPage<'py> = (Bound<'py, PyList>, Option<(String, i64)>);

#[pymethods]
impl Store {
    /// Insert or update one item.
    fn upsert_intel_item(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let item = item::one(item, &self.1)?;
        call(py, &self.0, |store, caller| store.upsert_intel_item(caller, item))
    }

    /// Insert or update many items in one transaction.
    fn upsert_intel_items_batch(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = item::exhaust(items)?;
        let done = batch::upsert_while_encoding(py, &self.0, &items, self.1.strict);
        self.0.show_trace(py)?;
        if done? {
            return Ok(());
        }
        let items = item::many(py, &items, &self.1)?;
        call(py, &self.0, |store, caller| store.upsert_intel_items_batch(caller, items))
    }

    /// Set an item's decision.
    fn decide(
        &self,
        py: Python<'_>,
        item_id: &Bound<'_, PyAny>,
        decision: &Bound<'_, PyAny>,
        reason: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let item_id = values::text(item_id, "decide", "item_id")?;
        let decision = new_decision(item_id, decision, reason, &format!("decide {}", excerpt(item_id)))?;
        call(py, &self.0, |store, caller| store.decide(caller, decision))
    }

    /// Set the decisions of several items, or of none.
    fn decide_batch(&self, py: Python<'_>, decisions: &Bound<'_, PyAny>) -> PyResult<()> {
        let batch = new_decisions(decisions)?;
        call(py, &self.0, |store, caller| store.decide_batch(caller, batch))
    }

    /// Delete an item; with `force` that of a run that was recovered, too. Return whether there was one.
    fn delete_intel_item(
        &self,
        py: Python<'_>,
        item_id: &Bound<'_, PyAny>,
        force: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let item_id = values::text(item_id, "delete_intel_item", "item_id")?;
        let force = options::flag(force, "delete_intel_item: force")?;
        call(py, &self.0, |store, caller| store.delete_intel_item(caller, item_id, force))
    }

    /// Return an item; None if there is no such item.
    fn get_intel_item<'py>(
        &self,
        py: Python<'py>,
        item_id: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let item_id = values::text(item_id, "get_intel_item", "item_id")?;
        let item = call(py, &self.0, |store, caller| store.get_intel_item(caller, item_id))?;
        Ok(item::dicts(py, vec![item], ItemColumn::ALL, "get_intel_item")?.iter().next())
    }

    /// Return a run's items, the oldest first.
    fn list_intel_items_for_run<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let run_id = values::text(run_id, "list_intel_items_for_run", "run_id")?;
        Ok(list(py, &self.0, &ItemSelection::of_run(run_id)?, None, None)?.0)
    }

    /// Return items, and the cursor of the next page.
    fn list_intel_items<'py>(
        &self,
        py: Python<'py>,
        selection: &ItemSelection,
        limit: &Bound<'py, PyAny>,
        cursor: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Option<String>)> {
        let limit = values::limit(limit, &selection.operation)?;
        let cursor = values::optional_text(cursor, &selection.operation, "cursor")?;
        list(py, &self.0, selection, limit, cursor)
    }

    /// Return the next items, and the position after them; None on the last page.
    fn page_intel_items<'py>(
        &self,
        py: Python<'py>,
        selection: &ItemSelection,
        after: Option<(String, i64)>,
        limit: NonZeroUsize,
    ) -> PyResult<ItemPage<'py>> {
        let after = after.map(|(time, rowid)| Position { time, rowid });
        let (items, end) = call(py, &self.0, |store, caller| {
            store.page_intel_items(
                caller,
                &selection.filter,
                selection.fields(),
                selection.order,
                after.as_ref(),
                limit,
            )
        })?;
        let dicts = item::dicts(py, items, &selection.columns, &selection.operation)?;
        Ok((dicts, end.map(|end| (end.time, end.rowid))))
    }

    /// Return how many items there are of each decision, type or run, the most frequent first.
    fn count_intel_items_by<'py>(
        &self,
        py: Python<'py>,
        by: &Bound<'py, PyAny>,
        selection: &ItemSelection,
    ) -> PyResult<Bound<'py, PyDict>> {
        const COLUMNS: [ItemColumn; 3] = [ItemColumn::Decision, ItemColumn::ItemType, ItemColumn::RunId];
        let by = values::choice(by, &selection.operation, "by", COLUMNS.map(ItemColumn::name))?;
        let counts = call(py, &self.0, |store, caller| {
            store.count_intel_items_by(caller, COLUMNS[by], &selection.filter)
        })?;
        values::tally(py, &counts, &selection.operation, COLUMNS[by].name())
    }

    /// Return how many items there are.
    fn count_intel_items(&self, py: Python<'_>, selection: &ItemSelection) -> PyResult<u64> {
        call(py, &self.0, |store, caller| store.count_intel_items(caller, &selection.filter))
    }
}

/// The dicts of the selected items, and the cursor of the next page.
fn list<'py>(
    py: Python<'py>,
    open: &Open,
    selection: &ItemSelection,
    limit: Option<NonZeroUsize>,
    cursor: Option<&str>,
) -> PyResult<(Bound<'py, PyList>, Option<String>)> {
    let list = ItemList {
        name: selection.operation.clone(),
        filter: &selection.filter,
        fields: selection.fields(),
        order_by: selection.order_by.as_ref(),
        order: selection.order,
        limit,
        cursor: cursor.map(memory::text).transpose()?,
    };
    let dicts = PyList::empty(py).unbind();
    let mut converted = Ok(());
    let next = call(py, open, |store, caller| {
        store.list_intel_items_in_parts(caller, &list, &mut |parts| {
            if converted.is_ok() {
                converted = Python::attach(|py| {
                    Dicts::new(dicts.bind(py), &selection.columns)?.extend(parts.into_iter(), &list.name)
                });
            }
            converted.is_ok()
        })
    });
    converted?;
    Ok((dicts.into_bound(py), next?))
}

fn new_decision(
    item_id: &str,
    decision: &Bound<'_, PyAny>,
    reason: &Bound<'_, PyAny>,
    operation: &str,
) -> PyResult<NewDecision> {
    Ok(NewDecision {
        item_id: memory::text(item_id)?,
        decision: values::optional_text(decision, operation, "decision")?.map(memory::text).transpose()?,
        reason: values::optional_text(reason, operation, "reason")?.map(memory::text).transpose()?,
    })
}

/// The decisions of a mapping by the items that they are on.
pub(in crate::py) fn new_decisions(decisions: &Bound<'_, PyAny>) -> PyResult<Vec<NewDecision>> {
    let py = decisions.py();
    let Ok(mapping) = decisions.cast::<PyMapping>() else {
        return Err(wrong_type(
            decisions,
            "decide_batch: decisions must be a mapping of item_id to decision",
        ));
    };
    let nothing = py.None().into_bound(py);
    let mut batch = Vec::new();
    for pair in mapping.items()? {
        let (item_id, decided): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let item_id = values::text(&item_id, "decide_batch", "an item_id")?;
        let operation = format!("decide_batch: item {}", excerpt(item_id));
        let (decision, reason) = match decided.cast::<PyTuple>() {
            Ok(both) => both.extract().map_err(|_| {
                let what = format!("{operation}: must be a decision, or (decision, reason)");
                Refusal::InvalidValue.error(py, what)
            })?,
            Err(_) => (decided, nothing.clone()),
        };
        memory::push(&mut batch, new_decision(item_id, &decision, &reason, &operation)?)?;
    }
    Ok(batch)
}
