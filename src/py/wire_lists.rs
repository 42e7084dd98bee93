//! Which rows an engine that is written in Python lists and counts: what was asked for, checked, and its cursors.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::calls::best::Ranking;
use super::calls::runs;
use super::convert::item;
use super::convert::item_selection::ItemSelection;
use super::convert::values;
use super::errors::Refusal;
use super::gil::TimeSlice;
use super::wire::{Row, push};
use super::wire_scan::Ranker;
use crate::memory::OutOfMemory;
use crate::model::columns::ItemColumn;
use crate::model::rows::Items;
use crate::sqlite::lists::best;
use crate::sqlite::lists::cursor::{Described, Position};
use crate::sqlite::lists::item_filter::Decision;
use crate::sqlite::lists::items;
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::runs::RunFilter;

/// Runs that are to be listed or counted, checked.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct RunSelection(RunFilter, Described);

#[pymethods]
impl RunSelection {
    #[new]
    fn new(
        operation: &str,
        run_id_prefix: &Bound<'_, PyAny>,
        run_type: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        since: &Bound<'_, PyAny>,
        until: &Bound<'_, PyAny>,
        order: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let filter = runs::filter(operation, run_id_prefix, run_type, status, since, until)?;
        let described = Described::new(filter.describe()?, values::order(order, operation)?, Order::Newest)?;
        Ok(Self(filter, described))
    }

    /// The prefix, type, statuses and times.
    #[getter]
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn filters(&self) -> (Option<&str>, Option<&str>, Option<&[String]>, Option<&str>, Option<&str>) {
        let RunFilter { run_id_prefix, run_type, statuses, since, until } = &self.0;
        let prefix = run_id_prefix.as_ref().map(|prefix| prefix.text());
        (prefix, run_type.as_deref(), statuses.as_deref(), since.as_deref(), until.as_deref())
    }

    fn cursor(&self, time: String, place: i64, store_id: &str) -> String {
        Position { time, rowid: place }.encode(self.1.text(), store_id)
    }

    /// The place that a cursor is at.
    fn place(&self, cursor: &str, store_id: &str) -> PyResult<i64> {
        Ok(self.1.decode(cursor, store_id)?.rowid)
    }
}

#[pymethods]
impl ItemSelection {
    /// All fields of a run's items.
    #[staticmethod]
    #[pyo3(name = "of_run")]
    fn of_run_by_id(run_id: &str) -> PyResult<Self> {
        Self::of_run(run_id)
    }

    #[getter]
    fn operation(&self) -> &str {
        &self.operation
    }

    /// The run, type, decision, whether none was made, and times.
    #[getter]
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn filters(
        &self,
    ) -> (Option<&str>, Option<&str>, Option<&str>, Option<bool>, Option<&str>, Option<&str>) {
        let filter = &self.filter;
        let undecided = match filter.decision {
            Some(Decision::Undecided) => Some(true),
            Some(Decision::Made) => Some(false),
            Some(Decision::Is(_)) | None => None,
        };
        (
            filter.run_id.as_deref(),
            filter.item_type.as_deref(),
            filter.decision.as_ref().and_then(Decision::value),
            undecided,
            filter.since.as_deref(),
            filter.until.as_deref(),
        )
    }

    #[getter]
    fn is_newest_first(&self) -> bool {
        self.order == Order::Newest
    }

    /// The columns that [`Self::dicts`] takes.
    #[getter]
    fn columns(&self) -> Vec<&'static str> {
        self.read().map(ItemColumn::name).collect()
    }

    /// The columns that the conditions are about, one for each.
    #[getter]
    fn condition_columns(&self) -> Vec<&'static str> {
        self.filter.conditions.iter().map(|condition| condition.column().name()).collect()
    }

    /// The column that the items' number is in.
    #[getter]
    fn number_column(&self) -> Option<&'static str> {
        self.order_by.as_ref().map(|by| by.column().name())
    }

    /// What ranks the first `most` items behind a ranking or a cursor.
    #[pyo3(signature = (most, after = None, cursor = None, store_id = ""))]
    fn ranker(
        &self,
        py: Python<'_>,
        most: usize,
        after: Option<&Bound<'_, Ranking>>,
        cursor: Option<&str>,
        store_id: &str,
    ) -> PyResult<Ranker> {
        let Some(by) = self.order_by.clone() else {
            return Err(Refusal::InvalidValue.error(py, "ranker: the selection has no order_by"));
        };
        let position = cursor.map(|cursor| self.described()?.decode(cursor, store_id)).transpose()?;
        let after = after.and_then(|after| after.get().0.end(self.order)).or(position);
        Ok(Ranker::new(self, by, best::Ranker::new(self.order, after.as_ref(), most)))
    }

    /// The places of some items of a ranking, in its order.
    fn places(&self, ranking: &Bound<'_, Ranking>, start: usize, stop: usize) -> Vec<i64> {
        ranking.get().0.rowids(start..stop, self.order)
    }

    /// The cursor behind a ranking; None if there is nothing behind it.
    fn cursor_behind(&self, ranking: &Bound<'_, Ranking>, store_id: &str) -> PyResult<Option<String>> {
        let ranking = &ranking.get().0;
        let Some(end) = ranking.end(self.order).filter(|_| ranking.is_more()) else { return Ok(None) };
        Ok(Some(end.encode(self.described()?.text(), store_id)))
    }

    /// A dict of each row.
    fn dicts<'py>(&self, py: Python<'py>, rows: Vec<Row<'py>>) -> PyResult<Bound<'py, PyList>> {
        const BUFFER_ROWS: usize = 256;
        let columns: Vec<usize> = self.read().map(usize::from).collect();
        let mut time_slice = TimeSlice::begin();
        let part = |some: &[Row<'_>]| {
            time_slice.yield_gil(py);
            let mut items = Items::new();
            some.iter().try_for_each(|row| push(&mut items, &columns, ItemColumn::ALL.len(), row))?;
            Ok::<_, PyErr>(items)
        };
        let parts = rows.chunks(BUFFER_ROWS).map(part).collect::<PyResult<_>>()?;
        item::dicts(py, parts, &self.columns, &self.operation)
    }

    fn cursor(&self, time: String, place: i64, store_id: &str) -> PyResult<String> {
        Ok(Position { time, rowid: place }.encode(self.described()?.text(), store_id))
    }

    /// The place that a cursor is at.
    fn place(&self, cursor: &str, store_id: &str) -> PyResult<i64> {
        Ok(self.described()?.decode(cursor, store_id)?.rowid)
    }
}

impl ItemSelection {
    pub(super) fn read(&self) -> impl Iterator<Item = ItemColumn> {
        let fields = self.fields();
        ItemColumn::ALL.iter().copied().filter(move |column| fields.has(*column))
    }

    fn described(&self) -> Result<Described, OutOfMemory> {
        items::described(&self.filter, self.order_by.as_ref(), self.order)
    }
}
