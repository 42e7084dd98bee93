//! The storage core of `orchestrator.state_store`: runs, intel items and telemetry in one SQLite file.
//!
//! The entry point is [`Store`]. The rooms; each imports only from those before it:
//!
//! - `error` has the errors, `memory` buffers that fail instead of aborting, `sync` locks without poison, `location`
//!   reads paths and URLs;
//! - `model` has runs, items and telemetry as text; `json` evaluates conditions on JSON text;
//! - `sqlite` is the engine: `file` opens, locks, syncs and forks; `tables` has the SQL of each table; `engine` has the
//!   queue, the writer, the readers and checkpoints; `lists` lists and counts; `upkeep` maintains a file; `calls` is
//!   the facade;
//! - `py` is the Python binding.

mod error;
mod json;
mod memory;
mod model;
#[cfg(feature = "python")]
mod py;
mod sqlite;
mod sync;

pub use error::{ErrorKind, Result, StoreError};
pub use json::condition::{Condition, Scalar, Test};
pub use json::number::Number;
pub use json::order_by::OrderBy;
pub use memory::OutOfMemory;
pub use model::caller::{Caller, Owner};
pub use model::columns::{ItemColumn, RunColumn};
pub use model::location::Location;
pub use model::rows::{Fields, IfOver, Items, NewItems, NewRun, RunEnd, Runs, Telemetry, TextRows};
pub use model::time::now;
pub use sqlite::calls::opening::Options;
pub use sqlite::calls::{Checkpointed, Store};
pub use sqlite::engine::adhoc::{Parameters, Rows};
pub use sqlite::engine::transaction::Transaction;
pub use sqlite::engine::write::ItemSlices;
pub use sqlite::file::connection::{Synchronous, check_sqlite_version, sqlite_version};
pub use sqlite::file::platform::{is_mounted_file, network_file_system};
pub use sqlite::file::trace::{Traced, TracedStatement, show_traced};
pub use sqlite::lists::best::Ranking;
pub use sqlite::lists::cursor::Position;
pub use sqlite::lists::item_filter::{Decision, ItemFilter};
pub use sqlite::lists::items::ItemList;
pub use sqlite::lists::order::Order;
pub use sqlite::lists::runs::{Prefix, RunFilter};
pub use sqlite::lists::tally::Tally;
pub use sqlite::tables::decisions::NewDecision;
pub use sqlite::tables::deletion::Deleted;
pub use sqlite::upkeep::backup::Progress;
pub use sqlite::upkeep::check::{Finding, FindingKind};
pub use sqlite::upkeep::copying::Pinned;
pub use sqlite::upkeep::prune::Prune;
pub use sqlite::upkeep::salvage::salvage;
pub use sqlite::upkeep::salvage_report::{Callbacks, Loss, Salvaged};
pub use sqlite::upkeep::stats::Stats;
pub use sqlite::upkeep::vacuum::Vacuumed;
