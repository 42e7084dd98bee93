//! Maintenance of a file: prune, recovery, vacuum, check, stats, backup, copy.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod clock;
pub(crate) mod copying;
pub(crate) mod prune;
pub(crate) mod readable;
pub(crate) mod recovery;
pub(crate) mod salvage;
pub(crate) mod salvage_copying;
pub(crate) mod salvage_opening;
pub(crate) mod salvage_report;
pub(crate) mod salvage_source;
pub(crate) mod salvage_table;
pub(crate) mod stats;
pub(crate) mod vacuum;
