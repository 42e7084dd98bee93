//! Rows of items as PostgreSQL's binary COPY sends them to an engine that is written in Python: which of them are kept, and
//! what becomes of those. A row is its place, its time, a column for each condition, and then the columns wanted.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::calls::best::Ranking;
use super::convert::escape::unescape;
use super::convert::item::Dicts;
use super::convert::item_selection::ItemSelection;
use crate::error::{ErrorKind, StoreError};
use crate::json::condition::Condition;
use crate::json::order_by::OrderBy;
use crate::memory;
use crate::model::columns::ItemColumn;
use crate::model::rows::Items;
use crate::sqlite::lists::best;
use crate::sqlite::lists::order::Order;

/// What each COPY begins with, before its flags and the length of what may come with them.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The cells before those of the conditions.
const PLACE_AND_TIME: usize = 2;

type Cell<'a> = Option<&'a [u8]>;

/// Some whole rows.
struct Copied<'a>(&'a [u8]);

impl<'a> Copied<'a> {
    fn new(data: &'a [u8]) -> Result<Self, StoreError> {
        let mut copied = Self(data);
        if let Some(behind) = data.strip_prefix(SIGNATURE) {
            copied.0 = behind;
            copied.bytes(4)?;
            let length = copied.length()?;
            copied.bytes(length.unwrap_or_default())?;
        }
        Ok(copied)
    }

    /// The next row's cells, unless there is none.
    fn next(&mut self, cells: &mut Vec<Cell<'a>>) -> Result<bool, StoreError> {
        cells.clear();
        if self.0.is_empty() {
            return Ok(false);
        }
        let count = i16::from_be_bytes(self.array()?);
        for _ in 0..count {
            let cell = self.length()?.map(|length| self.bytes(length)).transpose()?;
            memory::push(cells, cell)?;
        }
        // Behind the last row comes a count of -1.
        Ok(count >= 0)
    }

    fn length(&mut self) -> Result<Option<usize>, StoreError> {
        Ok(usize::try_from(i32::from_be_bytes(self.array()?)).ok())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.bytes(N)?.try_into().map_err(|_| malformed())
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(bytes)
    }
}

fn malformed() -> StoreError {
    StoreError::new(ErrorKind::Other, "the server sent rows that are cut off; repeat the call")
}

fn place(cells: &[Cell<'_>]) -> Result<i64, StoreError> {
    let bytes = cells.first().copied().flatten().and_then(|cell| cell.try_into().ok());
    bytes.map(i64::from_be_bytes).ok_or_else(malformed)
}

/// Decides which rows are kept.
struct Filter(Arc<Vec<Condition>>);

impl Filter {
    fn keeps(&self, cells: &[Cell<'_>]) -> Result<bool, StoreError> {
        for (condition, cell) in self.0.iter().zip(cells.iter().skip(PLACE_AND_TIME)) {
            let text = cell.map(unescape).transpose()?;
            if !condition.holds(text.as_deref())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The columns wanted.
    fn behind<'a, 'b>(&self, cells: &'b [Cell<'a>]) -> &'b [Cell<'a>] {
        cells.get(PLACE_AND_TIME + self.0.len()..).unwrap_or_default()
    }
}

/// Makes dicts of the rows that are kept.
#[pyclass(module = "orchestrator.state_store._core")]
pub(super) struct ItemReader {
    selection: Py<ItemSelection>,
    items: Py<PyList>,
    /// The places of all of them.
    places: Vec<i64>,
    reading: Reading,
}

struct Reading {
    filter: Filter,
    columns: Vec<ItemColumn>,
    limit: usize,
    most_scanned: usize,
    kept: usize,
    scanned: usize,
    last_scanned: Option<i64>,
    last: Option<(String, i64)>,
    is_over: bool,
}

impl Reading {
    fn take(&mut self, data: &[u8], places: &mut Vec<i64>) -> Result<Items, StoreError> {
        let (mut copied, mut cells, mut items) = (Copied::new(data)?, Vec::new(), Items::new());
        while !self.is_over && copied.next(&mut cells)? {
            let is_kept = self.filter.keeps(&cells)?;
            if self.scanned == self.most_scanned || is_kept && self.kept == self.limit {
                self.is_over = true;
                break;
            }
            self.scanned += 1;
            self.last_scanned = Some(place(&cells)?);
            self.kept += usize::from(is_kept);
            if is_kept && self.kept == self.limit || self.scanned == self.most_scanned {
                let time = cells.get(1).copied().flatten().unwrap_or_default();
                self.last = Some((memory::lossy(time)?, place(&cells)?));
            }
            if is_kept {
                memory::push(places, place(&cells)?)?;
                self.push(&cells, &mut items)?;
            }
        }
        Ok(items)
    }

    fn push(&self, cells: &[Cell<'_>], items: &mut Items) -> Result<(), StoreError> {
        let mut wanted = self.columns.iter().zip(self.filter.behind(cells)).peekable();
        for column in ItemColumn::ALL {
            match wanted.next_if(|(wanted, _)| *wanted == column) {
                Some((_, Some(cell))) => items.push(unescape(cell)?)?,
                _ => items.push_null()?,
            }
        }
        Ok(())
    }
}

#[pymethods]
impl ItemReader {
    /// Take some whole rows, and make the dicts of those that are kept.
    fn take(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let (reading, places) = (&mut self.reading, &mut self.places);
        let items = py.detach(|| reading.take(data, places))?;
        let selection = self.selection.get();
        Dicts::new(self.items.bind(py), &selection.columns)?
            .extend(std::iter::once(Some(items)), &selection.operation)
    }

    /// Put the dicts into the selection's order, where the rows came in none.
    fn sort(&mut self, py: Python<'_>) -> PyResult<()> {
        let (places, is_newest_first) = (&self.places, self.selection.get().order == Order::Newest);
        let numbers = py.detach(|| {
            let mut numbers = memory::collect((0..places.len()).map(Ok::<_, memory::OutOfMemory>))?;
            numbers.sort_unstable_by_key(|number| places[*number]);
            if is_newest_first {
                numbers.reverse();
            }
            Ok::<_, memory::OutOfMemory>(numbers)
        })?;
        let items = self.items.bind(py);
        let sorted =
            numbers.into_iter().map(|number| items.get_item(number)).collect::<PyResult<Vec<_>>>()?;
        self.items = PyList::new(py, sorted)?.unbind();
        Ok(())
    }

    /// The dicts so far.
    #[getter]
    fn items<'py>(&self, py: Python<'py>) -> Bound<'py, PyList> {
        self.items.bind(py).clone()
    }

    /// How many rows were looked at.
    #[getter]
    fn scanned(&self) -> usize {
        self.reading.scanned
    }

    /// The place of the last of them.
    #[getter]
    fn last_scanned(&self) -> Option<i64> {
        self.reading.last_scanned
    }

    /// Whether there are rows behind the last that is wanted.
    #[getter]
    fn is_over(&self) -> bool {
        self.reading.is_over
    }

    /// The time and the place of the last that is wanted, if there are rows behind it.
    #[getter]
    fn end(&self) -> Option<(String, i64)> {
        self.reading.last.clone().filter(|_| self.reading.is_over)
    }
}

/// Counts the rows that are kept, by the text of a column.
#[pyclass(module = "orchestrator.state_store._core")]
pub(super) struct ItemTally {
    filter: Filter,
    counts: HashMap<Option<Vec<u8>>, u64>,
}

#[pymethods]
impl ItemTally {
    /// Take some whole rows.
    fn take(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let (filter, counts) = (&self.filter, &mut self.counts);
        Ok(py.detach(|| {
            let (mut copied, mut cells) = (Copied::new(data)?, Vec::new());
            while copied.next(&mut cells)? {
                if filter.keeps(&cells)? {
                    let key =
                        filter.behind(&cells).first().copied().flatten().map(memory::bytes).transpose()?;
                    counts.try_reserve(1).map_err(memory::OutOfMemory::from)?;
                    *counts.entry(key).or_default() += 1;
                }
            }
            Ok::<_, StoreError>(())
        })?)
    }

    /// The texts, as they came, and how many rows have each.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Option<Bound<'py, PyString>>, u64)>> {
        let text =
            |text: &Option<Vec<u8>>| text.as_ref().map(|text| PyString::from_bytes(py, text)).transpose();
        self.counts.iter().map(|(key, count)| Ok((text(key)?, *count))).collect()
    }
}

/// Ranks the rows that are kept by the number in the column wanted.
#[pyclass(module = "orchestrator.state_store._core")]
pub(super) struct Ranker {
    filter: Filter,
    by: OrderBy,
    ranker: best::Ranker,
}

#[pymethods]
impl Ranker {
    /// Take some whole rows.
    fn take(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        let Self { filter, by, ranker } = self;
        Ok(py.detach(|| {
            let (mut copied, mut cells) = (Copied::new(data)?, Vec::new());
            while copied.next(&mut cells)? {
                if filter.keeps(&cells)? {
                    let text = filter.behind(&cells).first().copied().flatten().map(unescape).transpose()?;
                    ranker.add(by.number(text.as_deref())?, place(&cells)?)?;
                }
            }
            Ok::<_, StoreError>(())
        })?)
    }

    /// The first of those that were taken.
    fn ranking(&mut self) -> Ranking {
        Ranking(self.ranker.ranking())
    }
}

impl Ranker {
    pub(super) fn new(selection: &ItemSelection, by: OrderBy, ranker: best::Ranker) -> Self {
        Self { filter: filter(selection), by, ranker }
    }
}

#[pymethods]
impl ItemSelection {
    /// What reads the first `limit` rows that are kept, of the first `most_scanned`.
    #[pyo3(signature = (limit, most_scanned = None))]
    fn reader(
        slf: &Bound<'_, Self>,
        limit: Option<NonZeroUsize>,
        most_scanned: Option<NonZeroUsize>,
    ) -> ItemReader {
        let most = |most: Option<NonZeroUsize>| most.map_or(usize::MAX, NonZeroUsize::get);
        let selection = slf.get();
        let reading = Reading {
            filter: filter(selection),
            columns: selection.read().collect(),
            limit: most(limit),
            most_scanned: most(most_scanned),
            kept: 0,
            scanned: 0,
            last_scanned: None,
            last: None,
            is_over: false,
        };
        let items = PyList::empty(slf.py()).unbind();
        ItemReader { selection: slf.clone().unbind(), items, places: Vec::new(), reading }
    }

    /// What counts the rows that are kept.
    fn tally(&self) -> ItemTally {
        ItemTally { filter: filter(self), counts: HashMap::new() }
    }
}

fn filter(selection: &ItemSelection) -> Filter {
    Filter(Arc::clone(&selection.filter.conditions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Cell<'_>]) -> Vec<u8> {
        let mut row = i16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
        for cell in cells {
            let length = cell.map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
            row.extend(length.to_be_bytes());
            row.extend(cell.unwrap_or_default());
        }
        row
    }

    #[test]
    fn rows_are_read_with_and_without_what_a_copy_begins_and_ends_with() {
        let cells = [Some(&b"a"[..]), None, Some(b"")];
        let end = (-1_i16).to_be_bytes();
        let head = [SIGNATURE, &[0; 4], &[0, 0, 0, 1], b"x"].concat();
        for (data, count) in [
            (Vec::new(), 0),
            ([&head[..], &end].concat(), 0),
            ([&head[..], &row(&cells)].concat(), 1),
            ([row(&cells), row(&cells), end.to_vec()].concat(), 2),
        ] {
            let (mut copied, mut found) = (Copied::new(&data).unwrap(), Vec::new());
            for _ in 0..count {
                assert!(copied.next(&mut found).unwrap());
                assert_eq!(found, cells);
            }
            assert!(!copied.next(&mut found).unwrap());
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = [SIGNATURE, &[0; 8], &row(&[Some(b"abc")])].concat();
        for length in SIGNATURE.len()..whole.len() {
            let cut = &whole[..length];
            let read = Copied::new(cut).and_then(|mut copied| copied.next(&mut Vec::new()));
            assert!(read.is_err() || length == SIGNATURE.len() + 8, "{length}");
        }
    }

    #[test]
    fn a_place_is_a_number_of_eight_bytes() {
        assert_eq!(place(&[Some(&258_i64.to_be_bytes())]).unwrap(), 258);
        assert!(place(&[Some(b"abc")]).is_err());
        assert!(place(&[None]).is_err());
    }
}
