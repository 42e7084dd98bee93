//! Warnings about the place of a file.

use pyo3::prelude::*;

use super::errors::class;

/// Warn where SQLite's locks and shared memory cannot be relied on.
pub(super) fn warn_of_network(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    let is_there = || path.ancestors().find(|each| each.exists()).unwrap_or(path);
    let Some(system) = py.detach(|| crate::network_file_system(is_there())) else { return Ok(()) };
    let message = format!(
        "{} is on a network file system ({system}): stores of several hosts cannot share it, and its locks may not hold",
        path.display()
    );
    warn(py, "NetworkFileSystemWarning", Some(message))
}

/// Warn if programs that reach the file by another path do not find its log beside it.
pub(super) fn warn_of_mount(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    let is_mounted = py.detach(|| crate::is_mounted_file(path));
    let message = format!(
        "{} is mounted as a single file: programs that reach it by another path look for its log elsewhere, and the log is lost with the folder around it; mount the folder instead",
        path.display()
    );
    warn(py, "FileLinkedWarning", is_mounted.then_some(message))
}

/// Warn, once, of a file that got more names while it was open. At the start of a call: if the warning is made an
/// error, that call has done nothing. The call that noticed the names has succeeded.
pub(super) fn warn_of_links(py: Python<'_>, store: &crate::Store) -> PyResult<()> {
    warn(py, "FileLinkedWarning", store.warning())
}

/// Warn the one who called the method of `StateStore` that called us.
pub(super) fn warn(py: Python<'_>, category: &str, message: Option<String>) -> PyResult<()> {
    let Some(message) = message else { return Ok(()) };
    let category = class(py, category)?;
    PyErr::warn(py, &category, &std::ffi::CString::new(message)?, 2)
}
