//! What a copy of a store, row by row, reads and writes.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::calls::{Sql, Store};
use crate::sqlite::engine::commit;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::copying::{self, Pinned};

const ADVICE: &str = "repeating the copy is safe";

impl Store {
    /// Pin the file as it is now, for reads while others write.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] for a store in memory; [`ErrorKind::CannotOpen`], [`ErrorKind::StoreClosed`],
    /// [`ErrorKind::Interrupted`].
    pub fn pin(&self, caller: &Caller) -> Result<Pinned> {
        let current = self.connections()?;
        let Some(place) = &current.place else {
            return Err(StoreError::new(ErrorKind::InvalidValue, "a store in memory cannot be copied"));
        };
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        wait.until_free(|| Pinned::new(place))
    }

    /// The mark of a copy that is not finished; `None` where there is none.
    ///
    /// # Errors
    /// As any read.
    pub fn copy_mark(&self, caller: &Caller) -> Result<Option<String>> {
        self.read(caller, Sql::Ours, |connection| copying::mark(connection))
    }

    /// Make the store a copy that is not finished, without rows.
    ///
    /// # Errors
    /// [`ErrorKind::CannotOpen`] where it holds rows that no copy has written, and as any write.
    pub fn begin_copy(&self, caller: &Caller, mark: &str) -> Result<()> {
        self.change(caller, |connection| copying::begin(connection, mark))
    }

    /// Insert rows of a table as they are, and set the mark; all or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`] where the mark is not the first of the two, and as any write.
    pub fn copy_rows<T: AsRef<str>>(
        &self,
        caller: &Caller,
        table: &str,
        columns: &[String],
        rows: &[Vec<Option<T>>],
        marks: [&str; 2],
    ) -> Result<()> {
        self.change(caller, |connection| copying::insert(connection, table, columns, rows, marks))
    }

    /// Make it a store like any: the copy is finished.
    ///
    /// # Errors
    /// As [`Self::copy_rows`].
    pub fn end_copy(&self, caller: &Caller, mark: &str) -> Result<()> {
        self.change(caller, |connection| copying::end(connection, mark))
    }

    /// Not by [`Self::transact`]: rows stay as they are, however long it takes.
    fn change(&self, caller: &Caller, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        let mut wait = Wait::new(*caller, self.shared.options.busy_timeout);
        let done = self.writer().and_then(|writer| {
            let done = writer.transact_alone(caller.owner, &mut wait, work);
            writer.relieve_log();
            done
        });
        done.map_err(|error| commit::advise(error, ADVICE).during("copy_store"))
    }
}
