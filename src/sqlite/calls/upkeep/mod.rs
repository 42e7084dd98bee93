//! The calls that delete, and that maintain the file.

mod backup;
mod check;
mod checkpoint;
mod prune;
mod stats;
mod vacuum;

pub use checkpoint::Checkpointed;
