//! Where in a row of items what is.

/// The columns of [`crate::Items`] that are looked at.
pub(crate) const ITEM_ID: usize = 0;
pub(crate) const RUN_ID: usize = 1;
pub(crate) const ITEM_TYPE: usize = 2;
pub(crate) const DECISION: usize = 10;
pub(crate) const CREATED_AT: usize = 12;
