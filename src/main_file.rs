//! The database file, as [`crate::vfs`] has SQLite use it.

use std::ffi::{c_int, c_void};

use rusqlite::ffi::{sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::vfs::{self, pass};

/// A database as SQLite holds it; the file of the system's own VFS follows it in memory.
#[repr(C)]
pub(crate) struct MainFile {
    methods: *const sqlite3_io_methods,
}

/// Set up the wrapper of a database that the system's VFS has opened with `code`.
///
/// # Safety
/// `file` has room for a [`MainFile`].
pub(crate) unsafe fn wrap(file: *mut sqlite3_file, code: c_int) {
    // SAFETY: as the caller says.
    unsafe { file.cast::<MainFile>().write(MainFile { methods: vfs::methods_after(code, &METHODS) }) };
}

/// Files are never mapped ([`crate::connection`]), so that the methods that map them are left out.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = pass!(MainFile, file, xClose);
    // SAFETY: `wrap` made it, and SQLite does not use it again.
    unsafe { file.cast::<MainFile>().drop_in_place() };
    code
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    to: *mut c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    pass!(MainFile, file, xRead, to, count, at)
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    pass!(MainFile, file, xWrite, from, count, at)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    pass!(MainFile, file, xTruncate, size)
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    pass!(MainFile, file, xSync, flags)
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    pass!(MainFile, file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(MainFile, file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(MainFile, file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    pass!(MainFile, file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    pass!(MainFile, file, xFileControl, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    pass!(MainFile, file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    pass!(MainFile, file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    pass!(MainFile, file, xShmMap, region, size, extend, to)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    pass!(MainFile, file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe {
        let system = vfs::system_file::<MainFile>(file);
        if let Some(barrier) = (*(*system).pMethods).xShmBarrier {
            barrier(system);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    pass!(MainFile, file, xShmUnmap, delete)
}
