//! How a store converts what it is given to write: its options `json_default` and `strict`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::model::columns::ItemColumn;
use crate::py::errors::{Refusal, shown};
use crate::py::options;

/// What a store was told about the values that it is given.
pub(in crate::py) struct Conversion {
    /// Makes JSON of what JSON does not know, as `default` of `json.dumps`. Never called while the writer is held.
    pub(in crate::py) json_default: Option<Py<PyAny>>,
    /// Whether an item may have no keys but its own.
    pub(in crate::py) strict: bool,
}

impl Conversion {
    pub(in crate::py) fn new(json_default: &Bound<'_, PyAny>, strict: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            json_default: options::callback(json_default, "json_default")?,
            strict: options::flag(strict, "strict")?,
        })
    }

    /// Show the garbage collector what is referred to: a method of what owns the store makes a cycle.
    pub(in crate::py) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.json_default)
    }
}

/// The first of these keys that no item has; those that lists return may all come back.
///
/// Runs no code of the user's.
pub(super) fn unknown_key<'py>(keys: &Bound<'py, PyDict>) -> Option<Bound<'py, PyAny>> {
    let is_known = |key: &Bound<'_, PyAny>| {
        let text = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok());
        text.is_some_and(|text| ItemColumn::ALL.iter().any(|column| column.name() == text))
    };
    keys.iter().map(|(key, _)| key).find(|key| !is_known(key))
}

/// The error that an item has such a key.
pub(super) fn unknown(key: &Bound<'_, PyAny>, item: &str) -> PyErr {
    let text = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok());
    let remedy = match text.and_then(ItemColumn::nearest) {
        Some(column) => format!("did you mean {:?}?", column.name()),
        None => format!("the keys of an item are {}", ItemColumn::names(ItemColumn::NEW)),
    };
    Refusal::InvalidValue.error(key.py(), format!("{item}: unknown key {}; {remedy}", shown(key)))
}
