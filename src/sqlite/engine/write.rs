//! The writes that a store can be asked for, each all or nothing.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::model::rows::{NewItems, NewRun, RunEnd, Telemetry};
use crate::model::time;
use crate::sqlite::engine::commit::LOOK_UP_THE_RUN;
use crate::sqlite::tables::decisions::{self, NewDecision};
use crate::sqlite::tables::intel_items::{self, Upsert};
use crate::sqlite::tables::runs;
use crate::sqlite::tables::telemetry;

/// How long the writer is held for the next slice of a batch.
const SLICE_WITHIN: Duration = Duration::from_millis(100);

/// A batch that arrives in slices while it is written: all of it once `None` comes. If the sender is gone before
/// that, or keeps the writer waiting for long, the batch is abandoned and nothing of it counts.
pub type ItemSlices = Receiver<Option<NewItems>>;

/// One call's write, ready to be done by whichever thread has the turn.
pub(crate) enum Write {
    StartRun(NewRun),
    FinishRun(RunEnd),
    UpsertItem(NewItems),
    UpsertBatch(NewItems),
    UpsertSlices(ItemSlices),
    Decide(NewDecision),
    DecideBatch(Vec<NewDecision>),
    Telemetry(Telemetry),
    MergeTelemetry(Telemetry),
    Heartbeat(String),
    ReopenRun(String),
    /// The runs that are active in the store.
    Heartbeats(Vec<String>),
}

impl Write {
    /// Do it. On an error, what was done so far must be undone by the caller unless it is a single row.
    pub(crate) fn apply(&self, connection: &Connection) -> Result<()> {
        match self {
            Self::StartRun(run) => runs::insert(connection, run),
            Self::FinishRun(end) => runs::finish(connection, end, &time::now()),
            Self::UpsertItem(items) => Upsert::new(connection)?.write(items).map_err(|(_, error)| error),
            Self::UpsertBatch(items) => upsert(&mut Upsert::new(connection)?, items, 0),
            Self::UpsertSlices(slices) => {
                let mut writer = Upsert::new(connection)?;
                let mut written = 0;
                while let Some(items) = slices.recv_timeout(SLICE_WITHIN).map_err(|_| abandoned())? {
                    upsert(&mut writer, &items, written)?;
                    written += items.len();
                }
                Ok(())
            }
            Self::Decide(decision) => decisions::decide(connection, decision),
            Self::DecideBatch(batch) => batch.iter().try_for_each(|each| decisions::decide(connection, each)),
            Self::Telemetry(document) => telemetry::write(connection, document, &time::now()),
            Self::MergeTelemetry(members) => telemetry::merge(connection, members, &time::now()),
            Self::Heartbeat(run_id) => runs::beat(connection, run_id),
            Self::ReopenRun(run_id) => runs::reopen(connection, run_id),
            Self::Heartbeats(active) => runs::beat_all(connection, active),
        }
    }

    /// How many rows it writes; for slices that is not known in advance. A heartbeat of the run, which may come with
    /// them, is valid even if they fail.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::UpsertBatch(items) => items.len(),
            Self::DecideBatch(batch) => batch.len(),
            Self::UpsertSlices(_) => usize::MAX,
            Self::Heartbeats(active) => active.len(),
            _ => 1,
        }
    }

    /// Its name in messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::StartRun(run) => format!("start_run {}", excerpt(&run.run_id)),
            Self::FinishRun(end) => format!("finish_run {}", excerpt(&end.run_id)),
            Self::UpsertItem(items) => {
                format!("upsert_intel_item {}", excerpt(&intel_items::item_id(items, 0)))
            }
            Self::UpsertBatch(_) | Self::UpsertSlices(_) => "upsert_intel_items_batch".to_owned(),
            Self::Decide(decision) => format!("decide {}", excerpt(&decision.item_id)),
            Self::DecideBatch(_) => "decide_batch".to_owned(),
            Self::Telemetry(document) => format!("write_telemetry {}", excerpt(&document.run_id)),
            Self::MergeTelemetry(members) => format!("merge_telemetry {}", excerpt(&members.run_id)),
            Self::Heartbeat(run_id) => format!("heartbeat {}", excerpt(run_id)),
            Self::ReopenRun(run_id) => format!("reopen_run {}", excerpt(run_id)),
            Self::Heartbeats(_) => "heartbeats".to_owned(),
        }
    }

    /// The advice to a caller whose commit has an unknown outcome.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::StartRun(_) => LOOK_UP_THE_RUN,
            _ => "repeating the call is safe",
        }
    }
}

/// Write items of a batch of which `before` are written already; an error names the one that it is about.
fn upsert(writer: &mut Upsert, items: &NewItems, before: usize) -> Result<()> {
    writer.write(items).map_err(|(row, error)| {
        error.during(format!("item {} ({})", before + row, excerpt(&intel_items::item_id(items, row))))
    })
}

fn abandoned() -> StoreError {
    StoreError::new(ErrorKind::Interrupted, "the batch was abandoned; nothing was changed")
}
