//! `_core.Store`: the calls of `StateStore`, each converted, detached and its errors mapped.

pub(super) mod best;
pub(super) mod intel_items;
pub(super) mod runs;
pub(super) mod telemetry;
pub(super) mod upkeep;

use std::ffi::OsStr;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::convert::conversion::Conversion;
use super::convert::{large_json, values};
use super::errors::Refusal;
use super::open::{Open, call, interruptible};
use super::options;
use super::transaction::Transaction;
use super::warnings::{warn, warn_of_links, warn_of_mount, warn_of_network};
use crate::Location;
use crate::model::caller::{Caller, Owner};
use crate::sqlite::calls::opening::Options;

/// The module that hands what was traced to `logging`.
const TRACE: &str = "orchestrator.state_store.trace";

/// A store's connections; `StateStore` documents each call.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Store(Arc<Open>, Conversion);

#[pymethods]
impl Store {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one for each of the options")]
    #[pyo3(signature = (db_path, *, synchronous, busy_timeout, pool_size, read_only, file_mode, trace_sql, json_default, strict))]
    fn new(
        py: Python<'_>,
        db_path: &Bound<'_, PyAny>,
        synchronous: &Bound<'_, PyAny>,
        busy_timeout: &Bound<'_, PyAny>,
        pool_size: &Bound<'_, PyAny>,
        read_only: &Bound<'_, PyAny>,
        file_mode: &Bound<'_, PyAny>,
        trace_sql: &Bound<'_, PyAny>,
        json_default: &Bound<'_, PyAny>,
        strict: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let location = options::location(db_path, "db_path")?;
        let conversion = Conversion::new(json_default, strict)?;
        let options = Options {
            synchronous: options::synchronous(synchronous)?,
            busy_timeout: options::busy_timeout(busy_timeout)?,
            pool_size: options::pool_size(pool_size)?,
            read_only: options::flag(read_only, "read_only")?,
            file_mode: options::file_mode(file_mode)?,
            trace_sql: options::flag(trace_sql, "trace_sql")?,
        };
        large_json::prepare(py)?;
        // Imported now and not in a call: a child that is forked during an import cannot import.
        let trace = options.trace_sql.then(|| Ok::<_, PyErr>(py.import(TRACE)?.getattr("show")?.unbind()));
        let trace = trace.transpose()?;
        let store = match &location {
            Location::Memory if options.read_only => {
                let what = "read_only: a store in memory is always new, so that there is nothing to read";
                return Err(Refusal::InvalidValue.error(py, what));
            }
            Location::Memory => py.detach(|| crate::Store::open_in_memory(options))?,
            Location::File(path) => {
                // A warning that is made an error tells of a call that has done nothing.
                warn_of_network(py, path)?;
                warn_of_mount(py, path)?;
                let open = |caller: &Caller| crate::Store::open(path, options, caller);
                let store = interruptible(py, Owner::thread(), open)?;
                warn(py, "FileLinkedWarning", store.warning())?;
                store
            }
        };
        let open = Open::new(store, location, trace);
        open.show_trace(py)?;
        Ok(Self(Arc::new(open), conversion))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.1.traverse(&visit)
    }

    /// The path that `db_path` means.
    #[getter]
    fn db_path(&self) -> &OsStr {
        self.0.location.as_os_str()
    }

    /// Where the store is, as messages name it.
    #[getter]
    fn location(&self) -> &OsStr {
        self.0.location.as_os_str()
    }

    /// Whether the store is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Return a transaction that is not entered yet.
    fn transaction(&self) -> PyResult<Transaction> {
        if self.closed() {
            return Err(crate::StoreError::closed().during("transaction").into());
        }
        Ok(Transaction::new(Arc::clone(&self.0)))
    }

    /// Run one pure read; return the column names and the rows.
    fn query<'py>(
        &self,
        py: Python<'py>,
        sql: &Bound<'py, PyAny>,
        parameters: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyList>)> {
        let sql = values::text(sql, "execute", "sql")?;
        let parameters = values::parameters(parameters)?;
        values::rows(py, call(py, &self.0, |store, caller| store.query(caller, sql, &parameters))?)
    }

    /// Close every connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let store = self.0.store()?;
        let closed = interruptible(py, self.0.caller(py)?, |caller| store.close(caller));
        self.0.show_trace(py)?;
        closed?;
        warn_of_links(py, store)
    }
}
