//! Where a page of a list ended, as text that nobody need understand, and that nobody can change unnoticed.
