//! What the wrappers of SQLite's files have in common: the file of the system's own VFS follows each in memory.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use rusqlite::Connection;
use rusqlite::ffi::{self, SQLITE_OK, sqlite3_file, sqlite3_io_methods};

use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::open_files;

/// The path that SQLite opened a file by.
///
/// # Safety
/// `name` is what SQLite gave `xOpen` for a file that is open, or null.
pub(crate) unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: as the caller says; SQLite keeps it for as long as the file is open.
    (!name.is_null()).then(|| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

/// The file of a connection's database that this operation names; null where there is none.
/// <https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>
pub(crate) fn file_of(connection: &Connection, operation: c_int) -> *mut sqlite3_file {
    let mut file: *mut sqlite3_file = null_mut();
    // SAFETY: the handle is open for as long as `connection` is borrowed, and the operation writes one pointer.
    unsafe {
        ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), operation, (&raw mut file).cast())
    };
    file
}

/// The methods of a wrapper, whose file was opened with `code`: SQLite closes no file without methods.
pub(crate) fn methods_after(code: c_int, methods: &'static sqlite3_io_methods) -> *const sqlite3_io_methods {
    if code == SQLITE_OK { methods } else { std::ptr::null() }
}

/// The file of the system's VFS, behind a wrapper.
///
/// # Safety
/// [`crate::sqlite::file::vfs`] was given `file`, so that there is room for both.
pub(crate) unsafe fn system_file<Wrapper>(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: as the caller says.
    unsafe { file.cast::<Wrapper>().add(1).cast() }
}

/// Call a method of the system's file behind a wrapper.
macro_rules! pass {
    ($wrapper:ty, $file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls this with a file that `open` set up, and with arguments as the method wants them.
        unsafe {
            let system = $crate::sqlite::file::wrapper::system_file::<$wrapper>($file);
            (*(*system).pMethods).$method
                .map_or(rusqlite::ffi::SQLITE_IOERR, |method| method(system $(, $argument)*))
        }
    }};
}

/// As [`pass`], for what touches anything that files of the system's VFS share: inside the fork's gate.
macro_rules! pass_inside {
    ($wrapper:ty, $file:expr, $method:ident $(, $argument:expr)*) => {{
        let _gate = $crate::sqlite::file::gate::FILES.enter();
        $crate::sqlite::file::wrapper::pass!($wrapper, $file, $method $(, $argument)*)
    }};
}

/// A method of a wrapper that calls the system's by one of these macros.
macro_rules! method {
    ($how:ident, $wrapper:ty, $method:ident($($argument:ident: $type:ty),*)) => {{
        unsafe extern "C" fn method(file: *mut sqlite3_file $(, $argument: $type)*) -> c_int {
            $how!($wrapper, file, $method $(, $argument)*)
        }
        Some(method)
    }};
}

pub(crate) use {method, pass, pass_inside};

/// `xClose` of a wrapper.
pub(crate) unsafe extern "C" fn close<Wrapper>(file: *mut sqlite3_file) -> c_int {
    let gate = FILES.enter();
    open_files::remove(file, &gate);
    let code = pass!(Wrapper, file, xClose);
    // SAFETY: `wrap` made it, and SQLite does not use it again.
    unsafe { file.cast::<Wrapper>().drop_in_place() };
    code
}
