//! The database file, as [`crate::sqlite::file::vfs`] has SQLite use it.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rusqlite::Connection;
use rusqlite::ffi::{self, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::error::Result;
use crate::sqlite::file::backfill::Backfill;
use crate::sqlite::file::errors;
use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::platform;
use crate::sqlite::file::room::Room;
use crate::sqlite::file::wal_index::{self, WalIndex};
use crate::sqlite::file::wrapper::{self, Opened, method, pass, pass_inside};

/// A database as SQLite holds it; the file of the system's own VFS follows it in memory.
#[repr(C)]
pub(crate) struct MainFile {
    methods: *const sqlite3_io_methods,
    /// What SQLite gave as its name.
    name: *const c_char,
    opened: Opened,
    backfill: Backfill,
    room: Room,
}

/// Set up the wrapper of a database that the system's VFS has opened with `code`.
///
/// # Safety
/// `file` has room for a [`MainFile`], and `name` is what SQLite gave `xOpen`.
pub(crate) unsafe fn wrap(file: *mut sqlite3_file, name: *const c_char, code: c_int) {
    let methods = wrapper::methods_after(code, &METHODS);
    // SAFETY: as the caller says.
    unsafe {
        let opened = Opened::new(wrapper::system_file::<MainFile>(file), name, code);
        let room = Room::new(wrapper::path(name));
        file.cast::<MainFile>().write(MainFile {
            methods,
            name,
            opened,
            backfill: Backfill::default(),
            room,
        });
    }
}

/// Have the syncs of this connection's database counted that fail.
pub(crate) fn count_failed_syncs(connection: &Connection, failed: &Arc<AtomicU64>) {
    let file = wrapper::file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER);
    // SAFETY: the file is open for as long as `connection` is borrowed, and nobody else uses it meanwhile.
    unsafe {
        if is_one(file) {
            backfill(file).count_failed(failed);
        }
    }
}

/// Map a `-shm` of this connection's database, and remove it again. The connection has all locks of a database without
/// a log, so that nobody else has one.
pub(crate) fn try_index(connection: &Connection) -> Result<()> {
    let file = wrapper::file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER);
    // SAFETY: the file is open for as long as `connection` is borrowed, and nobody else uses it meanwhile.
    let code = unsafe {
        if is_one(file) { wal_index::try_to_map(wrapper::system_file::<MainFile>(file)) } else { SQLITE_OK }
    };
    errors::checked(code)
}

/// Whether a file is a database with this wrapper.
///
/// # Safety
/// `file` is open, or null.
unsafe fn is_one(file: *const sqlite3_file) -> bool {
    // SAFETY: as the caller says.
    unsafe { file.as_ref() }.is_some_and(|file| std::ptr::eq(file.pMethods, &raw const METHODS))
}

/// Of the database that the log is of which SQLite opened by `name`: the head of its `-shm`, and whether this connection
/// keeps all others from writing.
///
/// # Safety
/// `name` is what SQLite gave `xOpen` for a log, which is open; a thread that may use it calls.
pub(crate) unsafe fn index_of_log(name: *const c_char) -> Option<(WalIndex, bool)> {
    // SAFETY: the database of an open log is open as well.
    unsafe {
        let file = ffi::sqlite3_database_file_object(name);
        if !is_one(file) {
            return None;
        }
        Some((WalIndex::of(wrapper::system_file::<MainFile>(file))?, backfill(file).is_alone()))
    }
}

/// Have room for the index of a log that SQLite opened by `name`, which gets so many frames; they are those of a commit, or
/// are written before it. Return SQLite's code.
///
/// # Safety
/// As of [`index_of_log`]. The caller has the lock of a writer.
pub(crate) unsafe fn make_room(name: *const c_char, frames: u32, commits: bool) -> c_int {
    // SAFETY: the database of an open log is open as well.
    unsafe {
        let file = ffi::sqlite3_database_file_object(name);
        if !is_one(file) {
            return SQLITE_OK;
        }
        let (system, last) = (wrapper::system_file::<MainFile>(file), frames.saturating_sub(1));
        if room(file).needs_nothing(last, commits) {
            return SQLITE_OK;
        }
        let committed = WalIndex::of(system).map_or(0, WalIndex::frames);
        room(file).make(system, committed, last, commits)
    }
}

/// # Safety
/// `open` set up `file`, and nobody else uses it meanwhile.
unsafe fn backfill<'a>(file: *mut sqlite3_file) -> &'a mut Backfill {
    // SAFETY: as the caller says.
    unsafe { &mut (*file.cast::<MainFile>()).backfill }
}

/// # Safety
/// `open` set up `file`, and nobody else uses it meanwhile.
unsafe fn room<'a>(file: *mut sqlite3_file) -> &'a mut Room {
    // SAFETY: as the caller says.
    unsafe { &mut (*file.cast::<MainFile>()).room }
}

/// # Safety
/// `open` set up `file`.
unsafe fn opened<'a>(file: *mut sqlite3_file) -> &'a Opened {
    // SAFETY: as the caller says.
    unsafe { &(*file.cast::<MainFile>()).opened }
}

/// Files are never mapped ([`crate::sqlite::file::connection`]), so that the methods that map them are left out.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(wrapper::close::<MainFile>),
    xRead: method!(pass, MainFile, xRead(to: *mut c_void, count: c_int, at: sqlite3_int64)),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: method!(pass, MainFile, xFileSize(size: *mut sqlite3_int64)),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: method!(pass_inside, MainFile, xCheckReservedLock(out: *mut c_int)),
    xFileControl: Some(file_control),
    xSectorSize: method!(pass, MainFile, xSectorSize()),
    xDeviceCharacteristics: method!(pass, MainFile, xDeviceCharacteristics()),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up.
    let (backfill, opened) = unsafe { (backfill(file), opened(file)) };
    let code = match opened.check().max(backfill.before_write()) {
        SQLITE_OK => pass!(MainFile, file, xWrite, from, count, at),
        refused => refused,
    };
    // SAFETY: as above.
    let code = unsafe { wrapper::written(wrapper::system_file::<MainFile>(file), code) };
    if code == SQLITE_OK && backfill.wrote(count, at) {
        // SAFETY: as above.
        return unsafe { sync(file, ffi::SQLITE_SYNC_NORMAL) };
    }
    code
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up.
    match unsafe { opened(file) }.check() {
        SQLITE_OK => pass!(MainFile, file, xTruncate, size),
        closed => closed,
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let code = pass!(MainFile, file, xSync, flags);
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe {
        // A checkpoint now says in the `-shm` what is in the database.
        if code == SQLITE_OK && backfill(file).is_checkpointing() && !room(file).is_at_head() {
            return ffi::SQLITE_FULL;
        }
        if backfill(file).synced(wrapper::system_file::<MainFile>(file), code) {
            let path = wrapper::path((*file.cast::<MainFile>()).name);
            path.into_iter().for_each(platform::forget_cached);
        }
    }
    code
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    let code = pass_inside!(MainFile, file, xLock, level);
    if code == SQLITE_OK {
        // SAFETY: SQLite calls this with a file that `open` set up.
        unsafe { backfill(file).locked(level) };
    }
    code
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe { backfill(file).locked(level) };
    pass_inside!(MainFile, file, xUnlock, level)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe { backfill(file).told(wrapper::system_file::<MainFile>(file), operation) };
    pass!(MainFile, file, xFileControl, operation, argument)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    let code = pass_inside!(MainFile, file, xShmMap, region, size, extend, to);
    // SAFETY: SQLite calls this with a file that `open` set up, and where it succeeded `to` has been written.
    unsafe {
        let mapped = if code == SQLITE_OK { *to } else { null_mut() };
        let code = room(file).after_map(code, region, mapped, extend != 0);
        if code != SQLITE_OK && code & 0xff != ffi::SQLITE_READONLY {
            // Who recovers a log looks at nothing but this.
            *to = null_mut();
        }
        code
    }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe { room(file).unmapped() };
    pass_inside!(MainFile, file, xShmUnmap, delete)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // Each transaction begins with such a lock.
    if flags == ffi::SQLITE_SHM_LOCK | ffi::SQLITE_SHM_SHARED
        // SAFETY: SQLite calls this with a file that `open` set up.
        && let closed @ 1.. = unsafe { opened(file) }.check()
    {
        return closed;
    }
    // SAFETY: as above.
    if let lacking @ 1.. = unsafe { room(file) }.before_lock(offset, count, flags) {
        return lacking;
    }
    // SAFETY: as above.
    unsafe { backfill(file).before_lock(wrapper::system_file::<MainFile>(file), offset, count, flags) };
    let code = pass_inside!(MainFile, file, xShmLock, offset, count, flags);
    if code == SQLITE_OK {
        // SAFETY: as above.
        unsafe { backfill(file).after_lock(offset, flags) };
    }
    code
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: SQLite calls this with a file that `open` set up.
    unsafe {
        let system = wrapper::system_file::<MainFile>(file);
        if let Some(barrier) = (*(*system).pMethods).xShmBarrier {
            let _gate = FILES.enter();
            barrier(system);
        }
        backfill(file).at_barrier(system);
    }
}
