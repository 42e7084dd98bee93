//! Runs, items and telemetry as text; the caller.

pub(crate) mod caller;
pub(crate) mod columns;
pub(crate) mod rows;
pub(crate) mod time;
