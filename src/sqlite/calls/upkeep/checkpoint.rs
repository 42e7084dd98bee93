//! Checkpoints that a program asks for.

use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::calls::Store;
use crate::sqlite::file::sizes;
use crate::sqlite::file::wait::Wait;

/// The result of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// Bytes of the log before.
    pub wal_bytes_before: u64,
    /// Bytes of the log after.
    pub wal_bytes_after: u64,
    /// Whether all of it was checkpointed.
    pub complete: bool,
}

impl Store {
    /// Checkpoint the log and truncate it; waits up to the busy timeout for readers and writers.
    ///
    /// # Errors
    /// [`ErrorKind::Transaction`] inside the caller's own transaction, [`ErrorKind::ReadOnly`],
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::Interrupted`], [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`].
    pub fn checkpoint(&self, caller: &Caller) -> Result<Checkpointed> {
        let checkpoint = || {
            self.refuse_inside(caller, "only what is committed is checkpointed")?;
            let wal_bytes_before = self.wal_bytes();
            let complete = self.empty_log(caller, self.shared.options.busy_timeout)?;
            Ok(Checkpointed { wal_bytes_before, wal_bytes_after: self.wal_bytes(), complete })
        };
        checkpoint().map_err(|error: StoreError| error.during("checkpoint"))
    }

    /// Checkpoint the log and empty it; `false` where that could not be done in time.
    pub(super) fn empty_log(&self, caller: &Caller, timeout: Duration) -> Result<bool> {
        let writer = self.writer()?;
        writer.queue.refuse_own(caller.owner)?;
        writer.refuse_own_file(caller.owner.thread)?;
        writer.empty_log(caller.owner, &mut Wait::new(*caller, timeout))
    }

    /// How large the log is.
    pub(super) fn wal_bytes(&self) -> u64 {
        self.path().map_or(0, |path| sizes::size(path, "-wal"))
    }
}
