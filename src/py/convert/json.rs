//! JSON between Python objects and text: ordinary values directly, unusual ones by the stdlib's `json`.

use std::io::ErrorKind;

use jiter::{Jiter, JsonErrorType, PythonParse, StringCacheMode};
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::json_writer::Writer;
use super::large_json::{self, Failure};
use crate::json::text::Text;
use crate::memory::{self, OutOfMemory};
use crate::py::errors::{Refusal, noted};
use crate::py::names::intern;
use crate::py::signals;

/// Deeper values go to the stdlib, which knows when to stop.
const MAX_DEPTH: u32 = 128;

/// `json.dumps` checks how deep it recurses, but not how much stack there is: with less than this it gets its own.
const STACK_WANTED: usize = 1 << 20;
const STACK_GIVEN: usize = 8 << 20;

/// Numbers of fewer digits are never refused, whatever limit is set.
const SHORTEST_LIMIT: usize = 640;

/// Append `value` as JSON text; `default` makes JSON of what JSON does not know.
///
/// Fails as `json.dumps` fails, and the message begins with `what`. Whatever else `default` or the value's own code
/// raises passes untouched, with `what` as a note.
pub(in crate::py) fn encode(
    value: &Bound<'_, PyAny>,
    default: Option<&Py<PyAny>>,
    text: &mut Vec<u8>,
    what: &dyn Fn() -> String,
) -> PyResult<()> {
    let mut done = encode_plain(value, text)?;
    if !done && signals::is_pending(value.py()) {
        // That may be why. The handler may change the value, so it is encoded anew.
        value.py().check_signals()?;
        done = encode_plain(value, text)?;
    }
    if !done {
        let written = dumps(value, default).map_err(|error| refusal(value.py(), error, default, &what()))?;
        memory::append(text, written.to_str()?.as_bytes())?;
    }
    Ok(())
}

/// Append `value` as JSON text if there is nothing unusual in it, and say whether it was; `text` is as it was otherwise.
/// A large one is given up once Ctrl-C has come, whose handler does not run here.
pub(in crate::py) fn encode_plain(value: &Bound<'_, PyAny>, text: &mut Vec<u8>) -> Result<bool, OutOfMemory> {
    let start = text.len();
    let Err(error) = serde_json::to_writer(Writer::new(value.py(), text), &ExactValue { value, depth: 0 })
    else {
        return Ok(true);
    };
    text.truncate(start);
    if error.io_error_kind() == Some(ErrorKind::OutOfMemory) { Err(OutOfMemory) } else { Ok(false) }
}

/// Turn JSON text into Python objects, exactly as `json.loads` does.
///
/// In the middle of a large text other threads run, and so do signals' handlers, where what they raise `may_end` it.
pub(in crate::py) fn decode<'py>(py: Python<'py>, text: &[u8], may_end: bool) -> PyResult<Bound<'py, PyAny>> {
    match text {
        b"[]" => return Ok(PyList::empty(py).into_any()),
        b"{}" => return Ok(PyDict::new(py).into_any()),
        _ => {}
    }
    if large_json::is_large(text) {
        return match large_json::decode(py, text, may_end) {
            Ok(value) => Ok(value),
            Err(Failure::Deep) => decode_deep(py, text),
            Err(Failure::Unusual) => loads(py, text),
            Err(Failure::Raised(error)) => Err(error),
        };
    }
    let parser =
        PythonParse { allow_inf_nan: true, cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    match parser.python_parse(py, text) {
        Ok(value) => Ok(value),
        Err(error) if error.error_type == JsonErrorType::RecursionLimitExceeded => decode_deep(py, text),
        Err(_) => loads(py, text),
    }
}

/// What is wrong with text that [`decode`] would refuse; `None` for JSON. Attaches to the interpreter for what is
/// unusual only.
pub(in crate::py) fn fault(text: &[u8]) -> PyResult<Option<String>> {
    if std::str::from_utf8(text).is_ok() && !has_long_number(text) {
        let mut parser = Jiter::new(text).with_allow_inf_nan();
        if parser.next_skip().is_ok() && parser.finish().is_ok() {
            return Ok(None);
        }
    }
    Python::attach(|py| match decode(py, text, false) {
        Ok(_) => Ok(None),
        Err(error)
            if error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyRecursionError>(py) =>
        {
            Ok(Some(error.value(py).to_string()))
        }
        Err(error) => Err(error),
    })
}

/// Whether a number is so long that the interpreter may refuse it (`sys.set_int_max_str_digits`).
fn has_long_number(text: &[u8]) -> bool {
    text.len() >= SHORTEST_LIMIT
        && text.split(|byte| !byte.is_ascii_digit()).any(|run| run.len() >= SHORTEST_LIMIT)
}

fn dumps<'py>(value: &Bound<'py, PyAny>, default: Option<&Py<PyAny>>) -> PyResult<Bound<'py, PyString>> {
    let py = value.py();
    let module = py.import(intern!(py, "json"))?;
    let options = PyDict::new(py);
    options.set_item(intern!(py, "separators"), (",", ":"))?;
    if let Some(default) = default {
        options.set_item(intern!(py, "default"), default)?;
    }
    let call = || module.call_method(intern!(py, "dumps"), (value,), Some(&options));
    Ok(stacker::maybe_grow(STACK_WANTED, STACK_GIVEN, call)?.cast_into()?)
}

/// What to raise where `json.dumps` raised `error`.
fn refusal(py: Python<'_>, error: PyErr, default: Option<&Py<PyAny>>, what: &str) -> PyErr {
    let refusal = if error.is_instance_of::<PyRecursionError>(py) {
        Refusal::NestingTooDeep.error(py, format!("{what}: nested too deeply for JSON"))
    } else if error.is_instance_of::<PyTypeError>(py) {
        Refusal::InvalidType.error(py, format!("{what}: {}", error.value(py)))
    } else if error.is_instance_of::<PyValueError>(py) {
        Refusal::InvalidValue.error(py, format!("{what}: {}", error.value(py)))
    } else {
        return noted(py, error, what);
    };
    if default.is_some() {
        // Its traceback leads into the default.
        refusal.set_cause(py, Some(error));
    }
    refusal
}

fn loads<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let text =
        PyString::from_bytes(py, std::str::from_utf8(text).map_err(|error| refuse(py, error))?.as_bytes())?;
    let module = py.import(intern!(py, "json"))?;
    module.call_method1(intern!(py, "loads"), (text,)).map_err(|error| {
        if error.is_instance_of::<PyValueError>(py) {
            refuse(py, error.value(py))
        } else if error.is_instance_of::<PyRecursionError>(py) {
            // Where it is no JSON lies deeper than the stdlib gets.
            Refusal::NestingTooDeep.error(py, "nested too deeply to be read")
        } else {
            error
        }
    })
}

fn refuse(py: Python<'_>, why: impl std::fmt::Display) -> PyErr {
    Refusal::InvalidJSON.error(py, format!("not JSON ({why}); another program wrote it"))
}

/// Decode text nested more deeply than a recursive parser may follow: brackets here, all else by the stdlib.
///
/// What `json.dumps` wrote near the top of a stack can thus be read near its end.
fn decode_deep<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut rest = Text::new(text);
    let mut open: Vec<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> = Vec::new();
    loop {
        rest.skip_space();
        let empty = match rest.peek() {
            Some(b'[') => Some((PyList::empty(py).into_any(), b']')),
            Some(b'{') => Some((PyDict::new(py).into_any(), b'}')),
            _ => None,
        };
        let mut value = if let Some((container, closing)) = empty {
            rest.at += 1;
            rest.skip_space();
            if rest.take(closing) {
                Some(container)
            } else {
                open.push((container, None));
                None
            }
        } else {
            let start = rest.at;
            // What is no scalar is refused by the stdlib.
            let _ = rest.scalar();
            Some(loads(py, text.get(start..rest.at).unwrap_or_default())?)
        };
        while let Some(done) = value.take() {
            rest.skip_space();
            let Some((container, key)) = open.last_mut() else {
                return if rest.peek().is_none() { Ok(done) } else { Err(refuse(py, "more than one value")) };
            };
            let closing = if let Ok(list) = container.cast::<PyList>() {
                list.append(done)?;
                b']'
            } else if let Some(key) = key.take() {
                container.set_item(key, done)?;
                b'}'
            } else {
                // A key, which a value follows.
                let name = done.cast_into::<PyString>().map_err(|_| refuse(py, "a key that is no string"))?;
                *key = Some(name.into_any());
                if !rest.take(b':') {
                    return Err(refuse(py, "no colon after a key"));
                }
                break;
            };
            if rest.take(closing) {
                value = open.pop().map(|(container, _)| container);
            } else if !rest.take(b',') {
                return Err(refuse(py, "no comma between two values"));
            }
        }
    }
}

/// A value of exactly the types that JSON has. Anything else is an error here, and is then tried by the stdlib.
struct ExactValue<'a, 'py> {
    value: &'a Bound<'py, PyAny>,
    depth: u32,
}

impl Serialize for ExactValue<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if let Ok(text) = value.cast_exact::<PyString>() {
            return serializer.serialize_str(text.to_str().map_err(unusual)?);
        }
        if value.is_none() {
            return serializer.serialize_unit();
        }
        if let Ok(flag) = value.cast_exact::<PyBool>() {
            return serializer.serialize_bool(flag.is_true());
        }
        if value.cast_exact::<PyInt>().is_ok() {
            return serializer.serialize_i64(value.extract().map_err(unusual)?);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            let number = number.value();
            return if number.is_finite() {
                serializer.serialize_f64(number)
            } else {
                Err(unusual("not finite"))
            };
        }
        if self.depth == MAX_DEPTH {
            return Err(unusual("deep"));
        }
        let depth = self.depth + 1;
        if let Ok(list) = value.cast_exact::<PyList>() {
            let mut sequence = serializer.serialize_seq(Some(list.len()))?;
            for element in list {
                sequence.serialize_element(&ExactValue { value: &element, depth })?;
            }
            return sequence.end();
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            let mut map = serializer.serialize_map(Some(dict.len()))?;
            for (key, element) in dict {
                let key = key.cast_exact::<PyString>().map_err(unusual)?;
                map.serialize_entry(key.to_str().map_err(unusual)?, &ExactValue { value: &element, depth })?;
            }
            return map.end();
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            let mut sequence = serializer.serialize_seq(Some(tuple.len()))?;
            for element in tuple.iter_borrowed() {
                sequence.serialize_element(&ExactValue { value: &element, depth })?;
            }
            return sequence.end();
        }
        Err(unusual(value))
    }
}

/// The reason is never seen: whatever is unusual is tried again by the stdlib.
fn unusual<E: serde::ser::Error>(_: impl Sized) -> E {
    E::custom("unusual")
}
