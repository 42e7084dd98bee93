//! Explicit transactions: a handle that rolls back unless it is committed; nested ones are savepoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Owner;
use crate::sqlite::engine::commit;
use crate::sqlite::engine::holders;
use crate::sqlite::engine::queue::{Admission, Turn};
use crate::sqlite::engine::slot::Slot;
use crate::sqlite::engine::write::Write;
use crate::sqlite::engine::writer::Writer;
use crate::sqlite::file::control;
use crate::sqlite::file::fork;
use crate::sqlite::file::wait::Wait;

/// A transaction, or a savepoint within one. Dropping it rolls it back.
pub struct Transaction {
    writer: Arc<Writer>,
    level: u64,
    generation: u64,
    /// The turn of the outermost one, until it is over.
    turn: Option<Turn<Write>>,
    /// Of the outermost one on a file, for as long as it holds the file's lock.
    holds: Option<Arc<()>>,
    open: bool,
}

impl Transaction {
    /// Take the writer, or open a savepoint where the owner's transaction holds it already.
    pub(crate) fn begin(writer: &Arc<Writer>, owner: Owner, wait: &mut Wait) -> Result<Self> {
        let (level, turn) = if writer.queue.is_owned_by(owner) {
            (writer.with_slot(open_savepoint)?, None)
        } else {
            let Admission::Turn(turn, _) = writer.queue.enter(None, owner, wait)? else {
                return Err(StoreError::closed());
            };
            writer.throttle(wait)?;
            let level = writer.until_free(wait, || writer.with_slot(|slot| slot.begin()))?;
            turn.set_owner(owner);
            (level, Some(turn))
        };
        let file = writer.file_id().filter(|_| turn.is_some());
        let holds = file.map(|file| holders::hold(file, owner.thread));
        Ok(Self {
            holds,
            writer: Arc::clone(writer),
            level,
            generation: fork::generation(),
            turn,
            open: true,
        })
    }

    /// Whether it is the transaction itself, and no savepoint within one.
    pub fn is_outermost(&self) -> bool {
        self.turn.is_some()
    }

    /// Keep what was written. If it cannot be kept, it is rolled back and the error says why.
    ///
    /// # Errors
    /// [`ErrorKind::TransactionDoomed`] when SQLite rolled it back by itself, [`ErrorKind::StoreClosed`] when the
    /// store was closed inside it, [`ErrorKind::Transaction`] when a transaction nested in it is still open, or
    /// in a process forked inside it; and what COMMIT itself raises.
    pub fn commit(mut self) -> Result<()> {
        let outermost = self.is_outermost();
        self.end(Slot::keep)?;
        if outermost {
            self.writer.counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        self.writer.relieve_log();
        Ok(())
    }

    /// Undo what was written.
    ///
    /// # Errors
    /// [`ErrorKind::Transaction`] in a process forked inside it.
    pub fn roll_back(mut self) -> Result<()> {
        self.end(|slot, level| slot.undo(level))
    }

    fn end(&mut self, how: impl FnOnce(&mut Slot, u64) -> Result<()>) -> Result<()> {
        self.open = false;
        if self.generation != fork::generation() {
            return Err(misuse("this process was forked inside it; it continues in the parent only"));
        }
        let result = self.writer.with_slot(|slot| how(slot, self.level));
        self.holds = None;
        self.turn = None;
        result
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // There is no caller to tell; a rollback that fails dooms the rest of the transaction.
            let _ = self.end(|slot, level| slot.undo(level));
        }
    }
}

impl Slot {
    /// Commit the transaction, or release the savepoint, of this level.
    fn keep(&mut self, level: u64) -> Result<()> {
        let depth = self.levels.iter().position(|open| *open == level);
        let (doomed, held) = (self.refuse_doomed(), self.held);
        let innermost = depth.filter(|depth| depth + 1 == self.levels.len());
        let Some(connection) = self.connection() else {
            return Err(StoreError::closed().note("the transaction was rolled back"));
        };
        let (Some(depth), Ok(())) = (innermost, &doomed) else {
            self.undo(level)?;
            return doomed
                .and(Err(misuse("one nested in it is still open, or it is over; it was rolled back")));
        };
        let kept = match depth {
            0 => self.commit(held).map_err(|error| match error.kind {
                ErrorKind::CommitOutcomeUnknown => {
                    error.note("check what was written before repeating the transaction")
                }
                _ => error,
            }),
            _ => control::execute(connection, &format!("RELEASE {}", savepoint(depth))),
        };
        if kept.is_err() && depth > 0 {
            // What is said not to be kept must not be committed with what is around it.
            let _ = self.undo(level);
        }
        self.levels.truncate(depth);
        kept
    }

    /// Roll back to before this level, and with it all that is nested in it.
    fn undo(&mut self, level: u64) -> Result<()> {
        let Some(depth) = self.levels.iter().position(|open| *open == level) else { return Ok(()) };
        self.levels.truncate(depth);
        let (doomed, held) = (self.doomed, self.held);
        let Some(connection) = self.connection() else { return Ok(()) };
        if depth == 0 {
            commit::abandon(connection, held);
            self.doomed = false;
        } else if !doomed {
            let name = savepoint(depth);
            let undone = control::execute(connection, &format!("ROLLBACK TO {name}"))
                .and_then(|()| control::execute(connection, &format!("RELEASE {name}")));
            self.doomed = undone.is_err();
            undone?;
        }
        Ok(())
    }
}

fn open_savepoint(slot: &mut Slot) -> Result<u64> {
    slot.refuse_doomed()?;
    let name = savepoint(slot.levels.len());
    let connection = slot.connection().ok_or_else(StoreError::closed)?;
    control::execute(connection, &format!("SAVEPOINT {name}"))?;
    Ok(slot.push_level())
}

/// What the savepoint at this depth is called: few names, so that their statements stay cached.
fn savepoint(depth: usize) -> String {
    format!("level_{depth}")
}

fn misuse(what: &str) -> StoreError {
    StoreError::new(ErrorKind::Transaction, format!("the transaction cannot be ended here: {what}"))
}
