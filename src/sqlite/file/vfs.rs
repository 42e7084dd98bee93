//! The SQLite VFS of every connection to a file: the system's own, with some of its files wrapped.
//!
//! A wrapper is a struct that begins with SQLite's table of methods; the file of the system's own VFS follows it in
//! memory. [`crate::sqlite::file::main_file`] wraps the database, [`crate::sqlite::file::log_file`] its write-ahead log; all others are the system's,
//! but for [`crate::sqlite::file::plain_file`].

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use rusqlite::ffi::{self, SQLITE_OK, SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_vfs};

use crate::sqlite::file::gate::{FILES, Inside};
use crate::sqlite::file::log_file::{self, LogFile};
use crate::sqlite::file::main_file::{self, MainFile};
use crate::sqlite::file::open_files;
use crate::sqlite::file::plain_file;
use crate::sqlite::file::platform;
use crate::sqlite::file::wrapper::system_file;

/// What the VFS is called.
const NAME: &CStr = c"orchestrator";

/// The name of the VFS, registered when first asked for; `None` leaves connections with the system's own.
pub(crate) fn name() -> Option<&'static CStr> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    REGISTERED.get_or_init(register).then_some(NAME)
}

fn register() -> bool {
    // SAFETY: the default VFS is never unregistered. The copy is leaked, as SQLite keeps a pointer to it; all of its
    // functions but `xOpen` are those of the default VFS and rely on nothing but `pAppData`, which is copied.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        if system.is_null() {
            return false;
        }
        let vfs = Box::leak(Box::new(*system));
        vfs.zName = NAME.as_ptr();
        vfs.szOsFile += size_of::<LogFile>().max(size_of::<MainFile>()) as c_int;
        vfs.xOpen = Some(open);
        vfs.pNext = std::ptr::null_mut();
        ffi::sqlite3_vfs_register(vfs, 0) == SQLITE_OK
    }
}

/// # Safety
/// As `sqlite3_vfs.xOpen`: `file` has room for `szOsFile` bytes.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: the default VFS was found when this one was registered, and there is room for a wrapper and its file.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let Some(open) = (*system).xOpen else { return ffi::SQLITE_CANTOPEN };
        // Opening a FIFO would wait without end, and every fork for whoever is inside the gate.
        if !name.is_null() && platform::is_irregular(CStr::from_ptr(name)) {
            (*file).pMethods = std::ptr::null();
            return ffi::SQLITE_CANTOPEN;
        }
        let gate = FILES.enter();
        if flags & SQLITE_OPEN_MAIN_DB != 0 {
            let code = open(system, name, system_file::<MainFile>(file), flags, out_flags);
            main_file::wrap(file, name, code);
            count_in(file, system_file::<MainFile>(file), code, &gate);
            return code;
        }
        if flags & SQLITE_OPEN_WAL != 0 {
            let code = open(system, name, system_file::<LogFile>(file), flags, out_flags);
            log_file::wrap(file, name, code);
            count_in(file, system_file::<LogFile>(file), code, &gate);
            return code;
        }
        let code = open(system, name, file, flags, out_flags);
        plain_file::count_in(file, code, &gate);
        code
    }
}

/// # Safety
/// `system` is what the system's VFS has opened with `code`.
unsafe fn count_in(wrapper: *mut sqlite3_file, system: *mut sqlite3_file, code: c_int, gate: &Inside) {
    if code == SQLITE_OK {
        // SAFETY: as the caller says.
        unsafe { open_files::add(wrapper, system, gate) };
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::sync::mpsc;
    use std::time::Duration;

    use crate::error::ErrorKind;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::trace::Trace;

    /// As where it was put into the place of a file that is open.
    #[test]
    fn a_fifo_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the name ends in NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let (told, hear) = mpsc::channel();
        std::thread::spawn(move || {
            told.send(connection::open_reader(&path, &Trace::default()).map(drop)).unwrap();
        });
        let opened = hear.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(opened.unwrap_err().kind, ErrorKind::CannotOpen);
    }
}
