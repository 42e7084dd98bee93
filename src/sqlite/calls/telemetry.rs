//! The calls about telemetry.

use super::{Sql, Store};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::model::caller::Caller;
use crate::model::rows::Telemetry;
use crate::sqlite::engine::write::Write;
use crate::sqlite::tables::telemetry;

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

    /// Read a run's telemetry document, JSON text; `None` where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::CorruptDatabase`].
    pub fn get_telemetry(&self, caller: &Caller, run_id: &str) -> Result<Option<Vec<u8>>> {
        self.read(caller, Sql::Ours, |connection| telemetry::get(connection, run_id))
            .map_err(|error| error.during(format!("get_telemetry {run_id:?}")))
    }
}
