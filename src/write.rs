//! The writes that a store can be asked for, each all or nothing.

use rusqlite::Connection;

use crate::error::Result;
use crate::model::{self, NewItems, NewRun, RunEnd, Telemetry};
use crate::{intel_items, runs, telemetry};

/// One call's write, ready to be done by whichever thread has the turn.
pub(crate) enum Write {
    StartRun(NewRun),
    FinishRun(RunEnd),
    UpsertItem(NewItems),
    UpsertBatch(NewItems),
    Telemetry(Telemetry),
}

impl Write {
    /// Do it. On an error, what was done so far must be undone by the caller where there may be several rows.
    pub(crate) fn apply(&self, connection: &Connection) -> Result<()> {
        match self {
            Self::StartRun(run) => runs::insert(connection, run),
            Self::FinishRun(end) => runs::finish(connection, end, &model::now()),
            Self::UpsertItem(items) => intel_items::upsert(connection, items).map_err(|(_, error)| error),
            Self::UpsertBatch(items) => intel_items::upsert(connection, items).map_err(|(row, error)| {
                error.during(format!("item {row} ({:?})", intel_items::item_id(items, row)))
            }),
            Self::Telemetry(document) => telemetry::write(connection, document, &model::now()),
        }
    }

    /// How many rows it writes.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::UpsertBatch(items) => items.len(),
            _ => 1,
        }
    }

    /// What messages call it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::StartRun(run) => format!("start_run {:?}", run.run_id),
            Self::FinishRun(end) => format!("finish_run {:?}", end.run_id),
            Self::UpsertItem(items) => format!("upsert_intel_item {:?}", intel_items::item_id(items, 0)),
            Self::UpsertBatch(_) => "upsert_intel_items_batch".to_owned(),
            Self::Telemetry(document) => format!("write_telemetry {:?}", document.run_id),
        }
    }

    /// What to tell a caller who cannot know whether it was committed.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::StartRun(_) => "whether the run is there must be looked up before repeating the call",
            _ => "repeating the call is safe",
        }
    }
}
