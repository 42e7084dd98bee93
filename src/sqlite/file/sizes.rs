//! Sizes of a database and of its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{ErrorKind, Result, StoreError};

/// What SQLite puts beside a database that is open, or was not closed.
pub(crate) const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Refuse what is no regular file, in the place of a database or beside it: a FIFO is waited for without end, and a
/// device takes whatever is written.
pub(crate) fn refuse_irregular(path: &Path) -> Result<()> {
    for suffix in [""].iter().chain(&BESIDE) {
        let file = beside(path, suffix);
        let Ok(found) = fs::metadata(&file) else { continue };
        let what = match (found.is_file(), found.is_dir()) {
            (true, _) => continue,
            (_, true) => "a folder",
            _ => "no regular file, but a FIFO, a socket or a device",
        };
        let which = if suffix.is_empty() { "it".to_owned() } else { file.display().to_string() };
        return Err(StoreError::new(ErrorKind::CannotOpen, format!("{which} is {what}")));
    }
    Ok(())
}

/// The file beside `path` that has this suffix.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

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

/// By what a change of the file with this suffix is detected: its size and the time of its last write. `None` if there
/// is none.
pub(crate) fn stamp(path: &Path, suffix: &str) -> Option<(u64, SystemTime)> {
    let file = fs::metadata(beside(path, suffix)).ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// The size of the file with this suffix; 0 if there is none.
pub(crate) fn size(path: &Path, suffix: &str) -> u64 {
    fs::metadata(beside(path, suffix)).map_or(0, |metadata| metadata.len())
}
