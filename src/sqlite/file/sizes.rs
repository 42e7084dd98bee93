//! Sizes of a database and of its log.

use std::fs;
use std::path::Path;

/// Whether all that was committed is in the database itself: neither log nor rollback journal holds anything.
pub(crate) fn is_settled(path: &Path) -> bool {
    log_is_empty(path) && is_empty(path, "-journal")
}

/// Whether the log beside `path` is absent or empty.
pub(crate) fn log_is_empty(path: &Path) -> bool {
    is_empty(path, "-wal")
}

fn is_empty(path: &Path, suffix: &str) -> bool {
    size(path, suffix) == 0
}

/// The size of the file with this suffix; 0 if there is none.
pub(crate) fn size(path: &Path, suffix: &str) -> u64 {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    fs::metadata(beside).map_or(0, |metadata| metadata.len())
}
