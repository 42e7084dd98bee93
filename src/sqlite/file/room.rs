//! Room for changes of a `-shm`: the kernel ends by SIGBUS who changes a mapped file for which there is none.
//!
//! A file system that writes each change to another place needs room for it, also where a file gets no longer: that of a
//! commit's index, of which reader is where, of how much is checkpointed. Room may be gone again with the next write-back.
//! So the kernel is asked just before SQLite changes anything, and SQLite is told that the disk is full.

use std::ffi::{c_int, c_void};
use std::io;
use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use rusqlite::ffi::{
    SQLITE_FULL, SQLITE_IOERR, SQLITE_IOERR_SHMSIZE, SQLITE_NOMEM, SQLITE_OK, SQLITE_SHM_EXCLUSIVE,
    SQLITE_SHM_LOCK, SQLITE_SHM_UNLOCK, sqlite3_file,
};

use crate::memory;
use crate::sqlite::file::backfill::{RECOVER_LOCK, WRITE_LOCK};
use crate::sqlite::file::platform::{self, Overwrites};
use crate::sqlite::file::wal_index;

/// How long it takes at most to find room in a region where it is there, in several attempts on a machine that has other
/// work. What takes longer is the kernel's making some, by writing back what there was room for before: that needs it again
/// then.
const AT_ONCE_MICROS: [u64; 5] = [100, 200, 400, 600, 800];

/// For how long room is taken to stay between pages that belong to no commit yet.
const RECENT: Duration = Duration::from_micros(200);

/// What a connection knows of its `-shm`.
pub(crate) struct Room {
    /// Every change may need room.
    for_changes: bool,
    /// The regions by their number; null where this connection has not mapped one.
    regions: Vec<*mut c_void>,
    /// When there was room in those of a log of so many frames.
    found: Option<(Instant, u32)>,
    /// A commit is being written to the log: what fails from now on is of unknown outcome.
    commits: bool,
}

impl Room {
    /// For the `-shm` of the database at `path`.
    pub(crate) fn new(path: Option<&Path>) -> Self {
        let overwrites = path.map_or(Overwrites::InPlace, platform::overwrites);
        Self {
            for_changes: overwrites != Overwrites::InPlace,
            regions: Vec::new(),
            found: None,
            commits: false,
        }
    }

    /// SQLite has tried to map a region, and is about to write to it if it may make the file longer. Return the code for it.
    pub(crate) fn after_map(
        &mut self,
        code: c_int,
        number: c_int,
        region: *mut c_void,
        extends: bool,
    ) -> c_int {
        let lacks_room =
            || matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT));
        if code & 0xff == SQLITE_IOERR && lacks_room() {
            return self.none();
        }
        if code != SQLITE_OK || region.is_null() {
            return code;
        }
        while self.regions.len() <= number as usize {
            if memory::push(&mut self.regions, null_mut()).is_err() {
                return SQLITE_NOMEM;
            }
        }
        self.regions[number as usize] = region;
        if extends && !self.is_at_all([region].iter()) { self.none() } else { SQLITE_OK }
    }

    /// SQLite has let the `-shm` go.
    pub(crate) fn unmapped(&mut self) {
        self.regions.clear();
    }

    /// SQLite is about to take locks, or to let some go. Under those of the log it changes what is at the head; who recovers
    /// it, everything.
    pub(crate) fn before_lock(&mut self, offset: c_int, count: c_int, flags: c_int) -> c_int {
        let covers = |lock| (offset..offset + count).contains(&lock);
        if flags == SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE && covers(WRITE_LOCK) {
            self.commits = false;
        }
        if flags != SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE {
            return SQLITE_OK;
        }
        let changed = if covers(RECOVER_LOCK) { self.regions.len() } else { 1 };
        if self.is_at_all(self.regions.iter().take(changed)) { SQLITE_OK } else { self.none() }
    }

    /// Whether what all share can be changed.
    pub(crate) fn is_at_head(&self) -> bool {
        self.is_at_all(self.regions.iter().take(1))
    }

    /// Whether nothing has to be done to have room for the frames up to one.
    pub(crate) fn needs_nothing(&self, to: u32, commits: bool) -> bool {
        let is_recent = || {
            self.found.is_some_and(|(at, frames)| {
                !commits && wal_index::region_of(to) <= wal_index::region_of(frames) && at.elapsed() < RECENT
            })
        };
        let regions = self.regions.get(..=wal_index::region_of(to) as usize);
        regions.is_some_and(|regions| regions.iter().all(|region| !region.is_null()))
            && (!self.for_changes || is_recent())
    }

    /// Have room for the frames from one to another of a log, the last ones of a commit or not. Return SQLite's code.
    ///
    /// # Safety
    /// `file` is the system's file of the database, and open. The caller has the lock of a writer.
    pub(crate) unsafe fn make(
        &mut self,
        file: *mut sqlite3_file,
        from: u32,
        to: u32,
        commits: bool,
    ) -> c_int {
        let (first, last) = (wal_index::region_of(from), wal_index::region_of(to));
        for number in 0..=last {
            if self.regions.get(number as usize).is_some_and(|region| !region.is_null()) {
                continue;
            }
            // SAFETY: as the caller says.
            let (code, region) = unsafe { wal_index::map(file, number, true) };
            match self.after_map(code, number, region, true) {
                SQLITE_OK => {}
                failed => return failed,
            }
        }
        // The head is in the first one.
        let changed = self.regions.iter().take(last as usize + 1).skip(1.max(first) as usize);
        if !self.is_at_all(self.regions.iter().take(1).chain(changed)) {
            return self.none();
        }
        self.found = Some((Instant::now(), to));
        self.commits |= commits;
        SQLITE_OK
    }

    /// Whether there is room for changes of all of these regions at once.
    fn is_at_all<'a>(&self, regions: impl Iterator<Item = &'a *mut c_void> + Clone) -> bool {
        if !self.for_changes {
            return true;
        }
        for micros in AT_ONCE_MICROS {
            let mut longest = Duration::ZERO;
            for region in regions.clone().filter(|region| !region.is_null()) {
                let begun = Instant::now();
                if !platform::populate(*region, wal_index::REGION as usize) {
                    return false;
                }
                longest = longest.max(begun.elapsed());
            }
            if longest < Duration::from_micros(micros) {
                return true;
            }
        }
        false
    }

    /// What SQLite is told where there is none.
    fn none(&self) -> c_int {
        if self.commits { SQLITE_IOERR_SHMSIZE } else { SQLITE_FULL }
    }
}
