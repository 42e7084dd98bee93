//! Returning free pages to the file system.

use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};
use crate::model::caller::{Caller, Owner};
use crate::sqlite::calls::{Sql, Store};
use crate::sqlite::engine::commit;
use crate::sqlite::engine::heartbeats::Held;
use crate::sqlite::file::connection;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::vacuum::{self, Vacuumed};

/// How long the checkpoint may take before the file is measured.
const CHECKPOINT_WITHIN: Duration = Duration::from_millis(500);

impl Store {
    /// Give the file's free pages back to the file system: in short writes, or with `full` by rewriting the file, which
    /// holds the writer for as long as it takes.
    ///
    /// # Errors
    /// [`ErrorKind::Transaction`] inside the caller's own transaction, [`ErrorKind::Interrupted`], and as
    /// [`Self::start_run`].
    pub fn vacuum(&self, caller: &Caller, full: bool) -> Result<Vacuumed> {
        self.give_back(caller, full).map_err(|error| error.during("vacuum"))
    }

    fn give_back(&self, caller: &Caller, full: bool) -> Result<Vacuumed> {
        self.refuse_inside(caller, "it is done in transactions of its own")?;
        self.writer()?;
        if self.path().is_none() {
            return Ok(Vacuumed { bytes_freed: 0, reason: Some("a store in memory has no file".into()) });
        }
        // What is only in the log yet is no part of the file that could be given back. Where that cannot be done soon,
        // less is counted as freed.
        let (began, timeout) = (Instant::now(), self.shared.options.busy_timeout);
        self.empty_log(caller, timeout.min(CHECKPOINT_WITHIN))?;
        // What is waited for without getting on is one timeout in all.
        let waited = began.elapsed();
        let before = self.file_bytes();
        let done = if full { self.rewrite(caller, waited) } else { self.give_back_in_slices(caller, waited) };
        let is_busy = done.as_ref().is_err_and(|error| error.kind == ErrorKind::StoreBusy);
        let emptied =
            self.empty_log(caller, if is_busy { Duration::ZERO } else { timeout.saturating_sub(waited) })?;
        let reason = match done {
            Ok(None) if emptied => None,
            Ok(None) => Some("the log could not be checkpointed within busy_timeout, as others read or write; the file shrinks when it is".to_owned()),
            Ok(reason) => reason,
            Err(error) if error.kind == ErrorKind::StoreBusy => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Vacuumed { bytes_freed: before.saturating_sub(self.file_bytes()), reason })
    }

    /// Give free pages back, as far as the file is made for it; why not, where it is not.
    fn give_back_in_slices(&self, caller: &Caller, waited: Duration) -> Result<Option<String>> {
        if !self.read(caller, Sql::Ours, |connection| vacuum::is_incremental(connection))? {
            let why =
                "the file was made without auto_vacuum, as the predecessor's are: only full=True shrinks it";
            return Ok(Some(why.to_owned()));
        }
        self.write_in_slices(
            caller,
            waited,
            |connection, until| Ok((vacuum::give_back(connection, until)?, ())),
            |()| {},
        )?;
        Ok(None)
    }

    fn rewrite(&self, caller: &Caller, waited: Duration) -> Result<Option<String>> {
        let writer = self.writer()?;
        let timeout = self.shared.options.busy_timeout;
        self.on_worker_until_closed("vacuum", caller, |caller, _| {
            let me = Caller { owner: Owner::thread(), ..*caller };
            let mut wait = Wait::new(me, timeout).after(waited);
            let _turn = writer.queue.enter(None, me.owner, &wait)?;
            writer.until_free(&mut wait, || {
                writer.with(|connection| {
                    writer.look()?;
                    let held = Held::begin();
                    let rewritten = connection::rewrite(connection);
                    commit::make_up(connection, held);
                    rewritten
                })
            })
        })?;
        Ok(None)
    }
}
