//! Which files this process has open through [`crate::sqlite::file::vfs`], so that a forked child can close them.
//!
//! The child closes each beneath the connection that has it; [`crate::sqlite::file::fork`] says why that is safe. The connection is
//! left with a file that does nothing: it can be closed, and fails in everything else.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Mutex;

use rusqlite::ffi::{
    SQLITE_IOERR, SQLITE_NOTFOUND, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods,
};

use crate::sqlite::file::gate::{FILES, Inside};
use crate::sync::lock;

/// Locked only inside the fork's gate.
static OPEN: Mutex<Vec<OpenFile>> = Mutex::new(Vec::new());

/// Our own. Locked only inside the fork's gate.
static DESCRIPTORS: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

struct OpenFile {
    /// The file as SQLite has it.
    wrapper: *mut sqlite3_file,
    /// The file of the system's VFS behind it, or the same.
    system: *mut sqlite3_file,
    /// Its own methods.
    methods: *const sqlite3_io_methods,
}

// SAFETY: the files are in SQLite's memory, and used by whoever has their connection, or by a child's only thread.
unsafe impl Send for OpenFile {}

/// Count in a file that was opened.
///
/// # Safety
/// `system` is what the system's VFS has opened.
pub(crate) unsafe fn add(wrapper: *mut sqlite3_file, system: *mut sqlite3_file, _: &Inside) {
    // SAFETY: as the caller says.
    let methods = unsafe { (*system).pMethods };
    lock(&OPEN).push(OpenFile { wrapper, system, methods });
}

/// Count out a file that is being closed.
pub(crate) fn remove(wrapper: *mut sqlite3_file, _: &Inside) {
    lock(&OPEN).retain(|open| open.wrapper != wrapper);
}

/// A descriptor of ours, beside those of SQLite's, that a forked child must not keep.
pub(crate) struct Descriptor(File);

impl Descriptor {
    /// Open a file for locks, and count it in.
    pub(crate) fn open(path: &Path, _: &Inside) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        lock(&DESCRIPTORS).push(file.as_raw_fd());
        Ok(Self(file))
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _gate = FILES.enter();
        lock(&DESCRIPTORS).retain(|open| *open != self.0.as_raw_fd());
        // A child that is forked before it is closed keeps it, and with it no lock: whoever closes has none.
    }
}

/// In a forked child, before anything else uses SQLite: close all files.
pub(crate) fn close_inherited() {
    for descriptor in std::mem::take(&mut *lock(&DESCRIPTORS)) {
        // SAFETY: what is counted in is open, and its owner in the child is never dropped.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    for OpenFile { wrapper, system, methods } in std::mem::take(&mut *lock(&OPEN)) {
        // SAFETY: what is counted in is open, and no thread is there that could be using it.
        unsafe {
            if let Some(methods) = methods.as_ref() {
                if let (2.., Some(unmap)) = (methods.iVersion, methods.xShmUnmap) {
                    unmap(system, 0);
                }
                if let Some(close) = methods.xClose {
                    close(system);
                }
            }
            (*wrapper).pMethods = &raw const CLOSED;
        }
    }
}

/// A method that does nothing but return this.
macro_rules! returning {
    ($code:expr; $($argument:ty),*) => {{
        unsafe extern "C" fn method(_: *mut sqlite3_file $(, _: $argument)*) -> c_int {
            $code
        }
        Some(method)
    }};
}

static CLOSED: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: returning!(SQLITE_OK;),
    xRead: returning!(SQLITE_IOERR; *mut c_void, c_int, sqlite3_int64),
    xWrite: returning!(SQLITE_IOERR; *const c_void, c_int, sqlite3_int64),
    xTruncate: returning!(SQLITE_IOERR; sqlite3_int64),
    xSync: returning!(SQLITE_IOERR; c_int),
    xFileSize: returning!(SQLITE_IOERR; *mut sqlite3_int64),
    xLock: returning!(SQLITE_IOERR; c_int),
    xUnlock: returning!(SQLITE_OK; c_int),
    xCheckReservedLock: returning!(SQLITE_IOERR; *mut c_int),
    xFileControl: returning!(SQLITE_NOTFOUND; c_int, *mut c_void),
    xSectorSize: returning!(4096;),
    xDeviceCharacteristics: returning!(0;),
    xShmMap: returning!(SQLITE_IOERR; c_int, c_int, c_int, *mut *mut c_void),
    xShmLock: returning!(SQLITE_IOERR; c_int, c_int, c_int),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: returning!(SQLITE_OK; c_int),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn shm_barrier(_: *mut sqlite3_file) {}
