//! The calls about telemetry.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Sql, Store};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Result, excerpt};
use crate::model::caller::Caller;
use crate::model::rows::Telemetry;
use crate::sqlite::engine::write::Write;
use crate::sqlite::lists::cursor;
use crate::sqlite::tables::telemetry;

/// Telemetry of more runs is read by a worker thread, so that Ctrl-C can end it.
const WORTH_A_THREAD: usize = 512;

impl Store {
    /// Set a run's telemetry document.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`]; [`ErrorKind::RunFinished`] when it was recovered, unless by force; and as
    /// [`Self::start_run`].
    pub fn write_telemetry(&self, caller: &Caller, telemetry: Telemetry) -> Result<()> {
        self.write(caller, Write::Telemetry(telemetry))
    }

    /// Put the members of a JSON object over those of a run's telemetry document, which must be one, or missing.
    ///
    /// # Errors
    /// As [`Self::write_telemetry`]; [`ErrorKind::InvalidValue`] where either is not a JSON object.
    pub fn merge_telemetry(&self, caller: &Caller, members: Telemetry) -> Result<()> {
        self.write(caller, Write::MergeTelemetry(members))
    }

    /// Read a run's telemetry document, JSON text; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn get_telemetry(&self, caller: &Caller, run_id: &str) -> Result<Option<Vec<u8>>> {
        self.read(caller, Sql::Ours, |connection| telemetry::get(connection, run_id))
            .map_err(|error| error.during(format!("get_telemetry {}", excerpt(run_id))))
    }

    /// Read the telemetry documents of these runs as of one moment, JSON text: one a run, or none.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`], and as [`Self::get_telemetry`].
    pub fn list_telemetry(&self, caller: &Caller, run_ids: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let read = |caller: &Caller, stop: &Arc<AtomicBool>| {
            self.read(caller, Sql::Ours, |connection| {
                cursor::snapshot(connection, |_| telemetry::list(connection, run_ids, stop))
            })
        };
        let found = match run_ids.len() {
            ..=WORTH_A_THREAD => read(caller, &Arc::default()),
            _ => self.on_worker("list-reader", caller, caller.interrupted, read),
        };
        found.map_err(|error| error.during("list_telemetry"))
    }
}
