//! A batch on its way to an engine that is written in Python: each item once, sorted, in chunks of PostgreSQL's arrays.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

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
    /// The id and the run of each. The rest is encoded chunk by chunk, while the server has the chunk before.
    Plain {
        keys: TextRows<2>,
        items: Vec<Py<PyAny>>,
        strict: bool,
    },
}

impl Given {
    fn len(&self) -> usize {
        match self {
            Self::Encoded(items) => items.len(),
            Self::Plain { keys, .. } => keys.len(),
        }
    }

    fn item_id(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Encoded(items) => items.get(row, ItemColumn::ItemId),
            Self::Plain { keys, .. } => keys.get(row, 0_usize),
        }
    }

    fn run_id(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Encoded(items) => items.get(row, ItemColumn::RunId),
            Self::Plain { keys, .. } => keys.get(row, 1_usize),
        }
    }
}

impl ItemBatch {
    /// Items as a batch. If there are more than a chunk of them, and nothing in them is unusual as far as their keys tell,
    /// they are encoded later.
    ///
    /// A transaction is open then, so that no code of the user's may run: it might wait for that transaction.
    pub(super) fn new(
        py: Python<'_>,
        items: Vec<Bound<'_, PyAny>>,
        conversion: &Conversion,
    ) -> PyResult<Self> {
        if items.len() > CHUNK_ITEMS
            && conversion.json_default.is_none()
            && let Some(keys) = plain::keys(py, &items)?
        {
            let items = memory::all(items.into_iter().map(Bound::unbind))?;
            let batch = Self::of(py, Given::Plain { keys, items, strict: conversion.strict })?;
            let is_each_there_once = batch.sorted.len() == batch.given.len();
            return if is_each_there_once { Ok(batch) } else { batch.encoded(py, conversion) };
        }
        Self::of(py, Given::Encoded(item::many(py, &items, conversion)?))
    }

    /// The same batch, encoded as a whole.
    pub(super) fn encoded(&self, py: Python<'_>, conversion: &Conversion) -> PyResult<Self> {
        let items = match &self.given {
            Given::Encoded(items) => items.clone(),
            Given::Plain { items, .. } => {
                let items = memory::all(items.iter().map(|item| item.bind(py).clone()))?;
                item::many(py, &items, conversion)?
            }
        };
        Self::of(py, Given::Encoded(items))
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

    /// Where a chunk that starts at this item ends; `size` says how many bytes an item has.
    fn end(&self, start: usize, mut size: impl FnMut((usize, usize)) -> Option<usize>) -> Option<usize> {
        let (mut end, mut bytes) = (start, 0);
        while end < self.sorted.len() && end - start < CHUNK_ITEMS && bytes < CHUNK_BYTES {
            bytes += size(self.sorted[end])?;
            end += 1;
        }
        Some(end)
    }

    /// The arrays of a chunk; `cell` is given the number of an item within it.
    fn arrays<'a>(
        &'a self,
        chunk: &'a [(usize, usize)],
        cell: impl Fn(usize, ItemColumn) -> Option<&'a [u8]>,
    ) -> Result<Vec<Vec<u8>>, OutOfMemory> {
        let places = integers(chunk.iter().map(|(first, _)| *first));
        let column = |column: &ItemColumn| match column {
            ItemColumn::ItemId => texts(chunk.iter().map(|(first, _)| self.given.item_id(*first))),
            ItemColumn::RunId => texts(chunk.iter().map(|(first, _)| self.given.run_id(*first))),
            _ => texts((0..chunk.len()).map(|number| cell(number, *column))),
        };
        memory::collect([places].into_iter().chain(ItemColumn::NEW.iter().map(column)))
    }
}

#[pymethods]
impl ItemBatch {
    fn __len__(&self) -> usize {
        self.sorted.len()
    }

    /// How many places there are: each item that was given has one.
    #[getter]
    fn places(&self) -> usize {
        self.given.len()
    }

    /// The runs, and for messages the place and the id of the first item of each: an array each.
    fn runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        Ok(py.detach(|| self.of_runs())?.iter().map(|array| PyBytes::new(py, array)).collect())
    }

    /// Places and columns of the items from this one on, an array each, and the item behind them; `None` if one of them
    /// is unusual after all.
    fn chunk<'py>(
        &self,
        py: Python<'py>,
        start: usize,
    ) -> PyResult<Option<(Vec<Bound<'py, PyBytes>>, usize)>> {
        let (arrays, end) = match &self.given {
            Given::Encoded(items) => {
                let end = self.end(start, |(_, last)| Some(bytes(items, last))).unwrap_or(start);
                let chunk = &self.sorted[start..end];
                let arrays = py.detach(|| {
                    self.arrays(chunk, |number, column| {
                        let (first, last) = chunk[number];
                        items.get(if column == ItemColumn::ItemType { first } else { last }, column)
                    })
                });
                (arrays?, end)
            }
            Given::Plain { items, strict, .. } => {
                let mut rows = NewItems::new();
                let encode = |(row, _): (usize, usize)| {
                    plain::append(&mut rows, items[row].bind(py), *strict)?;
                    Some(bytes(&rows, rows.len() - 1))
                };
                let Some(end) = self.end(start, encode) else { return Ok(None) };
                let arrays = py.detach(|| {
                    self.arrays(&self.sorted[start..end], |number, column| rows.get(number, column))
                });
                (arrays?, end)
            }
        };
        Ok(Some((arrays.iter().map(|array| PyBytes::new(py, array)).collect(), end)))
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
