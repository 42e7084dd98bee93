//! Backing the store up.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::types::Value;

use super::Store;
use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::sqlite::engine::adhoc::{self, Parameters, Stop};
use crate::sqlite::file::connection;
use crate::sqlite::file::fork;
use crate::sqlite::file::platform;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::backup::{Copying, Progress};

/// What SQLite puts beside a database that is open, or was not closed.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Store {
    /// Copy the store to `dest` as it is now, while others go on writing: into a file beside it, which is checked,
    /// synced and then renamed, so that `dest` is whole or not there. `progress` is called now and then, with no lock
    /// held; its error ends the backup and is returned.
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
            .map_err(|error| error.during(format!("backup to {}", dest.display())))
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
        let dest = Destination::find(dest, &place.path, overwrite)?;
        let partial = Partial::create(&dest.path, self.shared.options.file_mode)?;
        let patience = &mut Wait::new(*caller, Duration::MAX);
        let copying = patience.until_free(|| Copying::begin(place, &partial.path))?;
        loop {
            let (reached, done) = patience.until_free(|| copying.step())?;
            progress(reached)?;
            self.connections()?;
            patience.slice()?;
            if done {
                break;
            }
        }
        drop(copying);
        self.check_copy(caller, &partial.path)?;
        partial.publish(&dest)
    }

    /// Have SQLite check the copy, on a thread of its own, so that an interrupt or the store's closing can end it.
    fn check_copy(&self, caller: &Caller, copy: &Path) -> Result<()> {
        let rows = self.aside(caller, |stop| {
            Wait::new(Caller::thread(), Duration::MAX).until_free(|| {
                let mut copy = connection::open_immutable(copy)?;
                adhoc::restrict(&mut copy)?;
                let none = Parameters::Positional(Vec::new());
                adhoc::run(&mut copy, "PRAGMA integrity_check", &none, &Stop::When(Arc::clone(stop)))
            })
        })?;
        match rows.rows.into_iter().flatten().next() {
            Some(Value::Text(verdict)) if verdict == "ok" => Ok(()),
            verdict => Err(StoreError::new(
                ErrorKind::CorruptDatabase,
                format!("the copy is damaged, and so is the store's file: {verdict:?}"),
            )),
        }
    }
}

/// Where a backup goes.
struct Destination {
    path: PathBuf,
    overwrite: bool,
}

impl Destination {
    /// Where `dest` leads, if the file may be put there.
    fn find(dest: &Path, source: &Path, overwrite: bool) -> Result<Self> {
        let path = platform::resolve(dest).map_err(cannot_create)?;
        let is = |other: &Path| {
            let id = platform::file_id(other);
            path == other || (id.is_some() && id == platform::file_id(&path))
        };
        if is(source) || BESIDE.iter().any(|suffix| is(&beside(source, suffix))) {
            return Err(StoreError::new(ErrorKind::InvalidValue, "that is the store's own file"));
        }
        if path.is_dir() {
            return Err(StoreError::new(ErrorKind::CannotOpen, "it is a folder"));
        }
        if path.exists() && !overwrite {
            return Err(is_there());
        }
        match BESIDE.map(|suffix| beside(&path, suffix)).iter().find(|file| file.exists()) {
            None => Ok(Self { path, overwrite }),
            Some(file) => Err(StoreError::new(
                ErrorKind::CannotOpen,
                format!("{} is there: a database is open here, or was not closed", file.display()),
            )),
        }
    }
}

/// The file that becomes the backup; removed unless it does.
struct Partial {
    path: PathBuf,
    file: File,
    generation: u64,
}

impl Partial {
    /// Create it beside `dest`, under a name that nothing else has.
    fn create(dest: &Path, mode: u32) -> Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = LAST.fetch_add(1, Ordering::Relaxed);
            let path = beside(dest, &format!(".{}-{number}.partial", std::process::id()));
            match platform::create_new(&path, mode) {
                Ok(file) => return Ok(Self { path, file, generation: fork::generation() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_create(error)),
            }
        }
    }

    /// Have it on disk, under its name.
    fn publish(self, dest: &Destination) -> Result<()> {
        let publish = || {
            self.file.sync_all()?;
            if dest.overwrite {
                fs::rename(&self.path, &dest.path)?;
            } else {
                // A file may have appeared meanwhile.
                platform::rename_new(&self.path, &dest.path)?;
            }
            platform::sync_parent(&dest.path)
        };
        publish().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(),
            _ => StoreError::new(ErrorKind::StorageIO, error),
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // It is gone already where it was renamed. A file that cannot be removed is left, as after a crash.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_there() -> StoreError {
    StoreError::new(ErrorKind::CannotOpen, "there is a file already; pass overwrite=True to replace it")
}

fn cannot_create(error: io::Error) -> StoreError {
    StoreError::new(ErrorKind::CannotOpen, error)
}
