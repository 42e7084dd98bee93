//! The calls about the life of a run: its signs, and what becomes of one that gives none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Sql, Store};
use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::model::rows::RUNNING;
use crate::model::rows::Runs;
use crate::sqlite::engine::write::Write;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::recovery::{self, MOMENT, PROMPTLY};

impl Store {
    /// Give a running run's sign of life.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when it is over, as one that was recovered is; and as
    /// [`Self::start_run`].
    pub fn heartbeat(&self, caller: &Caller, run_id: &str) -> Result<()> {
        self.write(caller, Write::Heartbeat(run_id.to_owned()))
    }

    /// Have a run that was recovered go on: it is running again, and takes writes.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when it was finished and not recovered; and as
    /// [`Self::start_run`].
    pub fn reopen_run(&self, caller: &Caller, run_id: &str) -> Result<()> {
        self.write(caller, Write::ReopenRun(run_id.to_owned()))
    }

    /// Have a thread give a run's sign of life every two seconds, until [`Self::end_heartbeats`], or until the store is
    /// closed. A forked child does not.
    ///
    /// # Errors
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::ReadOnly`].
    pub fn begin_heartbeats(&self, run_id: &str) -> Result<()> {
        let writer = self.writer()?;
        let writes = Arc::clone(&writer);
        writer.heartbeats.begin(run_id, move |caller, active| {
            // What fails (a full disk, say) is tried again with the next beat; it is for the run's own writes to tell.
            let _ =
                writes.write(Write::Heartbeats(active), caller.owner, &mut Wait::new(*caller, Duration::MAX));
            writes.relieve_log();
        });
        Ok(())
    }

    /// Give a run's sign of life no more.
    pub fn end_heartbeats(&self, run_id: &str) {
        // A store that is closed has no thread.
        if let Ok(writer) = self.writer() {
            writer.heartbeats.end(run_id);
        }
    }

    /// Finish the runs that are running and have given no sign of life for so long, and return them, the oldest first.
    /// Of several that try at once, one gets each.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when `status` says that a run goes on, [`ErrorKind::Transaction`] inside the
    /// caller's own transaction, [`ErrorKind::StoreBusy`] also when others keep the file's lock so that no run can give
    /// a sign; and as [`Self::start_run`].
    pub fn recover_stale_runs(&self, caller: &Caller, older_than: Duration, status: &str) -> Result<Runs> {
        self.recover(caller, older_than, status).map_err(|error| error.during("recover_stale_runs"))
    }

    fn recover(&self, caller: &Caller, older_than: Duration, status: &str) -> Result<Runs> {
        if status == RUNNING {
            return Err(StoreError::new(ErrorKind::InvalidValue, "status must say that a run is over"));
        }
        let writer = self.writer()?;
        if writer.queue.is_owned_by(caller.owner) {
            return Err(StoreError::new(
                ErrorKind::Transaction,
                "no run can give a sign of life while a transaction is open: leave it first",
            ));
        }
        let wait = || Wait::new(*caller, self.shared.options.busy_timeout);
        let stale = self.read(caller, Sql::Ours, |connection| recovery::find(connection, older_than))?;
        if stale.is_empty() {
            return Ok(Runs::new());
        }
        let patience = wait();
        let mut had = writer.transact(caller.owner, &mut wait(), |_| Ok(Instant::now()))?;
        loop {
            self.give_a_moment(caller)?;
            let recovered = writer.transact(caller.owner, &mut wait(), |connection| {
                let before = std::mem::replace(&mut had, Instant::now());
                if had.duration_since(before) > MOMENT + PROMPTLY {
                    return Ok(None);
                }
                recovery::finish(connection, &stale, older_than, status).map(Some)
            });
            writer.relieve_log();
            let advice = "repeating the call is safe: it returns those that are not finished yet";
            if let Some(runs) =
                recovered.map_err(|error| crate::sqlite::engine::commit::advise(error, advice))?
            {
                return Ok(runs);
            }
            patience.slice()?;
        }
    }

    /// Let those who wait for the file's lock have it.
    fn give_a_moment(&self, caller: &Caller) -> Result<()> {
        let (began, patience) = (Instant::now(), Wait::new(*caller, Duration::MAX));
        while let Some(left) = MOMENT.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            std::thread::sleep(patience.slice()?.min(left));
            self.connections()?;
        }
        Ok(())
    }
}
