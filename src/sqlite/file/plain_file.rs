//! Files that are neither the database nor its log: the system's own, listed while they are open.
//!
//! Journals and temporary files of VACUUM come and go. A child that inherits one would keep its space on the disk.

use std::ffi::c_int;
use std::sync::OnceLock;

use rusqlite::ffi::{SQLITE_IOERR, SQLITE_OK, sqlite3_file, sqlite3_io_methods};

use crate::sqlite::file::gate::{FILES, Inside};
use crate::sqlite::file::open_files;

/// The system's methods for such files, and the same with another xClose. Asked for only inside the fork's gate.
static METHODS: OnceLock<(&sqlite3_io_methods, sqlite3_io_methods)> = OnceLock::new();

/// Count in a file that the system's VFS has opened with `code`.
///
/// # Safety
/// The file is what it has made of it.
pub(crate) unsafe fn count_in(file: *mut sqlite3_file, code: c_int, gate: &Inside) {
    // SAFETY: as the caller says; the tables of the system's VFS are static.
    let systems = unsafe { (*file).pMethods.as_ref() };
    let Some(systems) = systems.filter(|_| code == SQLITE_OK) else { return };
    let (known, ours) =
        METHODS.get_or_init(|| (systems, sqlite3_io_methods { xClose: Some(close), ..*systems }));
    if std::ptr::eq(*known, systems) {
        // SAFETY: as above; the file is the caller's alone.
        unsafe {
            open_files::add(file, file, gate);
            (*file).pMethods = ours;
        }
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let gate = FILES.enter();
    open_files::remove(file, &gate);
    let Some((systems, _)) = METHODS.get() else { return SQLITE_IOERR };
    // SAFETY: `count_in` found it with these methods, and SQLite closes it once.
    unsafe {
        (*file).pMethods = *systems;
        systems.xClose.map_or(SQLITE_IOERR, |close| close(file))
    }
}
