//! Backing the store up.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;

use crate::error::{self, ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::calls::Store;
use crate::sqlite::engine::adhoc;
use crate::sqlite::file::connection;
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::trace::Trace;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::backup::{self, Destination, Partial, Progress};
use crate::sqlite::upkeep::check;

impl Store {
    /// Copy a snapshot of the store to `dest`, while others write: into a file beside it, which is checked, synced and
    /// then renamed, so that `dest` is complete or unchanged. `progress` is called now and then, with no lock held; its
    /// error ends the backup and is returned.
    ///
    /// # Errors
    /// [`ErrorKind::CannotOpen`] when `dest` cannot be created, is there and `overwrite` is false, or is open as a
    /// database; [`ErrorKind::InvalidValue`] for a store in memory, and for the store's own file;
    /// [`ErrorKind::Transaction`] inside the caller's own transaction; [`ErrorKind::CorruptDatabase`] when the copy
    /// does not pass SQLite's integrity check; [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`],
    /// [`ErrorKind::StoreClosed`], [`ErrorKind::Interrupted`].
    pub fn backup(
        &self,
        caller: &Caller,
        dest: &Path,
        overwrite: bool,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<()> {
        self.back_up(caller, dest, overwrite, progress)
            .map_err(|error| error.during(format!("backup to {}", error::path(dest))))
    }

    fn back_up(
        &self,
        caller: &Caller,
        dest: &Path,
        overwrite: bool,
        progress: &mut dyn FnMut(Progress) -> Result<()>,
    ) -> Result<()> {
        let current = self.connections()?;
        let (Some(place), Some(pool)) = (&current.place, &current.pool) else {
            return Err(StoreError::new(ErrorKind::InvalidValue, "a store in memory has no file to copy"));
        };
        self.refuse_inside(caller, "only what is committed is copied")?;
        let _guest = pool.guest()?;
        let dest = Destination::find(dest, place, overwrite, "pass overwrite=True to replace it")?;
        let partial = Partial::create(&dest.path, self.shared.options.file_mode)?;
        let patience = &mut Wait::new(*caller, Duration::MAX);
        // A child that is forked meanwhile leaves all three as they are.
        let (source, still) = patience.until_free(|| backup::pinned(place))?;
        let source = Own::new(source);
        let mut target = Own::new(connection::open_copy(&partial.path, &place.trace)?);
        let copying = Own::new(Backup::new(&source, &mut target)?);
        loop {
            let (reached, done) = patience.until_free(|| backup::step(&copying))?;
            progress(reached)?;
            self.connections()?;
            patience.slice()?;
            if done {
                break;
            }
        }
        // Not in a step, which is repeated while the file is busy: no waiting mends that.
        still.map_or(Ok(()), |still| still.confirm(&place.path))?;
        drop(copying);
        drop((target, source));
        partial.do_without_log()?;
        self.check_copy(caller, &partial.path, &place.trace)?;
        partial.publish(&dest)
    }

    /// Have SQLite check the copy, on a thread of its own, so that an interrupt or the store's closing can end it.
    fn check_copy(&self, caller: &Caller, copy: &Path, trace: &Trace) -> Result<()> {
        let found = self.on_worker_until_closed("check", caller, |_, stop| {
            Wait::new(Caller::thread(), Duration::MAX).until_free(|| {
                let mut copy = connection::open_immutable(copy, trace)?;
                adhoc::restrict(&mut copy)?;
                check::integrity(&mut copy, stop)
            })
        })?;
        match found.first() {
            None => Ok(()),
            Some(finding) => Err(StoreError::new(
                ErrorKind::CorruptDatabase,
                format!("the copy is damaged, and so is the store's file: {}", finding.message),
            )),
        }
    }
}
