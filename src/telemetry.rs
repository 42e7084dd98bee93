//! The SQL of the `telemetry` table.

use rusqlite::Connection;

use crate::error::Result;
use crate::model::Telemetry;
use crate::runs;
use crate::sql::Text;

/// Set a run's telemetry document.
pub(crate) fn write(connection: &Connection, telemetry: &Telemetry, created_at: &str) -> Result<()> {
    runs::require(connection, telemetry.run_id.as_bytes())?;
    connection
        .prepare_cached(
            "INSERT INTO telemetry(run_id, telemetry_json, created_at) VALUES (?, ?, ?)
             ON CONFLICT(run_id) DO UPDATE SET
                 telemetry_json = excluded.telemetry_json, created_at = excluded.created_at",
        )?
        .execute((&telemetry.run_id, Text(Some(&telemetry.telemetry_json)), created_at))?;
    Ok(())
}
