//! Deleting runs, with all that belongs to them.
