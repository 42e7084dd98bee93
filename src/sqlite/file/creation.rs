//! What an opening makes (the file, and the folders above it), and what it leaves where it fails: nothing, and the
//! system's reason, which SQLite keeps to itself.

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::connection;
use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::platform;
use crate::sqlite::file::sizes::{self, BESIDE, beside};
use crate::sqlite::file::trace::Trace;
use crate::sync::lock;

/// The longest path, in bytes, that SQLite takes for a database: it has to find room for `-journal` in 512.
const LONGEST_PATH: usize = 504;

/// How many descriptors an opening needs at once: for the file, its log and the log's index.
const DESCRIPTORS: usize = 3;

/// What an opening has made.
#[derive(Default)]
pub(crate) struct Made {
    folders: Vec<PathBuf>,
    file: Option<PathBuf>,
}

impl Made {
    /// Create `path` with exactly these permission bits, and the missing folders above it for their owner alone, unless
    /// they are there already. Each folder is synced into its own.
    pub(crate) fn create(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let missing: Vec<_> = path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(folder) {
                Ok(()) => {
                    self.folders.push(folder.to_owned());
                    platform::sync_parent(folder)?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        self.create_file(path, mode)
    }

    /// Where there is no [`crate::sqlite::file::locks`], closing a descriptor drops all of the process's locks on the file.
    /// So no store may open the file between the creation and the close: each comes through here first, one at a time.
    fn create_file(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let created = {
            let _gate = FILES.enter();
            let _one = lock(&ONE_AT_A_TIME);
            platform::create_new(path, mode).map(drop)
        };
        match created {
            // SQLite syncs the folder with the journal of the first write.
            Ok(()) => {
                self.file = Some(path.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Remove what was made, but for what others have begun to use.
    pub(crate) fn undo(self) {
        // What cannot be removed safely is left: an empty file is opened as a new one.
        let _ = self.file.as_deref().map(remove_unwritten);
        for folder in self.folders.iter().rev() {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Remove a database that nothing was written to. SQLite's lock keeps others from writing to it meanwhile: who waits for
/// it finds out that its file is gone before it acknowledges anything.
fn remove_unwritten(path: &Path) -> Result<()> {
    let connection = connection::open_file(path, &Trace::default())?;
    // A journal would be a file beside it, which another process may be making at the same time.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    if fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        let _ = fs::remove_file(path);
    }
    connection.execute_batch("ROLLBACK")?;
    Ok(())
}

/// Fail where SQLite would once the file is there: before anything is made.
pub(crate) fn foresee(path: &Path) -> io::Result<()> {
    let held: io::Result<Vec<_>> = (0..DESCRIPTORS).map(|_| File::open("/")).collect();
    match held {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => return Err(error),
        _ => {}
    }
    for suffix in BESIDE {
        match fs::symlink_metadata(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let bytes = canonical(path).as_os_str().len();
    if bytes > LONGEST_PATH {
        let what = format!("the path has {bytes} bytes, and SQLite takes {LONGEST_PATH} at most");
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, what));
    }
    Ok(())
}

/// The same error with the system's reason in the place of SQLite's words, where it has one.
pub(crate) fn explain(error: StoreError, path: &Path, read_only: bool) -> StoreError {
    let (ErrorKind::CannotOpen | ErrorKind::ReadOnly, Some(code)) = (error.kind, error.sqlite_code) else {
        return error;
    };
    match foresee(path).and_then(|()| allow(path, read_only)) {
        Ok(()) => error,
        Err(reason) if reason.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::reported(ErrorKind::CannotOpen, code, reason)
        }
        Err(reason) => StoreError::reported(error.kind, code, reason),
    }
}

/// Fail where the system does not allow what a store does with its files.
fn allow(path: &Path, read_only: bool) -> io::Result<()> {
    let wanted = if read_only { libc::R_OK } else { libc::R_OK | libc::W_OK };
    access(path.as_os_str(), wanted)?;
    let needs_index = !sizes::log_is_empty(path) && !beside(path, "-shm").exists();
    if let (Some(folder), true) = (path.parent(), !read_only || needs_index) {
        let about = |error| io::Error::other(format!("{}: {error}", folder.display()));
        access(folder.as_os_str(), libc::W_OK | libc::X_OK).map_err(about)?;
    }
    for suffix in BESIDE {
        let file = beside(path, suffix);
        let about = |error| io::Error::other(format!("{}: {error}", file.display()));
        match access(file.as_os_str(), wanted) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about(error)),
            _ => {}
        }
    }
    Ok(())
}

fn access(path: &OsStr, wanted: libc::c_int) -> io::Result<()> {
    let path = CString::new(path.as_bytes())?;
    // SAFETY: `path` ends in NUL.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), wanted, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the canonical path will be once the missing folders are there.
fn canonical(path: &Path) -> PathBuf {
    let there = path.ancestors().skip(1).find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    match there.and_then(|(folder, canonical)| Some(canonical.join(path.strip_prefix(folder).ok()?))) {
        Some(canonical) => canonical,
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_new_file_has_exactly_its_mode_and_an_old_one_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/file");
        Made::default().create(&path, 0o666).unwrap();
        let mut made = Made::default();
        made.create(&path, 0o600).unwrap();
        made.undo();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    }

    #[test]
    fn what_was_made_is_removed_unless_somebody_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/file");
        let mut made = Made::default();
        made.create(&path, 0o600).unwrap();
        let other = connection::open_file(&path, &Trace::default()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        made.undo();
        assert!(path.exists(), "removed under the lock of another one");
        other.execute_batch("COMMIT").unwrap();
        drop(other);
        let written = fs::metadata(&path).unwrap().len();
        let made = Made { file: Some(path.clone()), folders: vec![path.parent().unwrap().to_owned()] };
        made.undo();
        assert_eq!(path.exists(), written > 0, "an empty file is removed, and no other");
        fs::write(folder.path().join("written"), b"x").unwrap();
        Made { file: Some(folder.path().join("written")), folders: Vec::new() }.undo();
        assert!(folder.path().join("written").exists());
    }
}
