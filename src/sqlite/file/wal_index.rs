//! The head of the `-shm`, in which all who have a file open keep what they know of its log; and the little of it that
//! is read or changed here. <https://www.sqlite.org/walformat.html#the_wal_index_file_format>

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::ffi::{SQLITE_OK, sqlite3_file};

use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::platform;

/// Bytes of a region of the `-shm`.
pub(crate) const REGION: c_int = 32 << 10;

/// Where in the first region, in words of four bytes, what is where.
mod word {
    /// How large a page is, in the second half.
    pub(super) const PAGE_SIZE: usize = 3;
    /// How many frames are committed.
    pub(super) const FRAMES: usize = 4;
    /// How many pages the database has, as of the last of them.
    pub(super) const PAGES: usize = 5;
    /// The two salts of the log.
    pub(super) const SALTS: usize = 8;
    /// How many frames count as being in the database.
    pub(super) const BACKFILL: usize = 24;
    /// How many the last checkpoint set out to bring there.
    pub(super) const ATTEMPTED: usize = 32;
    /// SQLite leaves this one unused. Ours: odd while the log is in doubt, and never the same again.
    pub(super) const DOUBT: usize = 33;
    /// Which page the first frame is of, and on.
    pub(super) const FIRST_FRAME: usize = 34;
}

/// Frames whose pages are named in the first region, and in each other one.
const FIRST_REGION_FRAMES: u32 = 4062;
const REGION_FRAMES: u32 = 4096;

/// How much of a log is committed.
#[derive(Clone, Copy)]
pub(crate) struct Committed {
    frames: u32,
    /// How many pages the database has.
    pages: u32,
}

/// The `-shm` of an open database.
#[derive(Clone, Copy)]
pub(crate) struct WalIndex {
    file: *mut sqlite3_file,
    head: *mut u32,
}

impl WalIndex {
    /// What a database file of the system's VFS has mapped; `None` where that cannot be had, or not be written to.
    ///
    /// # Safety
    /// `file` is open, and stays so for as long as this is used. It has the log open.
    pub(crate) unsafe fn of(file: *mut sqlite3_file) -> Option<Self> {
        // SAFETY: as the caller says.
        let head = unsafe { region(file, 0) }?;
        Some(Self { file, head })
    }

    /// How many frames of the log are committed.
    pub(crate) fn frames(self) -> u32 {
        self.word(word::FRAMES).load(Ordering::Acquire)
    }

    /// What tells a log from what it was before it started over.
    pub(crate) fn salts(self) -> [u32; 2] {
        [0, 1].map(|index| self.word(word::SALTS + index).load(Ordering::Acquire))
    }

    /// Bytes of a page, which SQLite keeps in 16 bits: 1 stands for 65536.
    pub(crate) fn page_size(self) -> u32 {
        let [_, _, low, high] = self.word(word::PAGE_SIZE).load(Ordering::Acquire).to_ne_bytes();
        match u16::from_ne_bytes([low, high]) {
            1 => 1 << 16,
            size => size.into(),
        }
    }

    /// The committed part of the log. The caller keeps it from changing, or knows that it has not changed.
    pub(crate) fn committed(self) -> Committed {
        Committed { frames: self.frames(), pages: self.word(word::PAGES).load(Ordering::Acquire) }
    }

    /// Whether the checkpoint that has begun is to bring all that is committed into the database.
    pub(crate) fn is_to_be_whole(self, committed: Committed) -> bool {
        self.word(word::ATTEMPTED).load(Ordering::Acquire) == committed.frames
    }

    /// The last page that the checkpoint that has begun writes, 0 for none. SQLite writes them in their order, each as of
    /// its last frame, and leaves out those that are beyond the database's end, or that have a frame which must stay in
    /// the log. `None` where this cannot be found out.
    pub(crate) fn last_page(self, committed: Committed) -> Option<u32> {
        let from = self.word(word::BACKFILL).load(Ordering::Acquire);
        let to = self.word(word::ATTEMPTED).load(Ordering::Acquire);
        let mut stay = Vec::new();
        stay.try_reserve_exact(committed.frames.saturating_sub(to) as usize).ok()?;
        for frame in to..committed.frames {
            stay.push(self.page_of(frame)?);
        }
        stay.sort_unstable();
        let mut last = 0;
        for frame in from..to {
            let page = self.page_of(frame)?;
            if page > last && page <= committed.pages && stay.binary_search(&page).is_err() {
                last = page;
            }
        }
        Some(last)
    }

    /// Which page a frame is of; they are counted from 0 here.
    fn page_of(self, frame: u32) -> Option<u32> {
        let Some(beyond) = frame.checked_sub(FIRST_REGION_FRAMES) else {
            return Some(self.word(word::FIRST_FRAME + frame as usize).load(Ordering::Relaxed));
        };
        let number = region_of(frame);
        // SAFETY: the file is open. A region has room for more words than frames.
        unsafe {
            let region = region(self.file, number)?;
            Some(*region.add((beyond % REGION_FRAMES) as usize))
        }
    }

    /// How many frames count as being in the database.
    pub(crate) fn backfill(self) -> u32 {
        self.word(word::BACKFILL).load(Ordering::Acquire)
    }

    /// Have no frame count as being in the database: the next checkpoint brings them all there. This is right at any
    /// time for whoever holds the locks of a checkpoint, the first of the readers' included. Readers look frames up
    /// from where it was when they began; the log cannot start over; and what is written again is what is there.
    ///
    /// Return whether that is so: there may be no room for a change.
    pub(crate) fn forget_backfill(self) -> bool {
        if self.backfill() == 0 {
            return true;
        }
        let has_room = self.has_room();
        if has_room {
            self.word(word::BACKFILL).store(0, Ordering::Release);
        }
        has_room
    }

    /// Have the log be in doubt: whether what is committed is on disk is not known. Return whether that is so: there may be
    /// no room for the mark.
    pub(crate) fn doubt(self) -> bool {
        let has_room = self.has_room();
        if has_room {
            let next = |doubt: u32| Some(doubt.wrapping_add(if doubt.is_multiple_of(2) { 1 } else { 2 }));
            let _ = self.word(word::DOUBT).fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        }
        has_room
    }

    /// The doubt about the log, if there is one.
    pub(crate) fn doubted(self) -> Option<u32> {
        Some(self.word(word::DOUBT).load(Ordering::Acquire)).filter(|doubt| doubt % 2 == 1)
    }

    /// End a doubt, unless there is another meanwhile, or no room: what is on disk is written once more then.
    pub(crate) fn trust(self, doubt: u32) {
        if !self.has_room() {
            return;
        }
        let to = doubt.wrapping_add(1);
        let _ = self.word(word::DOUBT).compare_exchange(doubt, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether there is room for a change of what all share.
    fn has_room(self) -> bool {
        platform::populate(self.head.cast(), REGION as usize)
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the first region is mapped for as long as the file has its log open, and holds that many words. It is
        // aligned to a page. Others, SQLite's included, load and store its words as a whole.
        unsafe { AtomicU32::from_ptr(self.head.add(index)) }
    }
}

/// Make and map a `-shm`, and remove it again; return SQLite's code.
///
/// # Safety
/// `file` is open and nobody else uses it meanwhile. It has no log, nor has any other who has the database open.
pub(crate) unsafe fn try_to_map(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as the caller says.
    unsafe {
        let (code, _) = map(file, 0, true);
        let _gate = FILES.enter();
        code.max((*(*file).pMethods).xShmUnmap.map_or(SQLITE_OK, |unmap| unmap(file, 1)))
    }
}

/// In which region a frame is named; they are counted from 0 here.
pub(crate) fn region_of(frame: u32) -> c_int {
    frame.checked_sub(FIRST_REGION_FRAMES).map_or(0, |beyond| (1 + beyond / REGION_FRAMES).cast_signed())
}

/// Map a region, and make the file that long if it `extends` it; return SQLite's code and where it is.
///
/// # Safety
/// `file` is a file of the system's VFS, and open.
pub(crate) unsafe fn map(file: *mut sqlite3_file, number: c_int, extends: bool) -> (c_int, *mut c_void) {
    let mut mapped: *mut c_void = std::ptr::null_mut();
    // SAFETY: as the caller says; `mapped` outlives the call. A file without such a method has no log.
    let code = unsafe {
        let _gate = FILES.enter();
        let map = (*(*file).pMethods).xShmMap;
        map.map_or(SQLITE_OK, |map| map(file, number, REGION, extends.into(), &raw mut mapped))
    };
    (code, mapped)
}

/// # Safety
/// As [`WalIndex::of`].
unsafe fn region(file: *mut sqlite3_file, number: c_int) -> Option<*mut u32> {
    // SAFETY: as the caller says.
    let (code, mapped) = unsafe { map(file, number, false) };
    (code == SQLITE_OK && !mapped.is_null()).then_some(mapped.cast())
}
