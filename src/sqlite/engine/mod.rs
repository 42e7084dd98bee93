//! The queue, the writer, transactions, the reader pool, checkpoints, heartbeats.

pub(crate) mod adhoc;
pub(crate) mod background;
pub(crate) mod checkpointer;
pub(crate) mod commit;
pub(crate) mod counters;
pub(crate) mod heartbeats;
pub(crate) mod holders;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod schema_watch;
pub(crate) mod slot;
pub(crate) mod transaction;
pub(crate) mod worker;
pub(crate) mod write;
pub(crate) mod writer;
pub(crate) mod written_file;
