//! Conditions on JSON text, without decoding it.

pub(crate) mod condition;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod order_by;
pub(crate) mod path;
pub(crate) mod text;
