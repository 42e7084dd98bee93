//! Between Python's dicts and the core's rows.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PySequence, PyString, PyTuple,
};
use rusqlite::types::Value;

use super::errors::Refusal;
use super::json;
use crate::model::{Items, NewItems};
use crate::query::{Parameters, Rows};

/// How many rows are converted before other threads get a chance to run.
const SLICE: usize = 256;

/// The text of a required argument.
pub(super) fn text<'a>(value: &'a Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<&'a str> {
    let py = value.py();
    let Ok(text) = value.cast::<PyString>() else {
        let found = value.get_type().name()?;
        return Err(Refusal::InvalidType.error(py, format!("{operation}: {name} must be a str, not {found}")));
    };
    text.to_str().map_err(|_| {
        let what = format!("{operation}: {name} holds a lone surrogate, which UTF-8 cannot");
        Refusal::InvalidValue.error(py, what)
    })
}

/// The text of an argument that may be None.
pub(super) fn optional_text<'a>(
    value: &'a Bound<'_, PyAny>,
    operation: &str,
    name: &str,
) -> PyResult<Option<&'a str>> {
    if value.is_none() { Ok(None) } else { text(value, operation, name).map(Some) }
}

/// A JSON argument as text.
pub(super) fn json_text(value: &Bound<'_, PyAny>, operation: &str, name: &str) -> PyResult<Vec<u8>> {
    let mut text = Vec::new();
    json::encode(value, &mut text)
        .map_err(|error| during(value.py(), error, &format!("{operation}: {name}")))?;
    Ok(text)
}

/// One item.
pub(super) fn item(item: &Bound<'_, PyAny>) -> PyResult<NewItems> {
    let mut rows = NewItems::new();
    push_item(&mut rows, item, &|| "upsert_intel_item".to_owned())?;
    Ok(rows)
}

const BATCH: &str = "upsert_intel_items_batch";

/// What an iterable of items gives, all of it.
pub(super) fn exhaust<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let iterator = items.try_iter().map_err(|error| during(items.py(), error, BATCH))?;
    iterator.collect()
}

/// The items of a batch.
pub(super) fn items(py: Python<'_>, items: &[Bound<'_, PyAny>]) -> PyResult<NewItems> {
    let mut rows = NewItems::new();
    for (index, item) in items.iter().enumerate() {
        if index % SLICE == SLICE - 1 {
            py.detach(|| {});
        }
        push_item(&mut rows, item, &|| format!("{BATCH}: item {index}"))?;
    }
    Ok(rows)
}

/// Items of which each is just what is documented, as rows; `None` where one is anything else.
///
/// Runs no code of the user's and makes no Python object, so that the writer may be held meanwhile.
pub(super) fn plain_items(items: &[Bound<'_, PyAny>]) -> Option<NewItems> {
    let mut rows = NewItems::new();
    items.iter().try_for_each(|item| push_plain_item(&mut rows, item.cast_exact::<PyDict>().ok()?))?;
    Some(rows)
}

fn push_plain_item(rows: &mut NewItems, item: &Bound<'_, PyDict>) -> Option<()> {
    let keys = Keys::of(item.py());
    for key in keys.text {
        rows.push(plain_text(&item.get_item(key).ok()??)?);
    }
    for (key, default) in keys.json {
        match item.get_item(key).ok()? {
            None => rows.push(default),
            Some(value) => {
                json::encode_plain(&value, rows.buffer()).then(|| rows.end_cell())?;
            }
        }
    }
    for key in keys.optional {
        match item.get_item(key).ok()?.filter(|value| !value.is_none()) {
            None => rows.push_null(),
            Some(value) => rows.push(plain_text(&value)?),
        }
    }
    Some(())
}

fn plain_text<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    value.cast_exact::<PyString>().ok()?.to_str().ok()
}

/// The keys of an item, by what they hold.
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

/// Append an item as a row. `context` says for messages which one it is.
fn push_item(rows: &mut NewItems, item: &Bound<'_, PyAny>, context: &dyn Fn() -> String) -> PyResult<()> {
    let py = item.py();
    let copy;
    let item = match item.cast::<PyDict>() {
        Ok(dict) => dict,
        Err(_) => {
            let Ok(mapping) = item.cast::<PyMapping>() else {
                let found = item.get_type().name()?;
                return Err(
                    Refusal::InvalidType.error(py, format!("{}: must be a dict, not {found}", context()))
                );
            };
            copy = PyDict::new(py);
            copy.update(mapping)?;
            &copy
        }
    };
    let named = || match item.get_item(intern!(py, "item_id")) {
        Ok(Some(item_id)) => format!("{} ({})", context(), quote(&item_id)),
        _ => context(),
    };
    let keys = Keys::of(py);
    for key in keys.text {
        let Some(value) = item.get_item(key)? else {
            return Err(Refusal::MissingField.error(py, format!("{}: {key} is missing", named())));
        };
        rows.push(required_text(&value, &named, key)?);
    }
    for (key, default) in keys.json {
        match item.get_item(key)? {
            None => rows.push(default),
            Some(value) => {
                json::encode(&value, rows.buffer())
                    .map_err(|error| during(py, error, &format!("{}: {key}", named())))?;
                rows.end_cell();
            }
        }
    }
    for key in keys.optional {
        match item.get_item(key)?.filter(|value| !value.is_none()) {
            None => rows.push_null(),
            Some(value) => rows.push(required_text(&value, &named, key)?),
        }
    }
    Ok(())
}

/// An item's id for messages, as the core quotes it.
fn quote(item_id: &Bound<'_, PyAny>) -> String {
    match item_id.cast::<PyString>().map(PyStringMethods::to_str) {
        Ok(Ok(text)) => format!("{text:?}"),
        _ => item_id.repr().map_or_else(|_| "?".to_owned(), |shown| shown.to_string()),
    }
}

fn required_text<'a>(
    value: &'a Bound<'_, PyAny>,
    context: &dyn Fn() -> String,
    key: &Bound<'_, PyString>,
) -> PyResult<&'a str> {
    match value.cast::<PyString>().map(PyStringMethods::to_str) {
        Ok(Ok(text)) => Ok(text),
        _ => text(value, &context(), &key.to_string()),
    }
}

/// Items as Python gets them: a list of dicts, JSON decoded.
pub(super) fn item_dicts<'py>(
    py: Python<'py>,
    items: &Items,
    operation: &str,
) -> PyResult<Bound<'py, PyList>> {
    let keys = [
        (intern!(py, "item_id"), false),
        (intern!(py, "run_id"), false),
        (intern!(py, "item_type"), false),
        (intern!(py, "title"), false),
        (intern!(py, "summary"), false),
        (intern!(py, "claims_json"), true),
        (intern!(py, "evidence_json"), true),
        (intern!(py, "scores_json"), true),
        (intern!(py, "risk_flags_json"), true),
        (intern!(py, "explainability_json"), true),
        (intern!(py, "decision"), false),
        (intern!(py, "decision_reason"), false),
        (intern!(py, "created_at"), false),
    ];
    let list = PyList::empty(py);
    for row in 0..items.len() {
        if row % SLICE == SLICE - 1 {
            py.detach(|| {});
        }
        let dict = PyDict::new(py);
        for (column, (key, is_json)) in keys.iter().enumerate() {
            let value = match items.get(row, column) {
                None => py.None().into_bound(py),
                Some(text) if *is_json => json::decode(py, text).map_err(|error| {
                    let item_id = String::from_utf8_lossy(items.get(row, 0).unwrap_or_default());
                    during(py, error, &format!("{operation}: item {item_id:?}, {key}"))
                })?,
                Some(text) => PyString::from_bytes(py, text)?.into_any(),
            };
            dict.set_item(key, value)?;
        }
        list.append(dict)?;
    }
    Ok(list)
}

/// Parameters of an ad-hoc query.
pub(super) fn parameters(values: &Bound<'_, PyAny>) -> PyResult<Parameters> {
    let py = values.py();
    if let Ok(mapping) = values.cast::<PyMapping>() {
        let mut named = Vec::new();
        for pair in mapping.items()? {
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let name = text(&name, "execute", "a parameter's name")?.to_owned();
            let value = scalar(&value, &name)?;
            named.push((name, value));
        }
        return Ok(Parameters::Named(named));
    }
    let Ok(sequence) = values
        .cast::<PySequence>()
        .map_err(drop)
        .and_then(|values| if values.is_instance_of::<PyString>() { Err(()) } else { Ok(values) })
    else {
        let found = values.get_type().name()?;
        return Err(Refusal::InvalidType
            .error(py, format!("execute: parameters must be a sequence or a mapping, not {found}")));
    };
    let values =
        sequence.try_iter()?.enumerate().map(|(index, value)| scalar(&value?, &(index + 1).to_string()));
    values.collect::<PyResult<_>>().map(Parameters::Positional)
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
        return Ok(Value::Text(text(value, "execute", &format!("parameter {name}"))?.to_owned()));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::Blob(bytes.as_bytes().to_vec()));
    }
    let found = value.get_type().name()?;
    Err(Refusal::InvalidType.error(py, format!("execute: parameter {name} cannot be a {found}")))
}

/// What an ad-hoc query returned, as Python gets it: column names, and a tuple a row.
pub(super) fn rows<'py>(py: Python<'py>, rows: Rows) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyList>)> {
    let list = PyList::empty(py);
    for row in rows.rows {
        let values = row.into_iter().map(|value| match value {
            Value::Null => Ok(py.None().into_bound(py)),
            Value::Integer(number) => Ok(number.into_pyobject(py)?.into_any()),
            Value::Real(number) => Ok(number.into_pyobject(py)?.into_any()),
            Value::Text(text) => Ok(text.into_pyobject(py)?.into_any()),
            Value::Blob(bytes) => Ok(PyBytes::new(py, &bytes).into_any()),
        });
        list.append(PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)?)?;
    }
    Ok((PyTuple::new(py, rows.columns)?, list))
}

/// The same exception with its message headed by what was being done, where it is one of ours.
fn during(py: Python<'_>, error: PyErr, what: &str) -> PyErr {
    let kind = error.get_type(py);
    let ours = super::errors::class(py, "StateStoreError")
        .is_ok_and(|root| kind.is_subclass(&root).unwrap_or(false));
    let message = format!("{what}: {}", error.value(py));
    if ours {
        PyErr::from_type(kind, (message,))
    } else if error.is_instance_of::<PyTypeError>(py) {
        Refusal::InvalidType.error(py, message)
    } else {
        error
    }
}
