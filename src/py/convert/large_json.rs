//! Large JSON text to Python objects. jiter's own way to them keeps arrays and texts in buffers, and where there is no
//! memory for such a buffer the process aborts. Here arrays grow as lists of Python's, and the one buffer for texts is
//! asked for beforehand.

use jiter::{Jiter, JiterError, Peek, cached_py_string};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString};

use crate::memory::OutOfMemory;
use crate::py::gil::TimeSlice;

/// What jiter's buffers may have without mattering: the elements of an array, and the bytes of a text with escapes.
const FEW_ELEMENTS: usize = 256;
const SHORT_TEXT: usize = 4096;

/// Bytes of jiter's cache of keys: entries of 24 bytes, and some more.
const CACHE: usize = 400_000;

const MAX_DEPTH: u32 = 128;

/// How many values are decoded between two looks at the time: far less than a time slice.
const LOOK_EVERY: usize = 1024;

/// What keeps text from being decoded here.
pub(super) enum Failure {
    /// It is nested too deeply.
    Deep,
    /// It is not JSON, or has an unusual number.
    Unusual,
    /// Something was raised: memory ran out.
    Raised(PyErr),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<JiterError> for Failure {
    fn from(_: JiterError) -> Self {
        Self::Unusual
    }
}

/// Have jiter make its cache of keys, which it does with the first key that it meets, once for the process.
pub(in crate::py) fn prepare(py: Python<'_>) -> Result<(), OutOfMemory> {
    Vec::<u8>::new().try_reserve_exact(CACHE)?;
    cached_py_string(py, "item_id");
    Ok(())
}

/// Whether jiter may need large buffers for this text.
pub(super) fn is_large(text: &[u8]) -> bool {
    text.len() > 2 * FEW_ELEMENTS && text.iter().filter(|byte| **byte == b',').count() >= FEW_ELEMENTS
        || text.len() >= SHORT_TEXT && text.contains(&b'\\')
}

/// Decode a text as `json.loads` does. What a signal's handler raises meanwhile ends it where it `may_end`.
pub(super) fn decode<'py>(py: Python<'py>, text: &[u8], may_end: bool) -> Result<Bound<'py, PyAny>, Failure> {
    let mut tape = Vec::new();
    if text.contains(&b'\\') {
        // Nothing is longer without its escapes.
        tape.try_reserve_exact(text.len()).map_err(|error| PyErr::from(OutOfMemory::from(error)))?;
    }
    let parser = Jiter::with_tape(text, tape).with_allow_inf_nan();
    let mut decoder = Decoder { py, parser, decoded: 0, time_slice: TimeSlice::begin(), may_end };
    let peek = decoder.parser.peek()?;
    let found = decoder.value(peek, MAX_DEPTH)?;
    decoder.parser.finish()?;
    Ok(found)
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    parser: Jiter<'a>,
    decoded: usize,
    time_slice: TimeSlice,
    may_end: bool,
}

impl<'py> Decoder<'_, 'py> {
    fn value(&mut self, peek: Peek, depth: u32) -> Result<Bound<'py, PyAny>, Failure> {
        let py = self.py;
        let deeper = || depth.checked_sub(1).ok_or(Failure::Deep);
        self.decoded += 1;
        if self.decoded.is_multiple_of(LOOK_EVERY) {
            if self.may_end {
                self.time_slice.yield_gil_or_end(py)?;
            } else {
                self.time_slice.yield_gil(py);
            }
        }
        Ok(match peek {
            Peek::Null => {
                self.parser.known_null()?;
                py.None().into_bound(py)
            }
            Peek::True | Peek::False => PyBool::new(py, self.parser.known_bool(peek)?).to_owned().into_any(),
            Peek::String => PyString::from_bytes(py, self.parser.known_str()?.as_bytes())?.into_any(),
            Peek::Array => {
                let (list, depth) = (PyList::empty(py), deeper()?);
                let mut next = self.parser.known_array()?;
                while let Some(peek) = next {
                    list.append(self.value(peek, depth)?)?;
                    next = self.parser.array_step()?;
                }
                list.into_any()
            }
            Peek::Object => {
                let (dict, depth) = (PyDict::new(py), deeper()?);
                let mut next = self.parser.known_object()?.map(|key| cached_py_string(py, key));
                while let Some(key) = next {
                    let peek = self.parser.peek()?;
                    dict.set_item(key, self.value(peek, depth)?)?;
                    next = self.parser.next_key()?.map(|key| cached_py_string(py, key));
                }
                dict.into_any()
            }
            _ => self.parser.known_number(peek)?.into_pyobject(py)?.into_any(),
        })
    }
}
