//! Locks that a `close` elsewhere in the process cannot drop.
//!
//! SQLite's own locks are POSIX locks, which belong to the process: when anything in it closes any descriptor of the
//! file, all of them are gone (<https://www.sqlite.org/howtocorrupt.html#posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
//! A second copy of SQLite (Python's `sqlite3`) that is closed would then take itself for the last one on the file,
//! and delete the log that a store is still writing to: what is acknowledged from then on is lost, silently.
//!
//! Here every lock becomes an open file description lock, which belongs to the descriptor that took it. No close but
//! its own drops it, it stands against POSIX locks, be they of this process or of others, and a second copy of SQLite
//! is thus as far away as one in another process (<https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html>).
//! Only Linux has them; elsewhere, and on file systems without them, SQLite's own locks stay.
//!
//! SQLite counts on a process's locks being one set, whatever descriptor asks. It has one descriptor for a `-shm`, but
//! one a connection for the database, so that all requests for a database go to the descriptor that got the shared
//! lock. SQLite does not close that one while any connection of the process holds a lock
//! (<https://www.sqlite.org/src/file/src/os_unix.c>, "Posix Advisory Locking").
//!
//! A child shares its parent's descriptors, and could unlock what the parent has locked: see [`keeping_locks`].

#[cfg(target_os = "linux")]
pub(crate) use linux::{give_turn_back, install, keeping_locks, take_turn, taken_turn};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_int;
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, Once};

    use libc::{F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_SETLK, F_UNLCK, flock};
    use rusqlite::ffi;

    use crate::sqlite::file::platform::{self, FileId};
    use crate::sync::lock;

    /// The first byte that SQLite locks in a database; what it locks in a `-shm` is far below.
    /// <https://www.sqlite.org/fileformat2.html#the_lock_byte_page>
    const PENDING_BYTE: i64 = 0x4000_0000;

    /// Where the bytes begin that are locked for as long as any connection is on the database.
    const SHARED_FIRST: i64 = PENDING_BYTE + 2;

    /// By database, the descriptor that holds its locks. Locked only within what the VFS does inside the fork's gate.
    static HOLDERS: Mutex<Vec<(FileId, c_int)>> = Mutex::new(Vec::new());

    /// The first of the bytes of a log that are locked by those in line to write ([`crate::sqlite::file::turnstile`]).
    const TURN_BYTE: i64 = PENDING_BYTE + 1024;

    /// Inherited files are being closed: no lock is changed.
    static LETTING_GO: AtomicBool = AtomicBool::new(false);

    /// Have SQLite lock through here. Before it opens any file.
    pub(crate) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the default VFS is never unregistered, and calls `fcntl` with a descriptor, a command and an int
            // or a pointer. On the systems that Linux runs on these are passed alike to a variadic function and to one
            // that takes as many arguments.
            unsafe {
                let system = ffi::sqlite3_vfs_find(std::ptr::null());
                type Fcntl = unsafe extern "C" fn(c_int, c_int, *mut flock) -> c_int;
                let replacement = std::mem::transmute::<Fcntl, unsafe extern "C" fn()>(fcntl);
                if let Some(set) = system.as_ref().and_then(|system| system.xSetSystemCall) {
                    set(system, c"fcntl".as_ptr(), Some(replacement));
                }
            }
        });
    }

    /// In a forked child: do `close`, which closes every inherited file, without changing any lock. The parent
    /// holds them by the same descriptors, and an unlocking here would unlock them there; closing does not.
    pub(crate) fn keeping_locks(close: impl FnOnce()) {
        LETTING_GO.store(true, Ordering::Relaxed);
        close();
        LETTING_GO.store(false, Ordering::Relaxed);
        lock(&HOLDERS).clear();
    }

    /// A place among these in the line at a log that another descriptor has; not always the first such.
    pub(crate) fn taken_turn(log: c_int, places: Range<i64>) -> Option<i64> {
        let mut request = turn(libc::F_WRLCK, places.start, places.end - places.start);
        // A length of 0 would mean all bytes from there on.
        // SAFETY: the lock outlives the call.
        let done = !places.is_empty() && unsafe { libc::fcntl(log, F_OFD_GETLK, &raw mut request) == 0 };
        (done && c_int::from(request.l_type) != F_UNLCK)
            .then(|| (request.l_start - TURN_BYTE).max(places.start))
    }

    /// Lock a place in the line at a log by this descriptor, unless it is locked.
    pub(crate) fn take_turn(log: c_int, place: i64) -> bool {
        set_turn(log, libc::F_WRLCK, place)
    }

    /// Unlock it.
    pub(crate) fn give_turn_back(log: c_int, place: i64) {
        set_turn(log, F_UNLCK, place);
    }

    fn set_turn(log: c_int, kind: c_int, place: i64) -> bool {
        let mut request = turn(kind, place, 1);
        // SAFETY: the lock outlives the call.
        unsafe { libc::fcntl(log, F_OFD_SETLK, &raw mut request) == 0 }
    }

    fn turn(kind: c_int, place: i64, l_len: i64) -> flock {
        let l_whence = libc::SEEK_SET as i16;
        flock { l_type: kind as i16, l_whence, l_start: TURN_BYTE + place, l_len, l_pid: 0 }
    }

    /// # Safety
    /// As fcntl(2); with F_SETLK and F_GETLK `argument` points to a lock.
    unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut flock) -> c_int {
        // SAFETY: the caller keeps to fcntl's contract.
        unsafe {
            match command {
                F_SETLK if LETTING_GO.load(Ordering::Relaxed) => 0,
                F_SETLK => set_lock(fd, &mut *argument),
                F_GETLK => call(holder(fd, &*argument).1, F_OFD_GETLK, &mut *argument),
                _ => libc::fcntl(fd, command, argument),
            }
        }
    }

    /// Take or drop a lock, and remember who holds those of a database.
    fn set_lock(fd: c_int, request: &mut flock) -> c_int {
        let (database, holder) = holder(fd, request);
        let done = call(holder, F_OFD_SETLK, request);
        if let (Some(database), 0) = (database, done) {
            match (c_int::from(request.l_type), request.l_start) {
                (F_UNLCK, 0) => lock(&HOLDERS).retain(|(file, _)| *file != database),
                (kind, SHARED_FIRST) if kind != F_UNLCK && !is_held(database) => {
                    lock(&HOLDERS).push((database, holder));
                }
                _ => {}
            }
        }
        done
    }

    /// Which database a lock is asked for, if for any, and the descriptor to ask with.
    fn holder(fd: c_int, request: &flock) -> (Option<FileId>, c_int) {
        // A database is unlocked as a whole: from 0 to the end, which is written as 0.
        let is_in_shm = request.l_len != 0 && request.l_start < PENDING_BYTE;
        let database = if is_in_shm { None } else { platform::descriptor_id(fd) };
        let holder = database.and_then(|database| {
            lock(&HOLDERS).iter().find(|(file, _)| *file == database).map(|held| held.1)
        });
        (database, holder.unwrap_or(fd))
    }

    fn is_held(database: FileId) -> bool {
        lock(&HOLDERS).iter().any(|(file, _)| *file == database)
    }

    /// Ask for an open file description lock, or for SQLite's own kind if there is no such lock.
    fn call(fd: c_int, command: c_int, request: &mut flock) -> c_int {
        // The kernel refuses a lock of this kind that names a process.
        request.l_pid = 0;
        // SAFETY: the lock outlives the call.
        unsafe {
            let done = libc::fcntl(fd, command, &raw mut *request);
            if done == 0 || *libc::__errno_location() != libc::EINVAL {
                return done;
            }
            libc::fcntl(fd, if command == F_OFD_SETLK { F_SETLK } else { F_GETLK }, &raw mut *request)
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs::File;
        use std::os::fd::AsRawFd;
        use std::path::Path;

        use rusqlite::Connection;

        use super::*;

        /// What kind of lock keeps a stranger, in this process or another, from the whole database.
        fn lock_against_strangers(path: &Path) -> c_int {
            let stranger = File::open(path).unwrap();
            let mut request = flock {
                l_type: libc::F_WRLCK as i16,
                l_whence: libc::SEEK_SET as i16,
                l_start: SHARED_FIRST,
                l_len: 510,
                l_pid: 0,
            };
            assert_eq!(call(stranger.as_raw_fd(), F_OFD_GETLK, &mut request), 0);
            c_int::from(request.l_type)
        }

        #[test]
        fn locks_outlive_other_closes_and_end_with_the_last_connection() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.db");
            install();
            let open = || {
                let connection = Connection::open(&path).unwrap();
                connection
                    .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t(x)")
                    .unwrap();
                connection
            };
            let (first, second) = (open(), open());
            drop(first);
            drop(File::open(&path).unwrap());
            assert_eq!(lock_against_strangers(&path), libc::F_RDLCK);
            second.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            drop(second);
            assert_eq!(lock_against_strangers(&path), F_UNLCK);
            assert!(!folder.path().join("t.db-wal").exists());
            assert_eq!(platform::file_id(&path).map(is_held), Some(false));
        }
    }
}

/// Elsewhere than on Linux SQLite keeps its own locks.
#[cfg(not(target_os = "linux"))]
pub(crate) fn install() {}

/// Elsewhere than on Linux no lock is shared with the parent.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keeping_locks(close: impl FnOnce()) {
    close();
}

/// Elsewhere than on Linux there are no turns.
#[cfg(not(target_os = "linux"))]
pub(crate) fn taken_turn(_: std::ffi::c_int, _: std::ops::Range<i64>) -> Option<i64> {
    None
}

/// Elsewhere than on Linux there are no turns.
#[cfg(not(target_os = "linux"))]
pub(crate) fn take_turn(_: std::ffi::c_int, _: i64) -> bool {
    false
}

/// Elsewhere than on Linux there are no turns.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_turn_back(_: std::ffi::c_int, _: i64) {}
