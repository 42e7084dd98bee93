//! The calls about runs.

use super::Store;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::model::{NewRun, RunEnd};
use crate::wait::Caller;
use crate::write::Write;

impl Store {
    /// Record a new run.
    ///
    /// # Errors
    /// [`ErrorKind::RunExists`], and what every write can fail with: [`ErrorKind::StoreBusy`],
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::ReadOnly`], [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`],
    /// [`ErrorKind::CommitOutcomeUnknown`], [`ErrorKind::TransactionDoomed`].
    pub fn start_run(&self, caller: &Caller, run: NewRun) -> Result<()> {
        self.write(caller, Write::StartRun(run))
    }

    /// Set a run's status, notes and end.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`], and as [`Self::start_run`].
    pub fn finish_run(&self, caller: &Caller, end: RunEnd) -> Result<()> {
        self.write(caller, Write::FinishRun(end))
    }
}
