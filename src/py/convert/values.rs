//! Conversion of arguments and results other than items.

use std::num::NonZeroUsize;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PySequence, PyString, PyTuple,
};

use super::conversion::Conversion;
use super::json;
use crate::error::{ErrorKind, StoreError, excerpt};
use crate::memory::{self, OutOfMemory};
use crate::py::errors::{Refusal, escaped, wrong_type, wrong_value};
use crate::py::gil::TimeSlice;
use crate::py::names::intern;
use crate::sqlite::engine::adhoc::{Parameters, Rows, Value};
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::tally::Tally;
use crate::sqlite::tables::cells::described;

/// The text of a required argument.
pub(in crate::py) fn text<'a>(value: &'a Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<&'a str> {
    text_or(value, operation, name, "a str")
}

fn text_or<'a>(value: &'a Bound<'_, PyAny>, operation: &str, name: &str, wanted: &str) -> PyResult<&'a str> {
    let Ok(text) = value.cast::<PyString>() else {
        return Err(wrong_type(value, format_args!("{operation}: {name} must be {wanted}")));
    };
    text.to_str().map_err(|_| {
        let what = format!("{operation}: {name} holds a lone surrogate, which UTF-8 cannot");
        Refusal::InvalidValue.error(value.py(), what)
    })
}

/// The text of an argument that may be None.
pub(in crate::py) fn optional_text<'a>(
    value: &'a Bound<'_, PyAny>,
    operation: &str,
    name: &str,
) -> PyResult<Option<&'a str>> {
    if value.is_none() { Ok(None) } else { text_or(value, operation, name, "a str or None").map(Some) }
}

/// The texts of an argument that may be one, several or None.
pub(in crate::py) fn texts(
    value: &Bound<'_, PyAny>,
    operation: &str,
    name: &str,
) -> PyResult<Option<Vec<String>>> {
    if value.is_none() {
        return Ok(None);
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Some(vec![memory::text(text(value, operation, name)?)?]));
    }
    all_texts(value, operation, name, "a str, an iterable of str or None").map(Some)
}

/// The texts of an argument that is several.
pub(in crate::py) fn several_texts(
    value: &Bound<'_, PyAny>,
    operation: &str,
    name: &str,
) -> PyResult<Vec<String>> {
    let wanted = "an iterable of str";
    if value.is_instance_of::<PyString>() {
        return Err(wrong_type(value, format_args!("{operation}: {name} must be {wanted}")));
    }
    all_texts(value, operation, name, wanted)
}

fn all_texts(value: &Bound<'_, PyAny>, operation: &str, name: &str, wanted: &str) -> PyResult<Vec<String>> {
    let wanted = format!("{operation}: {name} must be {wanted}");
    let several = value.try_iter().map_err(|error| during(value.py(), error, &wanted))?;
    memory::collect(several.map(|each| Ok(memory::text(text(&each?, operation, name)?)?)))
}

/// Which of these texts an argument is.
pub(in crate::py) fn choice<const N: usize>(
    value: &Bound<'_, PyAny>,
    operation: &str,
    name: &str,
    choices: [&str; N],
) -> PyResult<usize> {
    let found = text(value, operation, name)?;
    choices.iter().position(|choice| *choice == found).ok_or_else(|| {
        let choices = choices.map(|choice| format!("{choice:?}")).join(" or ");
        Refusal::InvalidValue
            .error(value.py(), format!("{operation}: {name} must be {choices}, not {}", excerpt(found)))
    })
}

/// Which end of a list comes first.
pub(in crate::py) fn order(value: &Bound<'_, PyAny>, operation: &str) -> PyResult<Order> {
    Ok(Order::ALL[choice(value, operation, "order", Order::ALL.map(Order::name))?])
}

/// How long a list may be; `None` is as long as there are rows.
pub(in crate::py) fn limit(value: &Bound<'_, PyAny>, operation: &str) -> PyResult<Option<NonZeroUsize>> {
    if value.is_none() {
        return Ok(None);
    }
    let wanted = format!("{operation}: limit must be an int of 1 or more, or None");
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        return Err(wrong_type(value, wanted));
    }
    if value.lt(1)? {
        return Err(wrong_value(value, wanted));
    }
    Ok(Some(value.extract().unwrap_or(NonZeroUsize::MAX)))
}

/// The object of a cell of text or NULL.
pub(in crate::py) fn cell<'py>(py: Python<'py>, text: Option<&[u8]>) -> PyResult<Bound<'py, PyAny>> {
    Ok(text_of(py, text)?)
}

fn text_of<'py>(py: Python<'py>, text: Option<&[u8]>) -> Result<Bound<'py, PyAny>, StoreError> {
    let Some(text) = text else { return Ok(py.None().into_bound(py)) };
    let not_text = |error: PyErr| {
        if error.is_instance_of::<PyMemoryError>(py) {
            return OutOfMemory.into();
        }
        let what = "not UTF-8 text; another program wrote it, or the file is damaged";
        StoreError::new(ErrorKind::CorruptDatabase, what)
    };
    Ok(PyString::from_bytes(py, text).map_err(not_text)?.into_any())
}

/// How often each value came, the most frequent first.
pub(in crate::py) fn tally<'py>(
    py: Python<'py>,
    tally: &Tally,
    operation: &str,
    column: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    for (value, count) in tally.sorted()? {
        let value = text_of(py, value).map_err(|error| {
            let error = error.during(format!("{operation}: {column}"));
            match error.kind {
                ErrorKind::OutOfMemory => error,
                _ => error.note("check() finds all such rows"),
            }
        })?;
        counts.set_item(value, count)?;
    }
    Ok(counts)
}

/// A JSON argument as text.
pub(in crate::py) fn json_text(
    value: &Bound<'_, PyAny>,
    conversion: &Conversion,
    operation: &str,
    name: &str,
) -> PyResult<Vec<u8>> {
    let mut text = Vec::new();
    let what = || format!("{operation}: {name}");
    json::encode(value, conversion.json_default.as_ref(), &mut text, &what)?;
    Ok(text)
}

/// Parameters of an ad-hoc query.
pub(in crate::py) fn parameters(values: &Bound<'_, PyAny>) -> PyResult<Parameters> {
    if let Ok(mapping) = values.cast::<PyMapping>() {
        let mut named = Vec::new();
        for pair in mapping.items()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let name = memory::text(text(&name, "execute", "a parameter's name")?)?;
            let value = scalar(&value, &escaped(&name))?;
            memory::push(&mut named, (name, value))?;
        }
        return Ok(Parameters::Named(named));
    }
    let Ok(sequence) = values
        .cast::<PySequence>()
        .map_err(drop)
        .and_then(|values| if values.is_instance_of::<PyString>() { Err(()) } else { Ok(values) })
    else {
        return Err(wrong_type(values, "execute: parameters must be a sequence or a mapping"));
    };
    let values =
        sequence.try_iter()?.enumerate().map(|(index, value)| scalar(&value?, &(index + 1).to_string()));
    memory::collect(values).map(Parameters::Positional)
}

fn scalar(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Value> {
    let py = value.py();
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Integer(flag.is_true().into()));
    }
    if value.cast::<PyInt>().is_ok() {
        return value.extract().map(Value::Integer).map_err(|_| {
            Refusal::InvalidValue.error(py, format!("execute: parameter {name} is an int of over 64 bits"))
        });
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Value::Real(number.value()));
    }
    if value.cast::<PyString>().is_ok() {
        return Ok(Value::Text(memory::text(text(value, "execute", &format!("parameter {name}"))?)?));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::Blob(memory::bytes(bytes.as_bytes())?));
    }
    let found = value.get_type().name()?;
    Err(Refusal::InvalidType.error(py, format!("execute: parameter {name} cannot be a {found}")))
}

/// What an ad-hoc query returned, as Python gets it: column names, and a tuple a row.
pub(in crate::py) fn rows<'py>(
    py: Python<'py>,
    rows: Rows,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyList>)> {
    let list = PyList::empty(py);
    let mut time_slice = TimeSlice::begin();
    for row in rows.rows {
        time_slice.yield_gil_or_end(py)?;
        let values = row.into_iter().map(|value| -> PyResult<_> {
            Ok(match value {
                Value::Null => py.None().into_bound(py),
                Value::Integer(number) => number.into_pyobject(py)?.into_any(),
                Value::Real(number) => number.into_pyobject(py)?.into_any(),
                Value::Text(text) => PyString::from_bytes(py, text.as_bytes())?.into_any(),
                Value::Blob(bytes) => {
                    let fill = |to: &mut [u8]| {
                        to.copy_from_slice(&bytes);
                        Ok(())
                    };
                    PyBytes::new_with(py, bytes.len(), fill)?.into_any()
                }
            })
        });
        list.append(PyTuple::new(py, memory::collect(values)?)?)?;
    }
    Ok((PyTuple::new(py, rows.columns)?, list))
}

/// The same exception with its message headed by what was being done, where it is one of ours.
pub(in crate::py) fn during(py: Python<'_>, error: PyErr, what: &str) -> PyErr {
    reworded(py, error, |message| format!("{what}: {message}"))
}

/// What comes of a cell of `table`, whose `text` cannot be decoded: an error that says how to go on past it, or for those
/// who show a store what `unreadable.py` makes of the text.
pub(in crate::py) fn unreadable<'py>(
    py: Python<'py>,
    error: PyErr,
    what: &str,
    table: &str,
    text: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    if error.is_instance_of::<PyMemoryError>(py) {
        return Err(during(py, error, what));
    }
    if is_ours(py, &error)
        && let Some(shown) = shown_instead(py, &format!("{what}: {}", error.value(py)), text)?
    {
        return Ok(shown);
    }
    Err(reworded(py, error, |message| format!("{what}: {message}; {}", described(table).1)))
}

/// Nothing is imported for it: those who want it have done so.
fn shown_instead<'py>(py: Python<'py>, message: &str, text: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(module) = modules.get_item(intern!(py, "orchestrator.state_store.unreadable")) else {
        return Ok(None);
    };
    let shown = module.call_method1(intern!(py, "instead"), (message, PyBytes::new(py, text)))?;
    Ok((!shown.is_none()).then_some(shown))
}

fn is_ours(py: Python<'_>, error: &PyErr) -> bool {
    crate::py::errors::class(py, "StateStoreError")
        .is_ok_and(|root| error.get_type(py).is_subclass(&root).unwrap_or(false))
}

fn reworded(py: Python<'_>, error: PyErr, reword: impl FnOnce(String) -> String) -> PyErr {
    let message = reword(error.value(py).to_string());
    if is_ours(py, &error) {
        PyErr::from_type(error.get_type(py), (message,))
    } else if error.is_instance_of::<PyTypeError>(py) {
        Refusal::InvalidType.error(py, message)
    } else {
        error
    }
}
