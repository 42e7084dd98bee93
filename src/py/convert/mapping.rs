//! Items that are not plain dicts: anything with `keys()` and `[]`, such as rows of databases and of pandas.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::py::names::intern;

/// What `item` has of these keys, in a dict, and all its keys, in another; `None` where it has no `keys()` or no `[]`.
///
/// Each value is asked for once. What a subclass of dict lacks it may still give: `[]` what is required, by its
/// `__missing__`, and a `get` of its own the rest.
pub(super) fn read<'py>(
    item: &Bound<'py, PyAny>,
    required: &[&Bound<'py, PyString>],
    optional: &[&Bound<'py, PyString>],
) -> PyResult<Option<(Bound<'py, PyDict>, Bound<'py, PyDict>)>> {
    let py = item.py();
    let class = item.get_type();
    if !(class.hasattr(intern!(py, "__getitem__"))? && item.hasattr(intern!(py, "keys"))?) {
        return Ok(None);
    }
    let keys = PyDict::new(py);
    for key in item.call_method0(intern!(py, "keys"))?.try_iter()? {
        keys.set_item(key?, py.None())?;
    }
    let get = intern!(py, "get");
    let is_dict = item.is_instance_of::<PyDict>();
    let has_own_get = is_dict && !class.getattr(get)?.is(&py.get_type::<PyDict>().getattr(get)?);
    let found = PyDict::new(py);
    for key in required {
        let has_key = keys.contains(key)?;
        if has_key || is_dict {
            match item.get_item(key) {
                Ok(value) => found.set_item(key, value)?,
                Err(error) if !has_key && error.is_instance_of::<PyKeyError>(py) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for key in optional {
        if has_own_get {
            // No item has this object, so that it tells that there is no value.
            let value = item.call_method1(get, (key, &keys))?;
            if !value.is(&keys) {
                found.set_item(key, value)?;
            }
        } else if keys.contains(key)? {
            found.set_item(key, item.get_item(key)?)?;
        }
    }
    Ok(Some((found, keys)))
}
