//! A batch on its way to an engine that is written in Python: each item once, sorted, in chunks of PostgreSQL's arrays.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::convert::escape::escape;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::NewItems;

/// How much goes to the server at a time: some memory of its session is as much as that.
const CHUNK_ITEMS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;

/// The types of PostgreSQL's that arrays are made of.
const INT4: i32 = 23;
const TEXT: i32 = 25;

/// Items, each once: run, type and place are of the first of its id, the rest of the last.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct ItemBatch {
    items: NewItems,
    /// The first and the last row of each item, by its id: batches that lock the same rows in the same order cannot wait
    /// for each other.
    sorted: Vec<(usize, usize)>,
    /// The first row of each run, in their order.
    runs: Vec<usize>,
}

impl ItemBatch {
    pub(super) fn new(py: Python<'_>, items: NewItems) -> PyResult<Self> {
        Ok(py.detach(|| {
            let (sorted, runs) = (sorted(&items)?, runs(&items)?);
            Ok::<_, OutOfMemory>(Self { items, sorted, runs })
        })?)
    }

    fn cell(&self, row: usize, column: ItemColumn) -> Option<&[u8]> {
        self.items.get(row, column)
    }

    fn of_runs(&self) -> Result<[Vec<u8>; 3], OutOfMemory> {
        let texts = |column| texts(self.runs.iter().map(move |row| self.cell(*row, column)));
        let places = integers(self.runs.iter().copied())?;
        Ok([texts(ItemColumn::RunId)?, places, texts(ItemColumn::ItemId)?])
    }

    fn arrays(&self, start: usize) -> Result<(Vec<Vec<u8>>, usize), OutOfMemory> {
        let (mut stop, mut size) = (start, 0);
        while stop < self.sorted.len() && stop - start < CHUNK_ITEMS && size < CHUNK_BYTES {
            let bytes = |column: &ItemColumn| self.cell(self.sorted[stop].1, *column).map_or(0, <[u8]>::len);
            size += ItemColumn::NEW.iter().map(bytes).sum::<usize>();
            stop += 1;
        }
        let chunk = &self.sorted[start..stop];
        let places = integers(chunk.iter().map(|(first, _)| *first));
        let column = |column: &ItemColumn| {
            let of_first = matches!(column, ItemColumn::RunId | ItemColumn::ItemType);
            let row = move |(first, last): &(usize, usize)| if of_first { *first } else { *last };
            texts(chunk.iter().map(|each| self.cell(row(each), *column)))
        };
        let arrays = memory::collect([places].into_iter().chain(ItemColumn::NEW.iter().map(column)))?;
        Ok((arrays, stop))
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
        self.items.len()
    }

    /// The runs, and for messages the place and the id of the first item of each: an array each.
    fn runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        Ok(py.detach(|| self.of_runs())?.iter().map(|array| PyBytes::new(py, array)).collect())
    }

    /// Places and columns of the items from this one on, an array each, and the item behind them.
    fn chunk<'py>(&self, py: Python<'py>, start: usize) -> PyResult<(Vec<Bound<'py, PyBytes>>, usize)> {
        let (arrays, stop) = py.detach(|| self.arrays(start))?;
        Ok((arrays.iter().map(|array| PyBytes::new(py, array)).collect(), stop))
    }
}

fn sorted(items: &NewItems) -> Result<Vec<(usize, usize)>, OutOfMemory> {
    let id = |row: usize| items.get(row, ItemColumn::ItemId);
    let mut rows = memory::collect((0..items.len()).map(Ok::<_, OutOfMemory>))?;
    rows.sort_unstable_by_key(|row| (id(*row), *row));
    let mut sorted: Vec<(usize, usize)> = Vec::new();
    for row in rows {
        match sorted.last_mut() {
            Some((first, last)) if id(*first) == id(row) => *last = row,
            _ => memory::push(&mut sorted, (row, row))?,
        }
    }
    Ok(sorted)
}

fn runs(items: &NewItems) -> Result<Vec<usize>, OutOfMemory> {
    let (mut seen, mut runs) = (HashSet::new(), Vec::new());
    for row in 0..items.len() {
        seen.try_reserve(1)?;
        if seen.insert(items.get(row, ItemColumn::RunId)) {
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
        let items = items(&[("b", "r2", None), ("a", "r1", None), ("b", "r1", None), ("a", "r3", None)]);
        assert_eq!(sorted(&items).unwrap(), [(1, 3), (0, 2)]);
        assert_eq!(runs(&items).unwrap(), [0, 1, 3]);
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
