//! The calls about telemetry.

use super::Store;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::model::Telemetry;
use crate::wait::Caller;
use crate::write::Write;

impl Store {
    /// Set a run's telemetry document.
    ///
    /// # Errors
    /// [`ErrorKind::RunNotFound`], and as [`Self::start_run`].
    pub fn write_telemetry(&self, caller: &Caller, telemetry: Telemetry) -> Result<()> {
        self.write(caller, Write::Telemetry(telemetry))
    }
}
