//! What the wrappers of SQLite's files have in common: the file of the system's own VFS follows each in memory.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use rusqlite::Connection;
use rusqlite::ffi::{self, SQLITE_IOERR_VNODE, SQLITE_OK, sqlite3_file, sqlite3_io_methods};

use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::open_files;
use crate::sqlite::file::platform::{self, FileId};

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

/// The descriptor of an open file, and what it was opened on.
///
/// Other code of the process may close it by mistake: twice what it had once, or all that there are, as some daemons do.
/// Whatever is opened next has its number then, and would be written to.
pub(crate) struct Opened {
    descriptor: c_int,
    id: Option<FileId>,
}

/// How SQLite's `unixFile` begins. Nothing that is documented tells the descriptor.
#[repr(C)]
struct UnixFile {
    pointers: [*const c_void; 3],
    descriptor: c_int,
}

impl Opened {
    /// What the system's VFS has just opened by `name`, with `code`.
    ///
    /// # Safety
    /// `system` is the file of the system's VFS, and `name` what it was given.
    pub(crate) unsafe fn new(system: *const sqlite3_file, name: *const c_char, code: c_int) -> Self {
        if code != SQLITE_OK {
            return Self { descriptor: -1, id: None };
        }
        // SAFETY: as the caller says. A number that is no descriptor, or another's, is not one on this file.
        let (descriptor, path) = unsafe { ((*system.cast::<UnixFile>()).descriptor, path(name)) };
        let id =
            path.and_then(platform::file_id).filter(|id| platform::descriptor_id(descriptor) == Some(*id));
        Self { descriptor, id }
    }

    /// Fail if the descriptor is not on this file any more.
    pub(crate) fn check(&self) -> c_int {
        let is_other = self.id.is_some() && platform::descriptor_id(self.descriptor) != self.id;
        if is_other { SQLITE_IOERR_VNODE } else { SQLITE_OK }
    }

    /// The size of the file, where its descriptor is known.
    pub(crate) fn size(&self) -> Option<i64> {
        self.id.and_then(|_| platform::size(self.descriptor))
    }
}

/// What a write came to. Where a quota is used up there is no room: SQLite has a name for that of a full disk only.
///
/// # Safety
/// `system` is the file of the system's VFS that was written to, and open.
pub(crate) unsafe fn written(system: *mut sqlite3_file, code: c_int) -> c_int {
    let mut reason: c_int = 0;
    // SAFETY: as the caller says, and the operation writes one number.
    unsafe {
        if code == ffi::SQLITE_IOERR_WRITE
            && let Some(control) = (*(*system).pMethods).xFileControl
        {
            control(system, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut reason).cast());
        }
    }
    if reason == libc::EDQUOT { ffi::SQLITE_FULL } else { code }
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
