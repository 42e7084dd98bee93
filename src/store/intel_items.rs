//! The calls about intel items.

use super::{Sql, Store};
use crate::cursor::Position;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::intel_items::{self, Slice};
use crate::model::{Items, NewItems};
use crate::wait::Caller;
use crate::write::{ItemSlices, Write};

impl Store {
    /// Insert or update one item, the only row of `item`.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`], and as [`Self::start_run`].
    pub fn upsert_intel_item(&self, caller: &Caller, item: NewItems) -> Result<()> {
        self.write(caller, Write::UpsertItem(item))
    }

    /// Insert or update items, all or none. Where an id comes twice the last wins.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`], and as [`Self::start_run`].
    pub fn upsert_intel_items_batch(&self, caller: &Caller, items: NewItems) -> Result<()> {
        self.write(caller, Write::UpsertBatch(items))
    }

    /// As [`Self::upsert_intel_items_batch`], while the batch is still being made by another thread.
    ///
    /// The writer is held meanwhile, so whoever makes it must not wait for this store.
    ///
    /// # Errors
    /// As [`Self::upsert_intel_items_batch`]; [`ErrorKind::Interrupted`] when the batch was abandoned.
    pub fn upsert_intel_items_slices(&self, caller: &Caller, slices: ItemSlices) -> Result<()> {
        self.write(caller, Write::UpsertSlices(slices))
    }

    /// Read a run's items, in the order in which they were first recorded.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn list_intel_items_for_run(&self, caller: &Caller, run_id: &str) -> Result<Items> {
        self.read(caller, Sql::Ours, |connection| intel_items::list_for_run(connection, run_id))
            .map_err(|error| error.during(format!("list_intel_items_for_run {run_id:?}")))
    }

    /// As [`Self::list_intel_items_for_run`], handing slices on as they are read.
    ///
    /// # Errors
    /// As [`Self::list_intel_items_for_run`]; what was handed on before does not count then.
    pub fn list_intel_items_slices(
        &self,
        caller: &Caller,
        run_id: &str,
        hand_on: &(dyn Fn(Slice) + Sync),
    ) -> Result<()> {
        self.read(caller, Sql::Ours, |connection| {
            intel_items::list_slices_for_run(connection, run_id, hand_on)
        })
        .map_err(|error| error.during(format!("list_intel_items_for_run {run_id:?}")))
    }

    /// Read the next items, at most `limit`, of one run or of all, the oldest first; and where they end, `None`
    /// where none are left. Nothing is held between two pages.
    ///
    /// # Errors
    /// As [`Self::list_intel_items_for_run`].
    pub fn page_intel_items(
        &self,
        caller: &Caller,
        run_id: Option<&str>,
        after: &Position,
        limit: usize,
    ) -> Result<(Items, Option<Position>)> {
        self.read(caller, Sql::Ours, |connection| intel_items::page(connection, run_id, after, limit))
            .map_err(|error| error.during("iter_intel_items"))
    }

    /// Whether a run has more than so many items; found out without counting them.
    ///
    /// # Errors
    /// As [`Self::list_intel_items_for_run`].
    pub fn has_more_intel_items_than(&self, caller: &Caller, run_id: &str, count: usize) -> Result<bool> {
        self.read(caller, Sql::Ours, |connection| intel_items::has_more_than(connection, run_id, count))
            .map_err(|error| error.during(format!("list_intel_items_for_run {run_id:?}")))
    }
}
