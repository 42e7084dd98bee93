//! Lists and counts of runs and items: filters, pages, cursors.

pub(crate) mod best;
pub(crate) mod clause;
pub(crate) mod cursor;
pub(crate) mod first;
pub(crate) mod item_count;
pub(crate) mod item_count_by;
pub(crate) mod item_filter;
pub(crate) mod item_groups;
pub(crate) mod items;
pub(crate) mod order;
pub(crate) mod runs;
pub(crate) mod seek;
pub(crate) mod tally;
pub(crate) mod unordered;
