//! The storage core of `orchestrator.state_store`: runs, intel items and telemetry in one SQLite file.
//!
//! [`Store`] is the way in. The modules, from the file up:
//!
//! - `connection` opens SQLite, `vfs` its files: `main_file` the database, `log_file` its log, `plain_file` all others;
//!   `backfill` and `log_doubt` see to it that nothing counts that a failed sync has lost, `wal_index` is where that is
//!   kept; `migrations` has the schema, `platform` the operating system, `fork` forks, for which `open_files` knows what
//!   is open; `side_thread` works for a call;
//! - `model` has the data, `runs`, `intel_items` and `telemetry` the SQL of a table each, `sql` binds;
//! - `write` is a write that can be done for another thread, `queue` who may write next, `wait` until when;
//! - `writer` groups and commits, `transaction` nests, `checkpoint` folds the log,
//!   `pool` reads, `query` reads ad hoc;
//! - `run_list` lists and counts runs, `item_list` lists items and `item_count` counts them, `item_filter` says which,
//!   `item_groups` merges what one index has apart, `cursor` pages lists, `condition` asks of JSON what `json_path`
//!   finds in a `json_text` and `json_number` compares;
//! - `decisions` changes what was decided, `heartbeat` tells who is alive, `recovery` finishes who is not;
//! - `retention` says which runs are to go, `deletion` deletes them, `references` knows which tables of the user's own
//!   may forbid it;
//! - `backup` copies, `vacuum` gives space back, `check` and `stats` look at the file;
//! - `location` reads a path or URL, `opening` finds and judges a file, `store` is the facade, `error` what can go
//!   wrong, `py` the Python binding.

mod backfill;
mod backup;
mod check;
mod checkpoint;
mod condition;
mod connection;
mod cursor;
mod decisions;
mod deletion;
mod error;
mod fork;
mod guard;
mod heartbeat;
mod intel_items;
mod item_count;
mod item_filter;
mod item_groups;
mod item_list;
mod json_number;
mod json_path;
mod json_text;
mod location;
mod log_doubt;
mod log_file;
mod main_file;
mod migrations;
mod model;
mod open_files;
mod opening;
mod place;
mod plain_file;
mod platform;
mod pool;
#[cfg(feature = "python")]
mod py;
mod query;
mod queue;
mod recovery;
mod references;
mod retention;
mod run_list;
mod runs;
mod side_thread;
mod sql;
mod stats;
mod store;
mod sync;
mod telemetry;
mod transaction;
mod vacuum;
mod vfs;
mod wait;
mod wal_index;
mod write;
mod writer;

pub use backup::Progress;
pub use check::{Finding, FindingKind};
pub use condition::{Condition, Scalar, Test};
pub use connection::{Synchronous, check_sqlite_version};
pub use cursor::Position;
pub use decisions::NewDecision;
pub use deletion::Deleted;
pub use error::{ErrorKind, Result, StoreError};
pub use item_filter::{Decision, ItemFilter};
pub use item_list::{ItemList, Slice};
pub use json_number::Number;
pub use location::Location;
pub use model::{
    Fields, ITEM_COLUMNS, IfOver, Items, NewItems, NewRun, RUN_COLUMNS, RunEnd, Runs, Telemetry, TextRows,
    now,
};
pub use opening::Options;
pub use platform::{is_mounted_file, network_file_system};
pub use query::{Parameters, Rows, Stop};
pub use retention::Prune;
pub use run_list::RunFilter;
pub use stats::Stats;
pub use store::{Checkpointed, Store};
pub use transaction::Transaction;
pub use vacuum::Vacuumed;
pub use wait::{Caller, Owner};
pub use write::ItemSlices;
