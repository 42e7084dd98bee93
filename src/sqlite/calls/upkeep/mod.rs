//! The calls that look after the file, and that delete.

mod backup;
mod check;
mod checkpoint;
mod prune;
mod stats;
mod vacuum;

pub use checkpoint::Checkpointed;
