//! `_core.Store`: the calls of `StateStore`, each converted, detached and its errors mapped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::errors::{Refusal, class};
use super::item::Dicts;
use super::transaction::{Transaction, detached, owner};
use super::{batch, convert, item, list, query};
use crate::connection::Synchronous;
use crate::error::Result;
use crate::intel_items::Position;
use crate::model::{NewRun, RunEnd, Telemetry, now};
use crate::opening::Options;
use crate::sync::lock;
use crate::wait::{Caller, Owner};

/// The path that means a store in memory.
const MEMORY: &str = ":memory:";

/// The longest `busy_timeout`, in seconds: some thirty years.
const LONGEST_TIMEOUT: f64 = 1e9;

/// The largest `pool_size`.
const LARGEST_POOL: usize = 64;

/// A store's connections; `StateStore` documents each call.
#[pyclass(frozen, module = "orchestrator.state_store._core")]
pub(super) struct Store(Arc<Open>);

/// Items, and where they end.
type Page<'py> = (Bound<'py, PyList>, Option<(String, i64)>);

/// The store, shared with its transactions.
pub(super) struct Open {
    store: Option<crate::Store>,
    /// How many transactions are open, of whatever thread.
    pub(super) transactions: AtomicUsize,
}

impl Open {
    /// The store itself.
    pub(super) fn store(&self) -> Result<&crate::Store> {
        self.store.as_ref().ok_or_else(crate::StoreError::closed)
    }

    /// Who is calling. While no transaction is open, nobody need ask which task it is.
    pub(super) fn caller(&self, py: Python<'_>) -> PyResult<Owner> {
        if self.transactions.load(Ordering::Relaxed) == 0 { Ok(Owner::thread()) } else { owner(py) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let store = self.store.take();
        detached(move || drop(store));
    }
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (db_path, *, synchronous, busy_timeout, pool_size, read_only, file_mode))]
    fn new(
        py: Python<'_>,
        db_path: &Bound<'_, PyAny>,
        synchronous: &Bound<'_, PyAny>,
        busy_timeout: &Bound<'_, PyAny>,
        pool_size: &Bound<'_, PyAny>,
        read_only: &Bound<'_, PyAny>,
        file_mode: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let path = path(db_path)?;
        let options = Options {
            synchronous: self::synchronous(synchronous)?,
            busy_timeout: self::busy_timeout(busy_timeout)?,
            pool_size: self::pool_size(pool_size)?,
            read_only: flag(read_only, "read_only")?,
            file_mode: self::file_mode(file_mode)?,
        };
        let store = if path.as_os_str() == MEMORY {
            if options.read_only {
                let what = "read_only: a store in memory is always new, so that there is nothing to read";
                return Err(Refusal::InvalidValue.error(py, what));
            }
            py.detach(|| crate::Store::open_in_memory(options))?
        } else {
            let store =
                interruptible(py, Owner::thread(), |caller| crate::Store::open(&path, options, caller))?;
            warn_of_network(py, &path)?;
            store
        };
        Ok(Self(Arc::new(Open { store: Some(store), transactions: AtomicUsize::new(0) })))
    }

    /// Whether the store is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.store.as_ref().is_none_or(crate::Store::is_closed)
    }

    /// Record a new run and return its `started_at`.
    fn start_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        run_type: &Bound<'_, PyAny>,
        settings_snapshot: &Bound<'_, PyAny>,
    ) -> PyResult<String> {
        let run_id = convert::text(run_id, "start_run", "run_id")?;
        let operation = format!("start_run {run_id:?}");
        let started_at = now();
        let run = NewRun {
            run_id: run_id.to_owned(),
            run_type: convert::text(run_type, &operation, "run_type")?.to_owned(),
            started_at: started_at.clone(),
            settings_snapshot_json: convert::json_text(settings_snapshot, &operation, "settings_snapshot")?,
        };
        call(py, &self.0, |store, caller| store.start_run(caller, run))?;
        Ok(started_at)
    }

    /// Set a run's status, notes and `finished_at`.
    fn finish_run(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        status: &Bound<'_, PyAny>,
        notes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let run_id = convert::text(run_id, "finish_run", "run_id")?;
        let operation = format!("finish_run {run_id:?}");
        let end = RunEnd {
            run_id: run_id.to_owned(),
            status: convert::text(status, &operation, "status")?.to_owned(),
            notes: convert::optional_text(notes, &operation, "notes")?.map(str::to_owned),
        };
        call(py, &self.0, |store, caller| store.finish_run(caller, end))
    }

    /// Insert or update one item.
    fn upsert_intel_item(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let item = item::one(item)?;
        call(py, &self.0, |store, caller| store.upsert_intel_item(caller, item))
    }

    /// Insert or update many items in one transaction.
    fn upsert_intel_items_batch(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<()> {
        let items = item::exhaust(items)?;
        if let Some(done) = batch::upsert_while_encoding(py, &self.0, &items)? {
            return Ok(done);
        }
        let items = item::many(py, &items)?;
        call(py, &self.0, |store, caller| store.upsert_intel_items_batch(caller, items))
    }

    /// Return a run's items, the oldest first.
    fn list_intel_items_for_run<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let run_id = convert::text(run_id, "list_intel_items_for_run", "run_id")?;
        list::items(py, &self.0, run_id, &format!("list_intel_items_for_run {run_id:?}"))
    }

    /// Return the next items, the oldest first, and where they end; None where none are left.
    fn page_intel_items<'py>(
        &self,
        py: Python<'py>,
        run_id: &Bound<'py, PyAny>,
        after: Option<(String, i64)>,
        limit: usize,
    ) -> PyResult<Page<'py>> {
        let run_id = convert::optional_text(run_id, "iter_intel_items", "run_id")?;
        let after = after.map(|(created_at, rowid)| Position { created_at, rowid }).unwrap_or_default();
        let (items, end) =
            call(py, &self.0, |store, caller| store.page_intel_items(caller, run_id, &after, limit))?;
        let mut dicts = Dicts::new(py)?;
        dicts.extend(&items, "iter_intel_items")?;
        Ok((dicts.into_list(), end.map(|end| (end.created_at, end.rowid))))
    }

    /// Set a run's telemetry document.
    fn write_telemetry(
        &self,
        py: Python<'_>,
        run_id: &Bound<'_, PyAny>,
        telemetry: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let run_id = convert::text(run_id, "write_telemetry", "run_id")?;
        let operation = format!("write_telemetry {run_id:?}");
        let document = Telemetry {
            run_id: run_id.to_owned(),
            telemetry_json: convert::json_text(telemetry, &operation, "telemetry")?,
        };
        call(py, &self.0, |store, caller| store.write_telemetry(caller, document))
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
        let sql = convert::text(sql, "execute", "sql")?;
        let parameters = convert::parameters(parameters)?;
        convert::rows(py, query::rows(py, &self.0, sql, &parameters)?)
    }

    /// Close every connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, &self.0, |store, caller| store.close(caller))
    }
}

/// Do `work` on the store, detached from the interpreter, as the thread or task that is calling.
pub(super) fn call<T: Send>(
    py: Python<'_>,
    open: &Open,
    work: impl FnOnce(&crate::Store, &Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let store = open.store()?;
    interruptible(py, open.caller(py)?, |caller| work(store, caller))
}

/// Do `work` detached from the interpreter; whatever a signal handler raises meanwhile is raised in its place.
fn interruptible<T: Send>(
    py: Python<'_>,
    owner: Owner,
    work: impl FnOnce(&Caller) -> Result<T> + Send,
) -> PyResult<T> {
    let raised: Mutex<Option<PyErr>> = Mutex::new(None);
    let interrupted = || {
        let mut raised = lock(&raised);
        if raised.is_none() {
            *raised = Python::attach(|py| py.check_signals().err());
        }
        raised.is_some()
    };
    let done = py.detach(|| {
        let result = work(&Caller { owner, interrupted: &interrupted });
        let interrupted = lock(&raised).take();
        // What was begun is dropped here, still detached, when a signal handler raised.
        interrupted.map_or_else(|| Ok(result), Err)
    });
    done?.map_err(PyErr::from)
}

fn path(db_path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let py = db_path.py();
    let path: PathBuf = db_path.extract().map_err(|_| {
        let found = db_path.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        Refusal::InvalidType.error(py, format!("db_path must be a str or an os.PathLike of str, not {found}"))
    })?;
    if path.as_os_str().is_empty() {
        return Err(Refusal::InvalidValue.error(py, "db_path is empty"));
    }
    Ok(path)
}

fn synchronous(value: &Bound<'_, PyAny>) -> PyResult<Synchronous> {
    let py = value.py();
    let wanted = "synchronous must be \"FULL\" or \"NORMAL\"";
    match value.cast::<PyString>().map_err(|_| Refusal::InvalidType.error(py, wanted))?.to_str()? {
        "FULL" => Ok(Synchronous::Full),
        "NORMAL" => Ok(Synchronous::Normal),
        other => Err(Refusal::InvalidValue.error(py, format!("{wanted}, not {other:?}"))),
    }
}

fn busy_timeout(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let py = value.py();
    let wanted = format!("busy_timeout must be a number of seconds from 0 to {LONGEST_TIMEOUT:e}");
    if value.is_instance_of::<PyBool>()
        || !(value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>())
    {
        let found = value.get_type().name()?;
        return Err(Refusal::InvalidType.error(py, format!("{wanted}, not a {found}")));
    }
    let seconds = value.extract::<f64>().ok().filter(|seconds| (0.0..=LONGEST_TIMEOUT).contains(seconds));
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(timeout)) => Ok(timeout),
        _ => Err(Refusal::InvalidValue.error(py, format!("{wanted}, not {}", value.repr()?))),
    }
}

fn pool_size(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = value.py();
    let wanted = format!("pool_size must be an int from 1 to {LARGEST_POOL}");
    match integer(value, &wanted)?.filter(|size| (1..=LARGEST_POOL).contains(size)) {
        Some(size) => Ok(size),
        None => Err(Refusal::InvalidValue.error(py, format!("{wanted}, not {}", value.repr()?))),
    }
}

fn file_mode(value: &Bound<'_, PyAny>) -> PyResult<u32> {
    let py = value.py();
    let wanted = "file_mode must be permission bits that let the owner read and write, such as 0o600";
    match integer(value, wanted)?.filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600) {
        Some(mode) => Ok(mode as u32),
        None => Err(Refusal::InvalidValue.error(py, format!("{wanted}, not {}", value.repr()?))),
    }
}

fn flag(value: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    match value.cast::<PyBool>() {
        Ok(flag) => Ok(flag.is_true()),
        Err(_) => {
            let found = value.get_type().name()?;
            Err(Refusal::InvalidType.error(value.py(), format!("{name} must be a bool, not {found}")))
        }
    }
}

/// An int, but not a bool; `None` where it does not fit.
fn integer(value: &Bound<'_, PyAny>, wanted: &str) -> PyResult<Option<usize>> {
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        let found = value.get_type().name()?;
        return Err(Refusal::InvalidType.error(value.py(), format!("{wanted}, not a {found}")));
    }
    Ok(value.extract().ok())
}

/// Warn where SQLite's locks and shared memory cannot be relied on.
fn warn_of_network(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    let Some(system) = py.detach(|| crate::network_file_system(path)) else { return Ok(()) };
    let category = class(py, "NetworkFileSystemWarning")?;
    let message = format!(
        "{} is on a network file system ({system}): stores of several hosts cannot share it, and its locks may not hold",
        path.display()
    );
    let message = std::ffi::CString::new(message)?;
    PyErr::warn(py, &category, &message, 3)
}
