//! Intel items: dicts to rows, and rows to dicts.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::conversion::{Conversion, unknown, unknown_key};
use super::values::{cell, during, text, unreadable};
use super::{json, mapping};
use crate::error::excerpt;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::{Items, NewItems};
use crate::py::errors::{Refusal, noted, shown, wrong_type};
use crate::py::gil::TimeSlice;
use crate::py::names::intern;

/// What messages call a batch.
const BATCH: &str = "upsert_intel_items_batch";

/// The columns of [`Items`] whose value is often that of the row before, so that one object serves both.
const REPEATED: [ItemColumn; 4] =
    [ItemColumn::RunId, ItemColumn::ItemType, ItemColumn::Decision, ItemColumn::CreatedAt];

/// One item as a row.
pub(in crate::py) fn one(item: &Bound<'_, PyAny>, conversion: &Conversion) -> PyResult<NewItems> {
    let mut rows = NewItems::new();
    push_any(&mut rows, item, conversion, &|| "upsert_intel_item".to_owned())?;
    Ok(rows)
}

/// What an iterable of items gives, all of it.
pub(in crate::py) fn exhaust<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    memory::collect(items.try_iter().map_err(|error| during(items.py(), error, BATCH))?)
}

/// The items of a batch as rows.
pub(in crate::py) fn many(
    py: Python<'_>,
    items: &[Bound<'_, PyAny>],
    conversion: &Conversion,
) -> PyResult<NewItems> {
    let mut rows = NewItems::new();
    let mut time_slice = TimeSlice::begin();
    for (index, item) in items.iter().enumerate() {
        time_slice.yield_gil_or_end(py)?;
        push_any(&mut rows, item, conversion, &|| format!("{BATCH}: item {index}"))?;
    }
    Ok(rows)
}

/// The keys of an item as it comes, by what they hold; in the order of the columns.
struct Keys<'py> {
    text: [&'py Bound<'py, PyString>; 5],
    json: [(&'py Bound<'py, PyString>, &'static str); 5],
    optional: [&'py Bound<'py, PyString>; 2],
}

impl<'py> Keys<'py> {
    fn of(py: Python<'py>) -> Self {
        Self {
            text: [
                intern!(py, "item_id"),
                intern!(py, "run_id"),
                intern!(py, "item_type"),
                intern!(py, "title"),
                intern!(py, "summary"),
            ],
            json: [
                (intern!(py, "claims_json"), "[]"),
                (intern!(py, "evidence_json"), "[]"),
                (intern!(py, "scores_json"), "{}"),
                (intern!(py, "risk_flags_json"), "[]"),
                (intern!(py, "explainability_json"), "[]"),
            ],
            optional: [intern!(py, "decision"), intern!(py, "decision_reason")],
        }
    }
}

/// How the values of an item are taken.
pub(super) trait Taking {
    type Error: From<PyErr> + From<OutOfMemory>;

    fn text<'a>(
        &self,
        key: &Bound<'_, PyString>,
        value: &'a Bound<'_, PyAny>,
    ) -> Result<&'a str, Self::Error>;
    fn json(
        &self,
        key: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        to: &mut Vec<u8>,
    ) -> Result<(), Self::Error>;
    fn missing(&self, key: &Bound<'_, PyString>) -> Self::Error;
}

/// Append an item as a row.
pub(super) fn push<T: Taking>(
    rows: &mut NewItems,
    item: &Bound<'_, PyDict>,
    taking: &T,
) -> Result<(), T::Error> {
    let keys = Keys::of(item.py());
    for key in keys.text {
        let value = item.get_item(key)?.ok_or_else(|| taking.missing(key))?;
        rows.push(taking.text(key, &value)?)?;
    }
    for (key, default) in keys.json {
        match item.get_item(key)? {
            None => rows.push(default)?,
            Some(value) => {
                taking.json(key, &value, rows.buffer())?;
                rows.end_cell()?;
            }
        }
    }
    for key in keys.optional {
        match item.get_item(key)?.filter(|value| !value.is_none()) {
            None => rows.push_null()?,
            Some(value) => rows.push(taking.text(key, &value)?)?,
        }
    }
    Ok(())
}

/// Takes all that can be stored; an error says which item it is about.
struct Named<'a, 'py> {
    context: &'a dyn Fn() -> String,
    item: &'a Bound<'py, PyDict>,
    json_default: Option<&'a Py<PyAny>>,
}

impl Named<'_, '_> {
    fn name(&self) -> String {
        let context = (self.context)();
        match self.item.get_item(intern!(self.item.py(), "item_id")) {
            Ok(Some(item_id)) => format!("{context} ({})", shown(&item_id)),
            _ => context,
        }
    }
}

impl Taking for Named<'_, '_> {
    type Error = PyErr;

    fn text<'a>(&self, key: &Bound<'_, PyString>, value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
        match value.cast::<PyString>().map(PyStringMethods::to_str) {
            Ok(Ok(text)) => Ok(text),
            _ => text(value, &self.name(), &key.to_string()),
        }
    }

    fn json(&self, key: &Bound<'_, PyString>, value: &Bound<'_, PyAny>, to: &mut Vec<u8>) -> PyResult<()> {
        json::encode(value, self.json_default, to, &|| format!("{}: {key}", self.name()))
    }

    fn missing(&self, key: &Bound<'_, PyString>) -> PyErr {
        Refusal::MissingField.error(key.py(), format!("{}: {key} is missing", self.name()))
    }
}

/// Append an item, a dict or any other mapping, as a row. `context` says for messages which one it is.
fn push_any(
    rows: &mut NewItems,
    item: &Bound<'_, PyAny>,
    conversion: &Conversion,
    context: &dyn Fn() -> String,
) -> PyResult<()> {
    let py = item.py();
    let mut push = |item: &Bound<'_, PyDict>, keys: &Bound<'_, PyDict>| {
        let named = Named { context, item, json_default: conversion.json_default.as_ref() };
        if conversion.strict
            && let Some(key) = unknown_key(keys)
        {
            return Err(unknown(&key, &named.name()));
        }
        push(rows, item, &named)
    };
    if let Ok(item) = item.cast_exact::<PyDict>() {
        return push(item, item);
    }
    let Keys { text, json, optional } = Keys::of(py);
    let rest: Vec<_> = json.into_iter().map(|(key, _)| key).chain(optional).collect();
    let Some((item, keys)) =
        mapping::read(item, &text, &rest).map_err(|error| noted(py, error, &context()))?
    else {
        return Err(wrong_type(item, format_args!("{}: must be a dict, or have keys() and []", context())));
    };
    push(&item, &keys)
}

/// The dicts of items with these columns, in a list.
pub(in crate::py) fn dicts<'py>(
    py: Python<'py>,
    items: Vec<Items>,
    columns: &[ItemColumn],
    operation: &str,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    Dicts::new(&list, columns)?.extend(items.into_iter().map(Some), operation)?;
    Ok(list)
}

/// Makes dicts of rows, JSON decoded, and appends them to a list.
pub(in crate::py) struct Dicts<'py> {
    list: &'py Bound<'py, PyList>,
    keys: Vec<&'py Bound<'py, PyString>>,
    /// The columns that they have.
    columns: Vec<ItemColumn>,
    /// A copy of a dict that has all its keys is much cheaper than one that grows.
    template: Bound<'py, PyDict>,
    /// Of each column, the last text that was made an object, for [`REPEATED`] ones.
    last: [Option<(Vec<u8>, Bound<'py, PyAny>)>; ItemColumn::ALL.len()],
}

impl<'py> Dicts<'py> {
    /// No dict yet; they are to have these columns of [`Items`], in this order.
    pub(in crate::py) fn new(list: &'py Bound<'py, PyList>, columns: &[ItemColumn]) -> PyResult<Self> {
        let py = list.py();
        let Keys { text, json, optional } = Keys::of(py);
        let json = json.map(|(key, _)| key);
        let keys: Vec<_> =
            text.into_iter().chain(json).chain(optional).chain([intern!(py, "created_at")]).collect();
        let template = PyDict::new(py);
        columns.iter().try_for_each(|column| template.set_item(keys[*column as usize], py.None()))?;
        let columns = columns.to_vec();
        Ok(Self { list, keys, columns, template, last: Default::default() })
    }

    /// Add a dict for each row; `operation` heads the message of an error. What a signal's handler raises ends it. The rows
    /// of a long list come in several parts, none of which is needed once its dicts are made; with `None` it starts over.
    pub(in crate::py) fn extend(
        &mut self,
        mut parts: impl Iterator<Item = Option<Items>>,
        operation: &str,
    ) -> PyResult<()> {
        let mut time_slice = TimeSlice::begin();
        parts.try_for_each(|part| match part {
            Some(items) => self.add(&items, operation, &mut time_slice),
            None => self.list.del_slice(0, self.list.len()),
        })
    }

    fn add(&mut self, items: &Items, operation: &str, time_slice: &mut TimeSlice) -> PyResult<()> {
        let py = self.list.py();
        for row in 0..items.len() {
            time_slice.yield_gil_or_end(py)?;
            let dict = self.template.copy()?;
            for index in 0..self.columns.len() {
                let column = self.columns[index];
                let Some(text) = items.get(row, column) else { continue };
                let value = self.value(column, text).or_else(|error| {
                    let item_id =
                        String::from_utf8_lossy(items.get(row, ItemColumn::ItemId).unwrap_or_default());
                    let what =
                        format!("{operation}: item {}, {}", excerpt(&item_id), self.keys[column as usize]);
                    unreadable(py, error, &what, "intel_items", text)
                })?;
                dict.set_item(self.keys[column as usize], value)?;
            }
            self.list.append(dict)?;
        }
        Ok(())
    }

    fn value(&mut self, column: ItemColumn, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        if let Some((before, value)) = &self.last[column as usize]
            && before == text
        {
            return Ok(value.clone());
        }
        let py = self.list.py();
        if ItemColumn::JSON.contains(&column) {
            return json::decode(py, text, true);
        }
        let value = cell(py, Some(text))?;
        if REPEATED.contains(&column) {
            self.last[column as usize] = Some((memory::bytes(text)?, value.clone()));
        }
        Ok(value)
    }
}
