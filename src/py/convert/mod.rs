//! Conversion between Python's objects and the rows of the core.

pub(super) mod conversion;
pub(super) mod escape;
pub(super) mod item;
pub(super) mod item_selection;
pub(super) mod json;
mod json_writer;
pub(super) mod large_json;
mod mapping;
pub(super) mod plain;
pub(super) mod run;
pub(super) mod values;
