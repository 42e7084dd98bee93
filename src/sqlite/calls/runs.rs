//! The calls about runs.

use std::num::NonZeroUsize;

use super::{Sql, Store};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::model::caller::Caller;
use crate::model::rows::{NewRun, RunEnd, Runs};
use crate::sqlite::engine::write::Write;
use crate::sqlite::lists;
use crate::sqlite::lists::runs::RunFilter;
use crate::sqlite::tables::runs;

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

    /// Set a run's status, notes and end.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] as [`IfOver`](crate::model::rows::IfOver) says; and as [`Self::start_run`].
    pub fn finish_run(&self, caller: &Caller, end: RunEnd) -> Result<()> {
        self.write(caller, Write::FinishRun(end))
    }

    /// Read a run; no row where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn get_run(&self, caller: &Caller, run_id: &str) -> Result<Runs> {
        self.read(caller, Sql::Ours, |connection| runs::get(connection, run_id))
            .map_err(|error| error.during(format!("get_run {run_id:?}")))
    }

    /// Read runs, the newest first, at most `limit` of them: from the first, or from behind the page that gave
    /// `cursor`, with the same filter. With them comes the cursor of the page behind, `None` where nothing is left.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when the cursor is not one of this list, and as [`Self::get_run`].
    pub fn list_runs(
        &self,
        caller: &Caller,
        filter: &RunFilter,
        limit: Option<NonZeroUsize>,
        cursor: Option<&str>,
    ) -> Result<(Runs, Option<String>)> {
        self.read(caller, Sql::Ours, |connection| lists::runs::list(connection, filter, limit, cursor))
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
}
