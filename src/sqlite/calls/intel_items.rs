//! The calls about intel items.

use std::iter;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use rusqlite::Connection;

use super::{Sql, Store};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Result, excerpt};
use crate::json::order_by::OrderBy;
use crate::model::caller::Caller;
use crate::model::columns::ItemColumn;
use crate::model::rows::{Fields, Items, NewItems};
use crate::sqlite::engine::write::{ItemSlices, Write};
use crate::sqlite::file::fork::Own;
use crate::sqlite::lists;
use crate::sqlite::lists::best::{self, Ranking};
use crate::sqlite::lists::cursor::Position;
use crate::sqlite::lists::item_count;
use crate::sqlite::lists::item_count_by;
use crate::sqlite::lists::item_filter::ItemFilter;
use crate::sqlite::lists::items::ItemList;
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::tally::Tally;
use crate::sqlite::tables::decisions::NewDecision;
use crate::sqlite::tables::intel_items;

/// How many items a page of an iteration scans, at most: some 10 ms.
const MAX_SCANNED: usize = 10_000;

/// A list of more items is read by a worker thread, so that Ctrl-C can end it.
const WORTH_A_THREAD: usize = 512;

impl Store {
    /// Insert or update one item, the only row of `item`.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when a run that it names was recovered; and as
    /// [`Self::start_run`].
    pub fn upsert_intel_item(&self, caller: &Caller, item: NewItems) -> Result<()> {
        self.write(caller, Write::UpsertItem(item))
    }

    /// Insert or update items, all or none. Where an id comes twice the last wins.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when a run that it names was recovered; and as
    /// [`Self::start_run`].
    pub fn upsert_intel_items_batch(&self, caller: &Caller, items: NewItems) -> Result<()> {
        self.write(caller, Write::UpsertBatch(items))
    }

    /// As [`Self::upsert_intel_items_batch`], while the batch is still being made by another thread.
    ///
    /// The writer is held all the time, so the thread that makes the batch must not wait for this store.
    ///
    /// # Errors
    /// As [`Self::upsert_intel_items_batch`]; [`ErrorKind::Interrupted`] when the batch was abandoned.
    pub fn upsert_intel_items_slices(&self, caller: &Caller, slices: ItemSlices) -> Result<()> {
        self.write(caller, Write::UpsertSlices(slices))
    }

    /// Change the decision on an item.
    ///
    /// # Errors
    /// [`ErrorKind::IntelItemNotFound`], and as [`Self::start_run`].
    pub fn decide(&self, caller: &Caller, decision: NewDecision) -> Result<()> {
        self.write(caller, Write::Decide(decision))
    }

    /// Change the decisions on several items, or on none.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub fn decide_batch(&self, caller: &Caller, decisions: Vec<NewDecision>) -> Result<()> {
        self.write(caller, Write::DecideBatch(decisions))
    }

    /// Delete an item with its decision; whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::RunFinished`] when its run was recovered, unless by `force`; [`ErrorKind::InvalidValue`] where a row
    /// of another table refers to it; and as [`Self::start_run`].
    pub fn delete_intel_item(&self, caller: &Caller, item_id: &str, force: bool) -> Result<bool> {
        let what = || format!("delete_intel_item {}", excerpt(item_id));
        self.transact(caller, what, "repeating the call is safe", |connection| {
            intel_items::delete(connection, item_id, force)
        })
    }

    /// Read an item; no row if there is no such item.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn get_intel_item(&self, caller: &Caller, item_id: &str) -> Result<Items> {
        self.read(caller, Sql::Ours, |connection| intel_items::get(connection, item_id))
            .map_err(|error| error.during(format!("get_intel_item {}", excerpt(item_id))))
    }

    /// Read a run's items, in the order in which they were first recorded.
    ///
    /// # Errors
    /// As [`Self::get_intel_item`].
    pub fn list_intel_items_for_run(&self, caller: &Caller, run_id: &str) -> Result<Vec<Items>> {
        let filter = ItemFilter::of_run(run_id);
        let list = ItemList {
            name: format!("list_intel_items_for_run {}", excerpt(run_id)),
            filter: &filter,
            fields: Fields::ALL,
            order_by: None,
            order: Order::Oldest,
            limit: None,
            cursor: None,
        };
        self.list_intel_items(caller, &list).map(|(items, _)| items)
    }

    /// Read items, and the cursor of the page behind, `None` where nothing is left.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] when the cursor is not one of this list, [`ErrorKind::Interrupted`], and as
    /// [`Self::get_intel_item`].
    pub fn list_intel_items(&self, caller: &Caller, list: &ItemList) -> Result<(Vec<Items>, Option<String>)> {
        let mut items = Vec::new();
        let next = self.list_intel_items_in_parts(caller, list, &mut |parts| {
            for part in parts {
                match part {
                    Some(part) => items.push(part),
                    None => items.clear(),
                }
            }
            true
        })?;
        Ok((items, next))
    }

    /// As [`Self::list_intel_items`], by parts that the calling thread takes while another one reads. `take` says whether
    /// it goes on. A `None` comes before the first part, and again if the list has to be read anew: what came before it
    /// does not count then.
    ///
    /// The channel has no bound: a reader that waited for whoever takes the parts would keep its connection from a
    /// signal's handler or a finalizer, which run on that very thread. A store in memory reads with the writer, beside
    /// which none of them may run: all its parts are taken at the end.
    ///
    /// # Errors
    /// As [`Self::list_intel_items`].
    pub fn list_intel_items_in_parts(
        &self,
        caller: &Caller,
        list: &ItemList,
        take: &mut dyn FnMut(Vec<Option<Items>>) -> bool,
    ) -> Result<Option<String>> {
        if let Some(by) = list.order_by {
            let ranked = self.read_many("list-reader", caller, list.filter, |connection, stop| {
                best::list(connection, list, by, stop)
            });
            let (items, next) = ranked.map_err(|error| error.during(&list.name))?;
            take(items.into_iter().map(Some).collect());
            return Ok(next);
        }
        let (sender, parts) = mpsc::channel();
        let parts = Own::new(parts);
        let read = move |caller: &Caller, stop: &Arc<AtomicBool>| {
            self.read(caller, Sql::Ours, |connection| {
                // The other end is kept until this one is dropped.
                lists::items::list(connection, list, stop, &|part| sender.send(part).unwrap_or_default())
            })
        };
        let may_be_long = |connection: &mut Connection| {
            lists::items::may_have_more_than(connection, list.filter, WORTH_A_THREAD)
        };
        let is_long = match list.limit {
            Some(limit) if limit.get() <= WORTH_A_THREAD => Ok(false),
            _ => self.read(caller, Sql::Ours, may_be_long),
        };
        let found = is_long.and_then(|is_long| match is_long {
            false => read(caller, &Arc::default()),
            true => self.on_worker_meanwhile("list-reader", caller, read, |reader, stop| {
                while self.path().is_some()
                    && let Some(part) = reader.next_of(&parts, caller.interrupted, stop)?
                {
                    if !take(iter::once(part).chain(parts.try_iter()).collect()) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                reader.wait_unless(caller.interrupted, stop)
            }),
        });
        let next = found.map_err(|error| error.during(&list.name))?;
        // All of it, where nothing was taken before.
        take(parts.try_iter().collect());
        Ok(next)
    }

    /// Read the next items, at most `limit`; and where they end, `None` where none are left. Nothing
    /// is held between two pages, and a page of a filter that lets little through ends early, so that no read stays
    /// open for long.
    ///
    /// # Errors
    /// As [`Self::get_intel_item`].
    pub fn page_intel_items(
        &self,
        caller: &Caller,
        filter: &ItemFilter,
        fields: Fields,
        order: Order,
        after: Option<&Position>,
        limit: NonZeroUsize,
    ) -> Result<(Vec<Items>, Option<Position>)> {
        self.read(caller, Sql::Ours, |connection| {
            lists::items::page(connection, filter, fields, order, after, limit.get(), MAX_SCANNED)
        })
        .map_err(|error| error.during("iter_intel_items"))
    }

    /// Count the items that a filter lets through.
    ///
    /// # Errors
    /// As [`Self::get_intel_item`].
    pub fn count_intel_items(&self, caller: &Caller, filter: &ItemFilter) -> Result<u64> {
        self.read(caller, Sql::Ours, |connection| item_count::count(connection, filter))
            .map_err(|error| error.during("count_intel_items"))
    }

    /// Count them by [`ItemColumn::Decision`], [`ItemColumn::ItemType`] or [`ItemColumn::RunId`].
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`], and as [`Self::get_intel_item`].
    pub fn count_intel_items_by(
        &self,
        caller: &Caller,
        column: ItemColumn,
        filter: &ItemFilter,
    ) -> Result<Tally> {
        self.read_many("counter", caller, filter, |connection, stop| {
            item_count_by::count_by(connection, filter, column, stop)
        })
        .map_err(|error| error.during("count_intel_items_by"))
    }

    /// Rank the first `most` items, by a number, or those that come after a ranking. Nothing is held afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`], and as [`Self::get_intel_item`].
    pub fn rank_intel_items(
        &self,
        caller: &Caller,
        filter: &ItemFilter,
        by: &OrderBy,
        order: Order,
        after: Option<&Ranking>,
        most: NonZeroUsize,
    ) -> Result<Ranking> {
        self.read_many("list-reader", caller, filter, |connection, stop| {
            best::rank_next(connection, filter, by, order, after, most.get(), stop)
        })
        .map_err(|error| error.during("iter_intel_items"))
    }

    /// Read some items of a ranking of this filter and order. Those that are gone, or that the filter no longer lets
    /// through, are left out.
    ///
    /// # Errors
    /// As [`Self::get_intel_item`].
    pub fn read_ranked_intel_items(
        &self,
        caller: &Caller,
        filter: &ItemFilter,
        fields: Fields,
        order: Order,
        ranking: &Ranking,
        which: Range<usize>,
    ) -> Result<Vec<Items>> {
        self.read(caller, Sql::Ours, |connection| {
            best::read_ranked(connection, filter, fields, order, ranking, which.clone())
        })
        .map_err(|error| error.during("iter_intel_items"))
    }

    /// Read what is read of all items of a filter; by a worker thread where there are many.
    fn read_many<T: Send>(
        &self,
        thread: &'static str,
        caller: &Caller,
        filter: &ItemFilter,
        read: impl Fn(&Connection, &AtomicBool) -> Result<T> + Sync,
    ) -> Result<T> {
        let read = |caller: &Caller, stop: &Arc<AtomicBool>| {
            self.read(caller, Sql::Ours, |connection| read(connection, stop))
        };
        let may_be_long = |connection: &mut Connection| {
            lists::items::may_have_more_than(connection, filter, WORTH_A_THREAD)
        };
        match self.read(caller, Sql::Ours, may_be_long)? {
            true => self.on_worker(thread, caller, caller.interrupted, read),
            false => read(caller, &Arc::default()),
        }
    }
}
