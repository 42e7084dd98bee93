//! What runs, items and telemetry are, as text; who asks, and until when.

pub(crate) mod caller;
pub(crate) mod columns;
pub(crate) mod rows;
pub(crate) mod time;
