//! Counters of a store since it was opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::error::Result;
use crate::sqlite::engine::worker::Panicked;
use crate::sqlite::file::{log_file, main_file};

/// What a store has done since it was opened, or since its process was forked.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) grouped_writes: AtomicU64,
    /// Shared with the log files of the connections that write.
    pub(crate) syncs: Arc<AtomicU64>,
    pub(crate) checkpoints: AtomicU64,
    /// Shared with all files of the connections that write.
    pub(crate) failed_syncs: Arc<AtomicU64>,
    /// How many of these were made up for, by a checkpoint of all of the log with syncs that did not fail.
    made_up_for: AtomicU64,
    pub(crate) panicked: Arc<Panicked>,
}

impl Counters {
    /// Have the syncs of a connection's files counted, and those that fail.
    pub(crate) fn count_syncs(&self, connection: &Connection) -> Result<()> {
        main_file::count_failed_syncs(connection, &self.failed_syncs);
        log_file::count_syncs(connection, &self.syncs, &self.failed_syncs)
    }

    /// How many syncs have failed that were not made up for yet.
    pub(crate) fn open_failures(&self) -> u64 {
        let failed = self.failed_syncs.load(Ordering::Relaxed);
        failed.saturating_sub(self.made_up_for.load(Ordering::Relaxed))
    }

    /// All of the log was checkpointed after so many syncs had failed.
    pub(crate) fn make_up_for(&self, failed: u64) {
        self.made_up_for.fetch_max(failed, Ordering::Relaxed);
    }
}
