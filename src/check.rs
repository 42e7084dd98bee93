//! Looking for what is wrong with a file.
