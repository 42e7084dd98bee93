//! Runs, items and telemetry as text; the caller; where a store is.

pub(crate) mod caller;
pub(crate) mod columns;
pub(crate) mod location;
pub(crate) mod rows;
pub(crate) mod time;
