//! The calls that delete, and that maintain the file.

mod backup;
mod check;
mod checkpoint;
mod copying;
mod prune;
mod stats;
mod vacuum;

pub use checkpoint::Checkpointed;
