//! What is in a file, and what was done to it.
