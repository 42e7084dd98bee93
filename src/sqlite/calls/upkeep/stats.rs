//! Statistics of the file and of this store.

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::calls::{Sql, Store};
use crate::sqlite::file::sizes;
use crate::sqlite::upkeep::stats::{self, Stats};

impl Store {
    /// Count what is in the file, and say what this store has done to it.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn stats(&self, caller: &Caller) -> Result<Stats> {
        let count = || {
            let current = self.whatever_connections()?;
            let mut stats =
                self.read_by(&current, caller, Sql::Ours, |connection| stats::count(connection))?;
            if self.path().is_some() {
                stats.file_bytes = self.file_bytes();
                stats.wal_bytes = self.wal_bytes();
            }
            stats.panicked = current.panicked.thread();
            stats.hard_links = current.place.as_ref().map_or(0, |place| place.names());
            if let Some(writer) = &current.writer {
                stats.add_counted(&writer.counters);
            }
            Ok(stats)
        };
        count().map_err(|error: StoreError| error.during("stats"))
    }

    /// How large the file is; 0 for a store in memory.
    pub(super) fn file_bytes(&self) -> u64 {
        self.path().map_or(0, |path| sizes::size(path, ""))
    }
}
