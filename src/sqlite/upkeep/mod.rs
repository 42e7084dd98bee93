//! Looking after a file: pruning, recovery, vacuum, checks, figures, copies.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod prune;
pub(crate) mod recovery;
pub(crate) mod stats;
pub(crate) mod vacuum;
