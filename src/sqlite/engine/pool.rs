//! The pool of readers: `pool_size` connections at most, opened when first needed.

use std::sync::{Condvar, Mutex};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::adhoc;
use crate::sqlite::file::connection;
use crate::sqlite::file::fork::{self, Own};
use crate::sqlite::file::migrations::{self, Found};
use crate::sqlite::file::place::Place;
use crate::sqlite::file::sizes;
use crate::sqlite::file::still;
use crate::sqlite::file::wait::Wait;
use crate::sync::{lock, wait};

/// The readers of one file.
pub(crate) struct Pool {
    permits: Mutex<Permits>,
    returned: Condvar,
    idle: Mutex<Vec<Own<Connection>>>,
    generation: u64,
}

struct Permits {
    free: usize,
    size: usize,
    closed: bool,
}

/// The right to use one connection, until it is dropped.
struct Permit<'a>(&'a Pool);

/// A reader with a connection of its own, until this is dropped.
pub(crate) struct Guest<'a>(&'a Pool);

impl Pool {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            permits: Mutex::new(Permits { free: size, size, closed: false }),
            returned: Condvar::new(),
            idle: Mutex::new(Vec::new()),
            generation: fork::generation(),
        }
    }

    /// Do `read` on a connection of the pool. It must leave no transaction open.
    pub(crate) fn read<T>(
        &self,
        place: &Place,
        wait_for: &mut Wait,
        read: impl Fn(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let permit = self.permit(wait_for)?;
        wait_for.until_free(|| {
            let path = &place.path;
            place.look_now_and_then()?;
            let mut connection = match self.check_out(place, &permit) {
                Err(error) if still::is_readable_despite(&error, path) => {
                    place.look()?;
                    return read_unshared(place, &read);
                }
                connection => connection?,
            };
            let result = read(&mut connection);
            self.check_in(connection, &permit);
            result
        })
    }

    /// Do `inspect`, which refuses what is no store, on a file that has no log yet, without making one: SQLite makes it,
    /// and its index, for whoever reads, and a reader does not remove them. What a busy or unreadable file fails
    /// with comes again in [`Self::read`].
    pub(crate) fn foresee(place: &Place, inspect: impl Fn(&mut Connection) -> Result<()>) -> Result<()> {
        if sizes::beside(&place.path, "-wal").exists() || !sizes::is_settled(&place.path) {
            return Ok(());
        }
        match read_unshared(place, inspect) {
            Err(error) if !matches!(error.kind, ErrorKind::StoreBusy | ErrorKind::CannotOpen) => Err(error),
            _ => Ok(()),
        }
    }

    fn permit(&self, wait_for: &Wait) -> Result<Permit<'_>> {
        loop {
            {
                let mut permits = lock(&self.permits);
                if permits.closed {
                    return Err(StoreError::closed());
                }
                if permits.free > 0 {
                    permits.free -= 1;
                    return Ok(Permit(self));
                }
            }
            let slice = wait_for.slice()?;
            let permits = lock(&self.permits);
            if permits.free == 0 && !permits.closed {
                drop(wait(&self.returned, permits, slice));
            }
        }
    }

    /// Admit a reader with a connection of its own. Closing waits for it as well.
    pub(crate) fn guest(&self) -> Result<Guest<'_>> {
        let mut permits = lock(&self.permits);
        if permits.closed {
            return Err(StoreError::closed());
        }
        permits.size += 1;
        Ok(Guest(self))
    }

    fn check_out(&self, place: &Place, _: &Permit) -> Result<Own<Connection>> {
        let pooled = lock(&self.idle).pop();
        pooled.map_or_else(|| place.confirm_opened(open(place)).map(Own::new), Ok)
    }

    /// Keep a connection for the next reader, unless a transaction is open on it that will not end, or the pool
    /// was closed meanwhile.
    fn check_in(&self, connection: Own<Connection>, _: &Permit) {
        let clean = connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok();
        if clean && !lock(&self.permits).closed {
            lock(&self.idle).push(connection);
        }
    }

    /// Refuse new readers, wait for the running ones, and close all connections.
    pub(crate) fn close(&self, wait_for: &Wait) -> Result<()> {
        loop {
            let mut permits = lock(&self.permits);
            permits.closed = true;
            self.returned.notify_all();
            if permits.free == permits.size {
                break;
            }
            drop(permits);
            let slice = wait_for.slice()?;
            let permits = lock(&self.permits);
            if permits.free < permits.size {
                drop(wait(&self.returned, permits, slice));
            }
        }
        lock(&self.idle).clear();
        Ok(())
    }

    /// In a forked child: free the connections that were not in use.
    pub(crate) fn discard_inherited(&self) {
        if let Ok(mut idle) = self.idle.try_lock() {
            idle.drain(..).for_each(connection::discard);
        }
    }

    /// Whether this process is a child of the one that made it. The locks may then be held by threads that do not exist.
    fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.0.is_inherited() {
            lock(&self.0.permits).free += 1;
            self.0.returned.notify_all();
        }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if !self.0.is_inherited() {
            lock(&self.0.permits).size -= 1;
            self.0.returned.notify_all();
        }
    }
}

fn open(place: &Place) -> Result<Connection> {
    let mut connection = connection::open_reader(&place.path, &place.trace)?;
    // SQLite opens its files with the first read: here is where a read-only folder shows.
    set_up(&mut connection)?;
    Ok(connection)
}

/// Read a file without a -shm, if none can be made beside it. Nothing locks the file then, so a read is valid only if
/// no writer changed it meanwhile.
fn read_unshared<T>(place: &Place, read: impl Fn(&mut Connection) -> Result<T>) -> Result<T> {
    let path = &place.path;
    let before = sizes::stamp(path, "");
    let mut connection = connection::open_immutable(path, &place.trace)?;
    let result = set_up(&mut connection).and_then(|()| read(&mut connection));
    if before.is_some() && sizes::stamp(path, "") == before && sizes::is_settled(path) {
        return result;
    }
    Err(StoreError::new(ErrorKind::StoreBusy, "the file changed while it was being read"))
}

/// Give a connection the tables that it expects, and refuse all changes.
pub(crate) fn set_up(connection: &mut Connection) -> Result<()> {
    if let Found::Store(version) = migrations::inspect(connection)? {
        migrations::show_as_latest(connection, version)?;
    }
    adhoc::restrict(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::caller::Caller;
    use crate::sqlite::file::trace::Trace;

    #[test]
    fn a_transaction_that_a_reader_leaves_open_is_not_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, b"").unwrap();
        let mut writer = connection::open_file(&path, &Trace::default()).unwrap();
        connection::configure_writer(&writer, connection::Synchronous::Normal).unwrap();
        migrations::migrate(&mut writer).unwrap();
        let pool = Pool::new(1);
        let mut wait_for = Wait::new(Caller::thread(), std::time::Duration::from_secs(1));
        let runs = |connection: &Connection| -> Result<i64> {
            Ok(connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))?)
        };
        let place = Place::new(path, Trace::default()).unwrap();
        let leave_open = |connection: &mut Connection| {
            adhoc::unrestrict(connection)?;
            connection.execute_batch("BEGIN")?;
            runs(connection)
        };
        assert_eq!(pool.read(&place, &mut wait_for, leave_open).unwrap(), 0);
        writer
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
                 VALUES ('r', 't', 'now', 'running', '{}')",
            )
            .unwrap();
        assert_eq!(pool.read(&place, &mut wait_for, |connection| runs(connection)).unwrap(), 1);
    }
}
