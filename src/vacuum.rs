//! Giving free pages back to the file system.
