//! Backing the store up.

use pyo3::prelude::*;

use super::{Store, options};
use crate::Location;
use crate::error::{ErrorKind, StoreError};
use crate::py::errors::Refusal;
use crate::py::open::call;
use crate::sqlite::upkeep::backup::Progress;

#[pymethods]
impl Store {
    /// Copy the store to a file while others write; `progress` is called with pages copied and pages in all.
    fn backup(
        &self,
        py: Python<'_>,
        dest: &Bound<'_, PyAny>,
        overwrite: &Bound<'_, PyAny>,
        progress: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let Location::File(dest) = options::location(dest, "dest")? else {
            let message = "dest: a copy in memory would be gone at once; name a file";
            return Err(Refusal::InvalidValue.error(py, message));
        };
        let overwrite = options::flag(overwrite, "overwrite")?;
        if !progress.is_none() && !progress.is_callable() {
            let found = progress.get_type().name()?;
            let message = format!("progress must be callable, or None, not {found}");
            return Err(Refusal::InvalidType.error(py, message));
        }
        let callback = (!progress.is_none()).then(|| progress.clone().unbind());
        let mut raised = None;
        let mut report = |progress: Progress| {
            let Some(callback) = &callback else { return Ok(()) };
            Python::attach(|py| callback.call1(py, (progress.copied, progress.total))).map(drop).map_err(
                |error| {
                    raised = Some(error);
                    StoreError::new(ErrorKind::Interrupted, "progress raised")
                },
            )
        };
        let done = call(py, &self.0, |store, caller| store.backup(caller, &dest, overwrite, &mut report));
        raised.map_or(done, Err)
    }
}
