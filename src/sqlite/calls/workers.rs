//! What is done by a worker thread, so that Ctrl-C can end it; by the calling thread where there can be no other.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Sql, Store};
use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::engine::adhoc::{self, Parameters, Rows};
use crate::sqlite::engine::worker::{self, Worker};
use crate::sqlite::file::control;
use crate::sqlite::file::wait;
use crate::sync::lock;

/// How long what runs when the store is closed may go on.
const AFTER_CLOSE: Duration = Duration::from_millis(150);

impl Store {
    /// Run one pure read.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`] when it is not one, [`ErrorKind::Query`] when SQLite does not accept it,
    /// [`ErrorKind::Interrupted`].
    pub fn query(&self, caller: &Caller, sql: &str, parameters: &Parameters) -> Result<Rows> {
        let run = |caller: &Caller, stop: &dyn Fn() -> bool| {
            self.read(caller, Sql::Callers, |connection| adhoc::run(connection, sql, parameters, stop))
        };
        // Most are short, and need no thread.
        let began = Instant::now();
        let done = match run(caller, &|| began.elapsed() >= wait::SLICE) {
            Err(error) if is_of_sqlite(&error) => {
                self.on_worker("long-query", caller, caller.interrupted, |caller, stop| {
                    run(caller, &|| stop.load(Ordering::Relaxed))
                })
            }
            done => done,
        };
        done.map_err(|error| match error.kind {
            ErrorKind::ReadOnly => error.note("only pure reads are allowed here"),
            _ => error,
        })
        .map_err(|error| error.during("execute"))
    }

    /// Do `work` for the caller on a thread of its own, which is told to end once `is_over`. Where there can be no such
    /// thread the caller's does it, and Ctrl-C is seen when it is done.
    pub(crate) fn on_worker<T: Send>(
        &self,
        name: &'static str,
        caller: &Caller,
        is_over: &dyn Fn() -> bool,
        work: impl FnOnce(&Caller, &Arc<AtomicBool>) -> Result<T> + Send,
    ) -> Result<T> {
        self.on_worker_meanwhile(name, caller, work, |worker, stop| worker.wait_unless(is_over, stop))
    }

    /// As [`Self::on_worker`], where the caller has something to do as well before it waits for the thread.
    pub(crate) fn on_worker_meanwhile<T: Send>(
        &self,
        name: &'static str,
        caller: &Caller,
        work: impl FnOnce(&Caller, &Arc<AtomicBool>) -> Result<T> + Send,
        meanwhile: impl FnOnce(&mut Worker<Result<T>>, &AtomicBool) -> Result<Result<T>>,
    ) -> Result<T> {
        let work = Mutex::new(Some(work));
        let run = |caller: &Caller, stop: &Arc<AtomicBool>| {
            let work = lock(&work).take();
            work.map_or_else(|| Err(worker::panicked_here(name)), |work| work(caller, stop))
        };
        let (owner, stop) = (caller.owner, Arc::<AtomicBool>::default());
        let is_told = || stop.load(Ordering::Relaxed);
        let on_thread = || {
            self.while_open(|| {
                control::until(&is_told, || run(&Caller { owner, interrupted: &is_told }, &stop))
            })
        };
        match self.beside(name, on_thread, |worker| meanwhile(worker, &stop))? {
            Some(done) => done?,
            None => {
                let caller = Caller { owner, interrupted: &|| false };
                let done = self.connections()?.panicked.noticed(name, || run(&caller, &Arc::default()));
                done.unwrap_or_else(|| Err(worker::panicked_here(name)))
            }
        }
    }

    /// Do `work` on a thread of its own, and `meanwhile` on this one; neither where there can be no such thread.
    pub(crate) fn beside<T: Send, R>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(&mut Worker<T>) -> R,
    ) -> Result<Option<R>> {
        let panicked = &self.connections()?.panicked;
        Ok(worker::beside(name, panicked, work, meanwhile).ok())
    }

    /// Do `work`; a statement that goes on for [`AFTER_CLOSE`] once the store is closed fails.
    pub(crate) fn while_open<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let since = OnceCell::new();
        let outlived = || self.is_closed() && since.get_or_init(Instant::now).elapsed() > AFTER_CLOSE;
        control::until(&outlived, work)
    }

    /// As [`Self::on_worker`], until the caller is interrupted, or the store closed.
    pub(crate) fn on_worker_until_closed<T: Send>(
        &self,
        name: &'static str,
        caller: &Caller,
        work: impl FnOnce(&Caller, &Arc<AtomicBool>) -> Result<T> + Send,
    ) -> Result<T> {
        let is_over = || self.is_closed() || (caller.interrupted)();
        let done = self.on_worker(name, caller, &is_over, work);
        self.whatever_connections()?;
        done
    }
}

/// Whether it was SQLite that was interrupted, and not the caller.
fn is_of_sqlite(error: &StoreError) -> bool {
    error.kind == ErrorKind::Interrupted && error.sqlite_code.is_some()
}
