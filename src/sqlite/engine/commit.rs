//! Beginning, committing and rolling back a transaction of the writer.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::engine::heartbeats::Held;
use crate::sqlite::file::control::{execute, roll_back};
use crate::sqlite::tables::references;

/// Take the write lock now: a transaction that reads first and writes later can find itself unable to
/// (<https://www.sqlite.org/rescode.html#busy_snapshot>).
///
/// # Errors
/// [`ErrorKind::Other`] if one was left open.
pub(crate) fn begin(connection: &Connection) -> Result<Held> {
    if !connection.is_autocommit() {
        let what = "a transaction was left open by a rollback that failed, and this call has written nothing since; close the store, and open it again";
        return Err(StoreError::new(ErrorKind::Other, what));
    }
    let held = Held::begin();
    execute(connection, "BEGIN IMMEDIATE")?;
    Ok(held)
}

/// Roll back what was begun.
pub(crate) fn abandon(connection: &Connection, held: Held) {
    roll_back(connection);
    make_up(connection, held);
}

/// After the file's lock was held for long, and not released by [`commit`]: record the heartbeats that could not be
/// recorded. Only the holder of the turn calls this.
pub(crate) fn make_up(connection: &Connection, held: Held) {
    if held.is_long() && begin(connection).is_ok() {
        // If this fails, recovery gives the runs a moment.
        let made_up = held.make_up(connection).and_then(|()| execute(connection, "COMMIT"));
        made_up.unwrap_or_else(|_| roll_back(connection));
    }
}

/// Commit. After a failure no transaction is open, and the error says whether anything may be written.
pub(crate) fn commit(connection: &Connection, held: Held) -> Result<()> {
    // A failed heartbeat is no reason to lose the rest, unless SQLite has rolled all of it back.
    if let Err(error) = held.make_up(connection)
        && connection.is_autocommit()
    {
        return Err(error.note("nothing was written"));
    }
    let prepared = connection.prepare_cached("COMMIT");
    let mut statement = prepared.map_err(|error| {
        roll_back(connection);
        StoreError::from(error).note("nothing was written")
    })?;
    statement.execute([]).map(drop).map_err(|error| {
        roll_back(connection);
        let error = StoreError::from(error);
        match error.kind {
            ErrorKind::DiskFull | ErrorKind::StoreBusy | ErrorKind::ReadOnly => {
                error.note("nothing was written")
            }
            _ if error.is_of_descriptor() => error.note("nothing was written"),
            ErrorKind::InvalidValue => references::why_unmet(connection, error).note("nothing was written"),
            // A failed sync leaves a whole transaction in the log, and the next opening may well find it.
            _ => error
                .of_kind(ErrorKind::CommitOutcomeUnknown)
                .note("the commit failed, and whether it is on disk is unknown"),
        }
    })
}

/// What to tell those whose run may be there, or be gone.
pub(crate) const LOOK_UP_THE_RUN: &str =
    "whether the run is there must be looked up before repeating the call";

/// Tell a caller who cannot know whether it was committed what to do.
pub(crate) fn advise(error: StoreError, advice: &str) -> StoreError {
    if error.kind == ErrorKind::CommitOutcomeUnknown { error.note(advice) } else { error }
}
