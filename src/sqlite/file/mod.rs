//! The file: how it is opened, locked and synced, its schema, and what a fork does to it.

pub(crate) mod backfill;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod creation;
pub(crate) mod errors;
pub(crate) mod expressions;
pub(crate) mod fork;
pub(crate) mod gate;
pub(crate) mod locks;
pub(crate) mod log_doubt;
pub(crate) mod log_file;
pub(crate) mod main_file;
pub(crate) mod migrations;
pub(crate) mod open_files;
pub(crate) mod place;
pub(crate) mod plain_file;
pub(crate) mod platform;
pub(crate) mod schema;
pub(crate) mod sizes;
pub(crate) mod table;
pub(crate) mod trace;
pub(crate) mod turnstile;
pub(crate) mod vfs;
pub(crate) mod wait;
pub(crate) mod wal_index;
pub(crate) mod wrapper;
