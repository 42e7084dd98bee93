//! The SQLite engine. Each room may import those before it: `file`, `tables`, `engine`, `lists`, `upkeep`, `calls`.

pub(crate) mod calls;
pub(crate) mod engine;
pub(crate) mod file;
pub(crate) mod lists;
pub(crate) mod tables;
pub(crate) mod upkeep;
