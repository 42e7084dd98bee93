//! What an engine that is written in Python shares with the one here: how arguments are checked, values become text,
//! rows become records, JSON is searched, and who is calling.
//!
//! Text goes to such an engine escaped, as [`super::convert::escape`] has it.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::calls::{intel_items, telemetry, upkeep};
use super::convert::conversion::Conversion;
use super::convert::escape::{escaped, unescaped};
use super::convert::item;
use super::convert::{json, run, values};
use super::errors::Refusal;
use super::options;
use super::owner::Mark;
use super::wire_batch::ItemBatch;
use crate::error::excerpt;
use crate::json::object;
use crate::model::caller::Owner;
use crate::model::columns::{ItemColumn, RunColumn};
use crate::model::rows::{Runs, TextRows};

/// A row as such an engine has it.
pub(super) type Row<'py> = Vec<Option<Bound<'py, PyString>>>;

/// An item, the decision on it, and the reason.
type Decided = (String, Option<String>, Option<String>);

/// Checks and converts arguments.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Arguments(Conversion);

/// Makes records of rows.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Rows;

/// Recognises who made it: the thread, the task and the Context.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Caller(Mark);

#[pymethods]
impl Arguments {
    #[new]
    fn new(json_default: &Bound<'_, PyAny>, strict: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Conversion::new(json_default, strict)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(&visit)
    }

    /// A value as the text of its JSON.
    fn json<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        operation: &str,
        name: &str,
    ) -> PyResult<Bound<'py, PyString>> {
        escaped(value.py(), &values::json_text(value, &self.0, operation, name)?)
    }

    /// The columns of an item.
    fn item<'py>(&self, item: &Bound<'py, PyAny>) -> PyResult<Row<'py>> {
        let (py, items) = (item.py(), item::one(item, &self.0)?);
        let cell = |column: &ItemColumn| items.get(0, *column).map(|text| escaped(py, text)).transpose();
        ItemColumn::NEW.iter().map(cell).collect()
    }

    /// What an iterable of items gives.
    #[staticmethod]
    fn exhaust<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        item::exhaust(items)
    }

    /// Items as a batch: encoded, or, with `later`, to be encoded chunk by chunk where they allow that.
    fn items(&self, py: Python<'_>, items: Vec<Bound<'_, PyAny>>, later: bool) -> PyResult<ItemBatch> {
        ItemBatch::new(py, items, later, &self.0)
    }

    /// Items, decisions on them and their reasons.
    #[staticmethod]
    fn decisions(decisions: &Bound<'_, PyAny>) -> PyResult<Vec<Decided>> {
        let found = intel_items::new_decisions(decisions)?;
        Ok(found.into_iter().map(|each| (each.item_id, each.decision, each.reason)).collect())
    }

    #[staticmethod]
    fn text(value: &Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<String> {
        values::text(value, operation, name).map(str::to_owned)
    }

    #[staticmethod]
    fn optional_text(value: &Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<Option<String>> {
        Ok(values::optional_text(value, operation, name)?.map(str::to_owned))
    }

    #[staticmethod]
    fn texts(value: &Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<Option<Vec<String>>> {
        values::texts(value, operation, name)
    }

    #[staticmethod]
    fn several_texts(value: &Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<Vec<String>> {
        values::several_texts(value, operation, name)
    }

    /// One of two or three texts.
    #[staticmethod]
    fn choice(
        value: &Bound<'_, PyAny>,
        operation: &str,
        name: &str,
        choices: Vec<String>,
    ) -> PyResult<String> {
        let chosen = match choices.as_slice() {
            [a, b] => values::choice(value, operation, name, [a, b])?,
            [a, b, c] => values::choice(value, operation, name, [a, b, c])?,
            _ => return Err(Refusal::InvalidValue.error(value.py(), "choice: two or three choices")),
        };
        Ok(choices[chosen].clone())
    }

    #[staticmethod]
    fn flag(value: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
        options::flag(value, name)
    }

    #[staticmethod]
    fn limit(value: &Bound<'_, PyAny>, operation: &str) -> PyResult<Option<usize>> {
        Ok(values::limit(value, operation)?.map(std::num::NonZeroUsize::get))
    }

    #[staticmethod]
    fn count(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<u64>> {
        upkeep::count(value, name)
    }

    #[staticmethod]
    fn synchronous(value: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(options::synchronous(value)? == crate::Synchronous::Full)
    }

    #[staticmethod]
    fn busy_timeout(value: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(options::busy_timeout(value)?.as_secs_f64())
    }

    #[staticmethod]
    fn pool_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
        options::pool_size(value)
    }

    /// A text as messages quote it.
    #[staticmethod]
    fn excerpt(text: &str) -> String {
        excerpt(text)
    }

    #[staticmethod]
    fn escape<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
        escaped(py, text.as_bytes())
    }
}

#[pymethods]
impl Rows {
    /// The fields of a `RunRecord` for each row; settings that cannot be decoded come as their text if it is of a run
    /// that was `changed`.
    #[staticmethod]
    fn runs<'py>(
        py: Python<'py>,
        rows: Vec<Row<'py>>,
        operation: &str,
        changed: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut found = Runs::new();
        let columns: Vec<usize> = (0..RunColumn::ALL.len()).collect();
        rows.iter().try_for_each(|row| push(&mut found, &columns, RunColumn::ALL.len(), row))?;
        if changed { run::changed_tuples(py, &found) } else { run::tuples(py, &found, operation) }
    }

    /// The document that a text is.
    #[staticmethod]
    fn document<'py>(
        text: &Bound<'py, PyString>,
        operation: &str,
        run_id: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        telemetry::decode(text.py(), &unescaped(text)?, operation, run_id)
    }

    /// The members of two objects as one; None where either is none.
    #[staticmethod]
    fn merged<'py>(
        before: &Bound<'py, PyString>,
        members: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let merged = object::merge(&unescaped(before)?, &unescaped(members)?);
        merged?.map(|merged| escaped(before.py(), &merged)).transpose()
    }

    /// Why a text is no JSON; None if it is.
    #[staticmethod]
    fn fault(text: &Bound<'_, PyString>) -> PyResult<Option<String>> {
        json::fault(&unescaped(text)?)
    }

    #[staticmethod]
    fn unescape<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
        PyString::from_bytes(text.py(), &unescaped(text)?)
    }
}

#[pymethods]
impl Caller {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self(Mark::new(py, Owner::new_context())?))
    }

    /// Whether who asks made it, the task and the Context included.
    fn is_same(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.is_callers(py)
    }

    /// Whether this thread made it.
    fn is_on_this_thread(&self) -> bool {
        self.0.owner.thread == Owner::thread().thread
    }

    /// Whether this thread made it in this task.
    fn is_of_this_task(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.is_of_this_task(py)
    }

    /// Recognise nobody from now on.
    fn end(&self, py: Python<'_>) {
        self.0.end(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(&visit)
    }

    fn __clear__(&self) {
        self.0.clear();
    }
}

/// Append a row that has these of so many columns.
pub(super) fn push<const N: usize>(
    rows: &mut TextRows<N>,
    columns: &[usize],
    count: usize,
    row: &Row<'_>,
) -> PyResult<()> {
    let mut cells = columns.iter().zip(row).peekable();
    for column in 0..count {
        match cells.next_if(|(given, _)| **given == column) {
            Some((_, Some(text))) => rows.push(unescaped(text)?)?,
            _ => rows.push_null()?,
        }
    }
    Ok(())
}
