//! What a read takes from a cell, and what it refuses.

use rusqlite::types::ValueRef;

use crate::sqlite::tables::cells::json_of_blob;

/// The columns that may be NULL.
const OPTIONAL: [&str; 5] = ["finished_at", "notes", "heartbeat_at", "decision", "decision_reason"];

/// Whether a column may not be NULL, and so is there in each version of the file.
pub(crate) fn is_required(column: &str) -> bool {
    !OPTIONAL.contains(&column)
}

/// Whether a column holds JSON.
pub(crate) fn is_json(column: &str) -> bool {
    column.ends_with("_json")
}

/// What stands in for JSON of an item or a run that could not be read; telemetry has nothing else.
pub(crate) fn empty_json(column: &str) -> Option<&'static str> {
    match column {
        "telemetry_json" => None,
        "scores_json" | "settings_snapshot_json" => Some("{}"),
        _ => Some("[]"),
    }
}

/// The JSON in a cell, that may be any text; `None` for text that is read as it is, and for NULL where that may be.
///
/// # Errors
/// What it is instead.
pub(crate) fn cell<'a>(column: &str, value: ValueRef<'a>) -> Result<Option<&'a [u8]>, String> {
    match value {
        ValueRef::Text(json) if is_json(column) => Ok(Some(json)),
        ValueRef::Blob(json) if is_json(column) => Ok(Some(json_of_blob(json))),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(_) => Ok(None),
            Err(error) => Err(format!("not UTF-8 ({error}); another program wrote it")),
        },
        ValueRef::Null if !is_required(column) => Ok(None),
        other => Err(format!("not text but {:?}; another program wrote it", other.data_type())),
    }
}
