//! A batch on its way to an engine that is written in Python: each item once, sorted, in chunks of PostgreSQL's arrays.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{PyTraverseError, PyVisit};

use super::convert::conversion::Conversion;
use super::convert::escape::escape;
use super::convert::{item, plain};
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::{NewItems, TextRows};

/// How much goes to the server at a time: some memory of its session is as much as that.
const CHUNK_ITEMS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;

/// The types of PostgreSQL's that arrays are made of.
const INT4: i32 = 23;
const TEXT: i32 = 25;

/// Items, each once: run, type and place are of the first of its id, the rest of the last.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct ItemBatch {
    given: Given,
    /// The first and the last row of each item, by its id: batches that lock the same rows in the same order cannot wait
    /// for each other.
    sorted: Vec<(usize, usize)>,
    /// The first row of each run, in their order.
    runs: Vec<usize>,
}

/// The items as they were given, in rows.
enum Given {
    Encoded(NewItems),
    /// Each id is there once. What is not in the keys is encoded chunk by chunk, while the server has the chunk before.
    Later {
        keys: TextRows<2>,
        items: Vec<Py<PyAny>>,
        strict: bool,
    },
}

impl Given {
    fn len(&self) -> usize {
        match self {
            Self::Encoded(items) => items.len(),
            Self::Later { keys, .. } => keys.len(),
        }
    }

    fn item_id(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Encoded(items) => items.get(row, ItemColumn::ItemId),
            Self::Later { keys, .. } => keys.get(row, plain::ITEM_ID),
        }
    }

    fn run_id(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Encoded(items) => items.get(row, ItemColumn::RunId),
            Self::Later { keys, .. } => keys.get(row, plain::RUN_ID),
        }
    }
}

impl ItemBatch {
    /// Items as a batch. With `later` they are encoded later, if there are more than a chunk of them, and as far as their
    /// keys tell.
    pub(super) fn new(
        py: Python<'_>,
        items: Vec<Bound<'_, PyAny>>,
        later: bool,
        conversion: &Conversion,
    ) -> PyResult<Self> {
        if later
            && items.len() > CHUNK_ITEMS
            && conversion.json_default.is_none()
            && let Some(keys) = plain::keys(py, &items)?
        {
            let items = memory::all(items.iter().map(|item| item.clone().unbind()))?;
            let batch = Self::of(py, Given::Later { keys, items, strict: conversion.strict })?;
            if batch.sorted.len() == batch.given.len() {
                return Ok(batch);
            }
        }
        Self::of(py, Given::Encoded(item::many(py, &items, conversion)?))
    }

    fn of(py: Python<'_>, given: Given) -> PyResult<Self> {
        Ok(py.detach(|| {
            let (sorted, runs) = (sorted(&given)?, runs(&given)?);
            Ok::<_, OutOfMemory>(Self { given, sorted, runs })
        })?)
    }

    fn of_runs(&self) -> Result<[Vec<u8>; 3], OutOfMemory> {
        let rows = || self.runs.iter().copied();
        let (run_ids, item_ids) =
            (rows().map(|row| self.given.run_id(row)), rows().map(|row| self.given.item_id(row)));
        Ok([texts(run_ids)?, integers(rows())?, texts(item_ids)?])
    }

    /// Whether a chunk that has the items from `start` to `end`, of so many bytes, takes one more.
    fn takes_more(&self, start: usize, end: usize, bytes: usize) -> bool {
        end < self.sorted.len() && end - start < CHUNK_ITEMS && bytes < CHUNK_BYTES
    }

    /// Where a chunk of encoded items ends.
    fn end(&self, items: &NewItems, start: usize) -> usize {
        let (mut end, mut size) = (start, 0);
        while self.takes_more(start, end, size) {
            size += bytes(items, self.sorted[end].1);
            end += 1;
        }
        end
    }

    /// The items of a chunk as rows, and where it ends; `None` if one of them cannot be encoded now: the transaction is
    /// open, and code of the user's might wait for it.
    fn encode(
        &self,
        py: Python<'_>,
        items: &[Py<PyAny>],
        strict: bool,
        start: usize,
    ) -> Option<(NewItems, usize)> {
        let mut rows = NewItems::new();
        let (mut end, mut size) = (start, 0);
        while self.takes_more(start, end, size) {
            let (row, at) = (self.sorted[end].0, end - start);
            plain::append(&mut rows, items[row].bind(py), strict)?;
            // Another thread may have changed it since its keys were read.
            let is_same = rows.get(at, ItemColumn::ItemId) == self.given.item_id(row)
                && rows.get(at, ItemColumn::RunId) == self.given.run_id(row);
            is_same.then_some(())?;
            size += bytes(&rows, at);
            end += 1;
        }
        Some((rows, end))
    }

    /// The arrays of a chunk; `cell` is given the number of an item within it.
    fn arrays<'a>(
        chunk: &[(usize, usize)],
        cell: impl Fn(usize, ItemColumn) -> Option<&'a [u8]>,
    ) -> Result<Vec<Vec<u8>>, OutOfMemory> {
        let places = integers(chunk.iter().map(|(first, _)| *first));
        let column = |column: &ItemColumn| texts((0..chunk.len()).map(|number| cell(number, *column)));
        memory::collect([places].into_iter().chain(ItemColumn::NEW.iter().map(column)))
    }
}

#[pymethods]
impl ItemBatch {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.given {
            Given::Encoded(_) => Ok(()),
            Given::Later { items, .. } => items.iter().try_for_each(|item| visit.call(item)),
        }
    }

    fn __len__(&self) -> usize {
        self.sorted.len()
    }

    /// How many places there are: each item that was given has one.
    #[getter]
    fn places(&self) -> usize {
        self.given.len()
    }

    /// Whether there is more than one chunk.
    #[getter]
    fn several(&self) -> bool {
        match &self.given {
            Given::Encoded(items) => self.end(items, 0) < self.sorted.len(),
            Given::Later { .. } => true,
        }
    }

    /// The runs, and for messages the place and the id of the first item of each: an array each.
    fn runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        Ok(py.detach(|| self.of_runs())?.iter().map(|array| PyBytes::new(py, array)).collect())
    }

    /// Places and columns of the items from this one on, an array each, and the item behind them; `None` if one of them
    /// cannot be encoded now.
    fn chunk<'py>(
        &self,
        py: Python<'py>,
        start: usize,
    ) -> PyResult<Option<(Vec<Bound<'py, PyBytes>>, usize)>> {
        let (arrays, end) = match &self.given {
            Given::Encoded(items) => {
                let end = self.end(items, start);
                let chunk = &self.sorted[start..end];
                let cell = |number: usize, column| {
                    let (first, last) = chunk[number];
                    let of_first = matches!(column, ItemColumn::RunId | ItemColumn::ItemType);
                    items.get(if of_first { first } else { last }, column)
                };
                (py.detach(|| Self::arrays(chunk, cell)), end)
            }
            Given::Later { items, strict, .. } => {
                let Some((rows, end)) = self.encode(py, items, *strict, start) else { return Ok(None) };
                let cell = |number, column| rows.get(number, column);
                (py.detach(|| Self::arrays(&self.sorted[start..end], cell)), end)
            }
        };
        Ok(Some((arrays?.iter().map(|array| PyBytes::new(py, array)).collect(), end)))
    }
}

fn bytes(items: &NewItems, row: usize) -> usize {
    ItemColumn::NEW.iter().map(|column| items.get(row, *column).map_or(0, <[u8]>::len)).sum()
}

fn sorted(given: &Given) -> Result<Vec<(usize, usize)>, OutOfMemory> {
    let mut rows = memory::all(0..given.len())?;
    rows.sort_unstable_by_key(|row| (given.item_id(*row), *row));
    let mut sorted: Vec<(usize, usize)> = Vec::new();
    for row in rows {
        match sorted.last_mut() {
            Some((first, last)) if given.item_id(*first) == given.item_id(row) => *last = row,
            _ => memory::push(&mut sorted, (row, row))?,
        }
    }
    Ok(sorted)
}

fn runs(given: &Given) -> Result<Vec<usize>, OutOfMemory> {
    let (mut seen, mut runs) = (HashSet::new(), Vec::new());
    for row in 0..given.len() {
        seen.try_reserve(1)?;
        if seen.insert(given.run_id(row)) {
            memory::push(&mut runs, row)?;
        }
    }
    Ok(runs)
}

fn texts<'a>(of: impl Iterator<Item = Option<&'a [u8]>>) -> Result<Vec<u8>, OutOfMemory> {
    array(TEXT, of.map(|text| text.map(escape).transpose()))
}

fn integers(of: impl Iterator<Item = usize>) -> Result<Vec<u8>, OutOfMemory> {
    let bytes = |number: usize| i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes();
    array(INT4, of.map(|number| Ok(Some(bytes(number)))))
}

/// An array as PostgreSQL reads it: one dimension from 1 on, NULL as a length of -1.
fn array<T: AsRef<[u8]>>(
    kind: i32,
    of: impl Iterator<Item = Result<Option<T>, OutOfMemory>>,
) -> Result<Vec<u8>, OutOfMemory> {
    const HEAD: usize = 20;
    let (mut array, mut count, mut has_null) = (Vec::new(), 0_i32, 0_i32);
    memory::append(&mut array, &[0; HEAD])?;
    for element in of {
        count += 1;
        match element? {
            Some(bytes) => {
                // A text that is longer than this is refused by the server.
                let length = i32::try_from(bytes.as_ref().len()).unwrap_or(i32::MAX);
                memory::append(&mut array, &length.to_be_bytes())?;
                memory::append(&mut array, bytes.as_ref())?;
            }
            None => {
                has_null = 1;
                memory::append(&mut array, &(-1_i32).to_be_bytes())?;
            }
        }
    }
    for (at, number) in [1, has_null, kind, count, 1].into_iter().enumerate() {
        array[at * 4..][..4].copy_from_slice(&number.to_be_bytes());
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(rows: &[(&str, &str, Option<&str>)]) -> NewItems {
        let mut items = NewItems::new();
        for (item_id, run_id, decision) in rows {
            for column in ItemColumn::NEW {
                match column {
                    ItemColumn::ItemId => items.push(item_id).unwrap(),
                    ItemColumn::RunId => items.push(run_id).unwrap(),
                    ItemColumn::Decision => items.push_option(*decision).unwrap(),
                    _ => items.push("x").unwrap(),
                }
            }
        }
        items
    }

    #[test]
    fn items_are_sorted_each_once_and_runs_are_in_the_order_they_came() {
        let given = items(&[("b", "r2", None), ("a", "r1", None), ("b", "r1", None), ("a", "r3", None)]);
        let given = Given::Encoded(given);
        assert_eq!(sorted(&given).unwrap(), [(1, 3), (0, 2)]);
        assert_eq!(runs(&given).unwrap(), [0, 1, 3]);
    }

    #[test]
    fn an_array_is_as_the_server_reads_it() {
        let texts = texts([Some(&b"ab"[..]), None, Some(b"\0")].into_iter()).unwrap();
        let head = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 3, 0, 0, 0, 1];
        let body = [0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255, 0, 0, 0, 5, 0xf4, 0x8f, 0xbf, 0xbf, b'0'];
        assert_eq!(texts, [&head[..], &body[..]].concat());
        let integers = integers([258].into_iter()).unwrap();
        assert_eq!(
            integers,
            [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 1, 2]
        );
    }
}
