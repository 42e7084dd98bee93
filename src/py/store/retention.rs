//! The calls that delete, and that give space back.
