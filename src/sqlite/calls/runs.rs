//! The calls about runs: records, heartbeats and recovery.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Sql, Store};
use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::model::caller::Caller;
use crate::model::columns::RunColumn;
use crate::model::rows::{NewRun, RUNNING, RunEnd, Runs};
use crate::model::time;
use crate::sqlite::engine::commit::advise;
use crate::sqlite::engine::write::Write;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::tally::Tally;
use crate::sqlite::lists::{self, runs::RunFilter};
use crate::sqlite::tables::runs;
use crate::sqlite::upkeep::recovery::{self, MOMENT, PROMPTLY};

impl Store {
    /// Record a new run.
    ///
    /// # Errors
    /// [`ErrorKind::RunExists`], and what every write can fail with: [`ErrorKind::StoreBusy`],
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::ReadOnly`], [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`],
    /// [`ErrorKind::FileMoved`],
    /// [`ErrorKind::CommitOutcomeUnknown`], [`ErrorKind::TransactionDoomed`].
    pub fn start_run(&self, caller: &Caller, run: NewRun) -> Result<()> {
        self.write(caller, Write::StartRun(run))
    }

    /// Record a new run; or return the one of its type that has its id, as it is. No row where it is new.
    ///
    /// # Errors
    /// As [`Self::start_run`]; [`ErrorKind::RunExists`] where the run has another type.
    pub fn start_or_get_run(&self, caller: &Caller, run: &NewRun) -> Result<Runs> {
        let what = || format!("start_run {}", excerpt(&run.run_id));
        self.transact(caller, what, "repeating the call is safe", |connection| {
            runs::insert_or_get(connection, run)
        })
    }

    /// Set a run's status, notes and end.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when the status is `running`; [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`]
    /// as [`IfOver`](crate::model::rows::IfOver) says; and as [`Self::start_run`].
    pub fn finish_run(&self, caller: &Caller, end: RunEnd) -> Result<()> {
        refuse_running(&end.status)
            .map_err(|error| error.during(format!("finish_run {}", excerpt(&end.run_id))))?;
        self.write(caller, Write::FinishRun(end))
    }

    /// Read a run; no row if there is no such run.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn get_run(&self, caller: &Caller, run_id: &str) -> Result<Runs> {
        self.get_run_for("get_run", caller, run_id)
    }

    /// As [`Self::get_run`], for the operation that errors are to name.
    pub(crate) fn get_run_for(&self, operation: &str, caller: &Caller, run_id: &str) -> Result<Runs> {
        self.read(caller, Sql::Ours, |connection| runs::get(connection, run_id))
            .map_err(|error| error.during(format!("{operation} {}", excerpt(run_id))))
    }

    /// Read runs, at most `limit` of them: from the first, or from behind the page that gave
    /// `cursor`, with the same filter. With them comes the cursor of the page behind, `None` where nothing is left.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when the cursor is not one of this list, and as [`Self::get_run`].
    pub fn list_runs(
        &self,
        caller: &Caller,
        filter: &RunFilter,
        order: Order,
        limit: Option<NonZeroUsize>,
        cursor: Option<&str>,
    ) -> Result<(Runs, Option<String>)> {
        self.read(caller, Sql::Ours, |connection| lists::runs::list(connection, filter, order, limit, cursor))
            .map_err(|error| error.during("list_runs"))
    }

    /// Count the runs that [`Self::list_runs`] lists.
    ///
    /// # Errors
    /// As [`Self::get_run`].
    pub fn count_runs(&self, caller: &Caller, filter: &RunFilter) -> Result<u64> {
        self.read(caller, Sql::Ours, |connection| lists::runs::count(connection, filter))
            .map_err(|error| error.during("count_runs"))
    }

    /// Count them by [`RunColumn::Status`] or [`RunColumn::RunType`].
    ///
    /// # Errors
    /// As [`Self::get_run`].
    pub fn count_runs_by(&self, caller: &Caller, column: RunColumn, filter: &RunFilter) -> Result<Tally> {
        self.read(caller, Sql::Ours, |connection| lists::runs::count_by(connection, filter, column))
            .map_err(|error| error.during("count_runs_by"))
    }

    /// Record a heartbeat of a running run.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when it is over, as one that was recovered is; and as
    /// [`Self::start_run`].
    pub fn heartbeat(&self, caller: &Caller, run_id: &str) -> Result<()> {
        self.write(caller, Write::Heartbeat(run_id.to_owned()))
    }

    /// Reopen a recovered run: it is running again, and accepts writes.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when it was finished and not recovered; and as
    /// [`Self::start_run`].
    pub fn reopen_run(&self, caller: &Caller, run_id: &str) -> Result<()> {
        self.write(caller, Write::ReopenRun(run_id.to_owned()))
    }

    /// Have a thread record a run's heartbeat every two seconds, until [`Self::end_heartbeats`], or until the store is
    /// closed. A forked child records none.
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

    /// Record no more heartbeats of a run.
    pub fn end_heartbeats(&self, run_id: &str) {
        // A store that is closed has no thread.
        if let Ok(writer) = self.writer() {
            writer.heartbeats.end(run_id);
        }
    }

    /// Finish the runs that are running but show no activity for so long, and return them, the oldest first. If several
    /// processes recover at the same time, each run is returned to one of them.
    ///
    /// # Errors
    /// [`ErrorKind::Clock`] where runs would be recovered and the clock is not to be believed, unless `trust_clock`;
    /// [`ErrorKind::InvalidValue`] when `status` is that of a running run, [`ErrorKind::Transaction`] inside the
    /// caller's own transaction, [`ErrorKind::StoreBusy`] also when others keep the file's lock so that no run can
    /// record a heartbeat; and as [`Self::start_run`].
    pub fn recover_stale_runs(
        &self,
        caller: &Caller,
        older_than: Duration,
        status: &str,
        trust_clock: bool,
    ) -> Result<Runs> {
        self.recover(caller, older_than, status, trust_clock)
            .map_err(|error| error.during("recover_stale_runs"))
    }

    fn recover(
        &self,
        caller: &Caller,
        older_than: Duration,
        status: &str,
        trust_clock: bool,
    ) -> Result<Runs> {
        refuse_running(status)?;
        let writer = self.writer()?;
        if writer.queue.is_owned_by(caller.owner) {
            return Err(StoreError::new(
                ErrorKind::Transaction,
                "no run can record a heartbeat while a transaction is open: leave it first",
            ));
        }
        let clock = &self.shared.clock;
        let stale = self.read(caller, Sql::Ours, |connection| {
            let now = time::clock();
            let stale = recovery::find(connection, now, older_than)?;
            if !trust_clock && !stale.is_empty() {
                clock.check(connection, now)?;
            }
            Ok(stale)
        })?;
        if stale.is_empty() {
            return Ok(Runs::new());
        }
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        let mut had = writer.transact(caller.owner, &mut wait, |_| Ok(Instant::now()))?;
        wait.extend(MOMENT);
        loop {
            self.give_a_moment(caller)?;
            let recovered = writer.transact(caller.owner, &mut wait, |connection| {
                let before = std::mem::replace(&mut had, Instant::now());
                if had.duration_since(before) > MOMENT + PROMPTLY {
                    return Ok(None);
                }
                let now = time::clock();
                if !trust_clock {
                    clock.check_moves(now)?;
                }
                recovery::finish(connection, &stale, now, older_than, status).map(Some)
            });
            writer.relieve_log();
            let advice = "repeating the call is safe: it returns those that are not finished yet";
            if let Some(runs) = recovered.map_err(|error| advise(error, advice))? {
                return Ok(runs);
            }
            wait.slice()?;
        }
    }

    /// Give others who wait for the file's lock time to get it.
    fn give_a_moment(&self, caller: &Caller) -> Result<()> {
        let (began, patience) = (Instant::now(), Wait::new(*caller, Duration::MAX));
        while let Some(left) = MOMENT.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            std::thread::sleep(patience.slice()?.min(left));
            self.connections()?;
        }
        Ok(())
    }
}

/// Refuse `running` as the status of a finished run: it could not be distinguished from a started one.
fn refuse_running(status: &str) -> Result<()> {
    if status != RUNNING {
        return Ok(());
    }
    let what = "status must be that of a finished run, not \"running\"; reopen_run continues a recovered run";
    Err(StoreError::new(ErrorKind::InvalidValue, what))
}
