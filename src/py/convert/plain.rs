//! Items of which each is just what is documented: they are encoded while a transaction is open, since that runs no code
//! of the user's and makes no Python object.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::conversion::unknown_key;
use super::item::{Taking, push};
use super::json;
use crate::memory::OutOfMemory;
use crate::model::rows::{NewItems, TextRows};
use crate::py::gil::TimeSlice;
use crate::py::names::intern;

/// Such items as rows; `None` where one is anything else.
pub(in crate::py) fn rows(items: &[Bound<'_, PyAny>], strict: bool) -> Option<NewItems> {
    let mut rows = NewItems::new();
    items.iter().try_for_each(|item| append(&mut rows, item, strict))?;
    Some(rows)
}

/// Append an item as [`rows`] does.
pub(in crate::py) fn append(rows: &mut NewItems, item: &Bound<'_, PyAny>, strict: bool) -> Option<()> {
    let item = item.cast_exact().ok()?;
    if strict && unknown_key(item).is_some() {
        return None;
    }
    push(rows, item, &Plain).ok()
}

/// The columns of [`keys`].
pub(in crate::py) const ITEM_ID: usize = 0;
pub(in crate::py) const RUN_ID: usize = 1;

/// The id and the run of each item as rows; `None` where one is anything else.
pub(in crate::py) fn keys(py: Python<'_>, items: &[Bound<'_, PyAny>]) -> PyResult<Option<TextRows<2>>> {
    let mut rows = TextRows::new();
    let mut time_slice = TimeSlice::begin();
    for item in items {
        time_slice.yield_gil_or_end(py)?;
        let Ok(item) = item.cast_exact::<PyDict>() else { return Ok(None) };
        // Any other key is compared with those of an item by code of its own.
        if !item.iter().all(|(key, _)| key.is_exact_instance_of::<PyString>()) {
            return Ok(None);
        }
        for key in [intern!(py, "item_id"), intern!(py, "run_id")] {
            let Some(value) = item.get_item(key)? else { return Ok(None) };
            let Ok(text) = Plain.text(key, &value) else { return Ok(None) };
            rows.push(text)?;
        }
    }
    Ok(Some(rows))
}

/// Takes exactly what JSON and text are made of, and nothing else.
struct Plain;

/// Something that [`Plain`] does not take, or no memory for it.
struct Unusual;

impl From<PyErr> for Unusual {
    fn from(_: PyErr) -> Self {
        Self
    }
}

impl From<OutOfMemory> for Unusual {
    fn from(_: OutOfMemory) -> Self {
        Self
    }
}

impl Taking for Plain {
    type Error = Unusual;

    fn text<'a>(&self, _: &Bound<'_, PyString>, value: &'a Bound<'_, PyAny>) -> Result<&'a str, Unusual> {
        Ok(value.cast_exact::<PyString>().map_err(|_| Unusual)?.to_str()?)
    }

    fn json(
        &self,
        _: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        to: &mut Vec<u8>,
    ) -> Result<(), Unusual> {
        if json::encode_plain(value, to)? { Ok(()) } else { Err(Unusual) }
    }

    fn missing(&self, _: &Bound<'_, PyString>) -> Unusual {
        Unusual
    }
}
