//! The calls that look after the file.
