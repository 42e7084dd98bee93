//! The SQL, one file per table.

pub(crate) mod cells;
pub(crate) mod decisions;
pub(crate) mod deletion;
pub(crate) mod intel_items;
pub(crate) mod pruned;
pub(crate) mod references;
pub(crate) mod runs;
pub(crate) mod telemetry;
