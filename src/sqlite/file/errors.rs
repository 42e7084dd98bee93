//! Conversion of SQLite's errors to the core's.

use std::ffi::{CStr, c_int};

use rusqlite::ffi;

use crate::error::{ErrorKind, Result, StoreError, cut};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, code) = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                (kind_of(failure.extended_code), Some(failure.extended_code))
            }
            rusqlite::Error::SqlInputError { error, .. } => {
                (kind_of(error.extended_code), Some(error.extended_code))
            }
            rusqlite::Error::InvalidParameterCount(..)
            | rusqlite::Error::InvalidParameterName(_)
            | rusqlite::Error::MultipleStatement => (ErrorKind::Query, None),
            rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..) => (ErrorKind::CorruptDatabase, None),
            _ => (ErrorKind::Other, None),
        };
        let message = match error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message,
            rusqlite::Error::SqliteFailure(failure, None) => text_of(failure.extended_code),
            rusqlite::Error::SqlInputError { msg, .. } => msg,
            rusqlite::Error::MultipleStatement => "one statement at a time".to_owned(),
            other => other.to_string(),
        };
        // A user's own table refers to columns that are not a key: SQLite refuses each statement that would use them.
        let mismatch = code == Some(ffi::SQLITE_ERROR) && message.starts_with("foreign key mismatch");
        let kind = if mismatch { ErrorKind::InvalidValue } else { kind };
        // It may quote what a caller wrote, of whatever length.
        let mut error = Self::new(kind, cut(message));
        error.sqlite_code = code;
        if code == Some(ffi::SQLITE_TOOBIG) {
            // <https://www.sqlite.org/limits.html#max_length>
            return error.note("a row of SQLite holds at most 1,000,000,000 bytes");
        }
        if code == Some(ffi::SQLITE_IOERR_CORRUPTFS) {
            // It cannot be read, or its log is not what its checksums say, as `log_doubt` found.
            return error.note(
                "the disk does not give back what was written to the file or to its log, and trying again may never help: close every store on it, copy it with its -wal, and open a new store",
            );
        }
        if code == Some(ffi::SQLITE_IOERR_SHMMAP) {
            return error.note(
                "its -shm cannot be mapped into memory: there is none left, or the file system does not let processes share it, as FUSE and 9p may not; keep the file on a local disk",
            );
        }
        if error.is_of_descriptor() {
            return error.note(
                "other code of this process has closed the store's file by its descriptor (os.closerange, or a second os.close of one number); close the store and open a new one",
            );
        }
        error
    }
}

/// What a function of SQLite's has returned, as a result.
pub(crate) fn checked(code: c_int) -> Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()),
    }
}

/// SQLite's words for a code. <https://www.sqlite.org/c3ref/errcode.html>
fn text_of(code: c_int) -> String {
    // SAFETY: the answer to any code is a text that is never freed.
    unsafe { CStr::from_ptr(ffi::sqlite3_errstr(code)) }.to_string_lossy().into_owned()
}

fn kind_of(extended_code: c_int) -> ErrorKind {
    match extended_code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => ErrorKind::StoreBusy,
        ffi::SQLITE_FULL => ErrorKind::DiskFull,
        ffi::SQLITE_IOERR if extended_code == ffi::SQLITE_IOERR_NOMEM => ErrorKind::OutOfMemory,
        ffi::SQLITE_IOERR => ErrorKind::StorageIO,
        ffi::SQLITE_NOMEM => ErrorKind::OutOfMemory,
        ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => ErrorKind::CannotOpen,
        ffi::SQLITE_READONLY if extended_code == ffi::SQLITE_READONLY_DBMOVED => ErrorKind::FileMoved,
        ffi::SQLITE_READONLY | ffi::SQLITE_AUTH => ErrorKind::ReadOnly,
        ffi::SQLITE_CORRUPT => ErrorKind::CorruptDatabase,
        ffi::SQLITE_NOTADB => ErrorKind::NotADatabase,
        ffi::SQLITE_INTERRUPT => ErrorKind::Interrupted,
        ffi::SQLITE_TOOBIG => ErrorKind::InvalidValue,
        // Our constraints are checked before, so this is one that a user has added to the file.
        ffi::SQLITE_CONSTRAINT => ErrorKind::InvalidValue,
        // Our own statements are right, so that what SQLite cannot make of them is what somebody did to the schema.
        ffi::SQLITE_ERROR => ErrorKind::ForeignDatabase,
        _ => ErrorKind::Other,
    }
}

impl StoreError {
    /// Whether a constraint forbids it.
    pub(crate) fn is_of_constraint(&self) -> bool {
        self.sqlite_code.is_some_and(|code| code & 0xff == ffi::SQLITE_CONSTRAINT)
    }

    /// Whether the descriptor of the file or of its log is not theirs any more, which is found before it is used.
    pub(crate) fn is_of_descriptor(&self) -> bool {
        self.sqlite_code == Some(ffi::SQLITE_IOERR_VNODE)
    }

    /// Whether SQLite cannot make anything of the statement in this file.
    pub(crate) fn is_of_schema(&self) -> bool {
        self.sqlite_code.is_some_and(|code| code & 0xff == ffi::SQLITE_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_codes_are_kept() {
        let failure = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None);
        let error = StoreError::from(failure);
        assert_eq!(error.kind, ErrorKind::StorageIO);
        assert_eq!(error.sqlite_code, Some(ffi::SQLITE_IOERR_FSYNC));
        assert_eq!(error.to_string(), "disk I/O error");
    }

    #[test]
    fn a_file_system_without_shared_memory_is_named() {
        let failure = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_SHMMAP), None);
        assert!(StoreError::from(failure).to_string().ends_with("keep the file on a local disk"));
    }
}
