//! Deleting runs.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::model::caller::Caller;
use crate::model::time;
use crate::sqlite::calls::{Sql, Store};
use crate::sqlite::engine::commit::LOOK_UP_THE_RUN;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::tables::deletion::{self, Deleted, Pruned, Sweep};
use crate::sqlite::upkeep::prune::{self, Prune, Selection, TimeSlice};

impl Store {
    /// Delete a run with its items and telemetry, in one transaction; one that is `running` only by `force`.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`], [`ErrorKind::RunActive`], [`ErrorKind::InvalidValue`] where a row of another table
    /// refers to it, and as [`Self::start_run`].
    pub fn delete_run(&self, caller: &Caller, run_id: &str, force: bool) -> Result<Deleted> {
        let what = || format!("delete_run {}", excerpt(run_id));
        let writer = self.writer().map_err(|error| error.during(what()))?;
        let inside = writer.queue.is_owned_by(caller.owner);
        self.transact(caller, what, LOOK_UP_THE_RUN, |connection| {
            deletion::delete_run(connection, run_id, force, inside)
        })
    }

    /// Delete finished runs with their items and telemetry. They disappear for readers at once; their rows are then
    /// deleted in short transactions, between which others write. What a prune that was killed has left is deleted as
    /// well, and counted. With `dry_run` all is counted and nothing changed.
    ///
    /// # Errors
    /// [`ErrorKind::Clock`] where runs would be deleted by their age, and the clock is not to be believed;
    /// [`ErrorKind::InvalidValue`] without a bound, and, once all others are deleted, where a row of another table
    /// refers to a run; [`ErrorKind::Transaction`] inside the caller's own transaction,
    /// [`ErrorKind::Interrupted`], and as [`Self::start_run`]; rows that were deleted stay deleted, and the next prune
    /// continues.
    pub fn prune(&self, caller: &Caller, prune: &Prune, dry_run: bool) -> Result<Deleted> {
        self.prune_runs(caller, prune, dry_run).map_err(|error| error.during("prune"))
    }

    fn prune_runs(&self, caller: &Caller, prune: &Prune, dry_run: bool) -> Result<Deleted> {
        if prune.older_than.is_none() && prune.keep_last.is_none() {
            return Err(StoreError::new(
                ErrorKind::InvalidValue,
                "older_than or keep_last must say which runs to delete; nothing was changed",
            ));
        }
        self.refuse_inside(caller, "it is done in transactions of its own")?;
        if !dry_run {
            self.writer()?;
        }
        let now = time::clock();
        let selection = self.read(caller, Sql::Ours, |connection| {
            let selection = Selection::find(connection, prune, now)?;
            if let Some(selection) =
                selection.as_ref().filter(|_| prune.older_than.is_some() && !prune.trust_clock)
                && !selection.next(connection, i64::MIN)?.is_empty()
            {
                self.shared.clock.check(connection, now)?;
            }
            Ok(selection)
        })?;
        if dry_run {
            return self.count_prunable(caller, selection.as_ref());
        }
        let (mut pruned, mut sweep) = (Pruned::default(), Sweep::default());
        if let Some(selection) = selection {
            self.mark(caller, &selection, &time::isoformat(now), &mut sweep, &mut pruned)?;
        }
        self.write_in_slices(
            caller,
            Duration::ZERO,
            |connection, until| {
                let (slice, more) = sweep.go_on(connection, until)?;
                Ok((more, slice))
            },
            |slice| pruned.add(slice),
        )?;
        pruned.outcome()
    }

    /// Mark the runs; or delete them, if other tables refer to ours.
    fn mark(
        &self,
        caller: &Caller,
        selection: &Selection,
        now: &str,
        sweep: &mut Sweep,
        pruned: &mut Pruned,
    ) -> Result<()> {
        let mut after = i64::MIN;
        loop {
            let found = self.read(caller, Sql::Ours, |connection| selection.next(connection, after))?;
            let Some(last) = found.last() else { return Ok(()) };
            after = *last;
            let mut left = found.as_slice();
            let mut marked = 0;
            self.write_in_slices(
                caller,
                Duration::ZERO,
                |connection, until| {
                    left = &left[marked..];
                    let slice;
                    (marked, slice) = if sweep.references.get(connection)?.is_empty() {
                        (selection.mark(connection, left, now, until)?, Pruned::default())
                    } else {
                        selection.take(connection, left, now, until, sweep)?
                    };
                    Ok((marked < left.len(), slice))
                },
                |slice| pruned.add(slice),
            )?;
        }
    }

    fn count_prunable(&self, caller: &Caller, selection: Option<&Selection>) -> Result<Deleted> {
        let patience = Wait::new(*caller, Duration::MAX);
        let mut counted = self.read(caller, Sql::Ours, |connection| prune::count_marked(connection))?;
        let mut after = Some(i64::MIN);
        while let (Some(selection), Some(behind)) = (selection, after) {
            patience.slice()?;
            let (more, last) =
                self.read(caller, Sql::Ours, |connection| selection.count_next(connection, behind))?;
            counted.add(more);
            after = last;
        }
        Ok(counted)
    }

    /// Do long work in writes so short that others hardly wait: each is a transaction, and queues for its turn behind
    /// those who wait already. Other processes are not in the queue: between two writes there is time for them. `work`
    /// is told until when it may work, and returns whether there is more to do; `done` is given the result of a
    /// transaction once it is committed.
    ///
    /// So much of the timeout of the first was `waited` already; once it is done, the next has all of it.
    pub(super) fn write_in_slices<T>(
        &self,
        caller: &Caller,
        mut waited: Duration,
        mut work: impl FnMut(&Connection, Instant) -> Result<(bool, T)>,
        mut done: impl FnMut(T),
    ) -> Result<()> {
        let writer = self.writer()?;
        let patience = Wait::new(*caller, Duration::MAX);
        let mut time_slice = TimeSlice::new();
        loop {
            writer.wait_for_checkpoint(&patience)?;
            let mut wait = Wait::new(*caller, self.shared.options.busy_timeout).after(waited);
            waited = Duration::ZERO;
            let (more, came) = writer
                .transact(caller.owner, &mut wait, |connection| work(connection, time_slice.begin()))?;
            time_slice.end();
            writer.relieve_log();
            done(came);
            if !more {
                return Ok(());
            }
            patience.give_way()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::calls::opening::Options;

    #[test]
    fn a_prune_that_a_panic_ends_does_not_say_that_it_wrote_nothing() {
        let store = Store::open_in_memory(Options::default()).unwrap();
        let me = Caller::thread();
        let insert = "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
            VALUES (?1, 't', '', 'running', '{}')";
        let mut slices = 0;
        let work = |connection: &Connection, _: Instant| {
            slices += 1;
            connection.execute(insert, [slices])?;
            Ok((true, ()))
        };
        let panics = |()| {
            let never = || false;
            store
                .on_worker("list-reader", &me, &never, |_, _| -> Result<()> { panic!("on purpose") })
                .unwrap_err();
        };
        let told = store.write_in_slices(&me, Duration::ZERO, work, panics).unwrap_err().to_string();
        assert!(told.contains("list-reader panicked, and this call has written nothing since;"), "{told}");
        assert_eq!(store.stats(&me).unwrap().runs_by_status, [("running".to_owned(), 1)]);
    }
}
