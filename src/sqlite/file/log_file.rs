//! The write-ahead log, as [`crate::sqlite::file::vfs`] has SQLite write it: each commit in one system call.
//!
//! SQLite writes a page to the log as two short writes, a header of 24 bytes and the page, and a commit as a series
//! of them. Here they are gathered and written together when the commit's last frame comes. The order of the bytes
//! in the file, and what is in it when SQLite syncs it or tells other connections of a commit, stay the same:
//!
//! - a frame whose header names the size of the database ends a commit
//!   (<https://www.sqlite.org/fileformat2.html#wal_file_format>), and is written through with all before it, so that
//!   its write reports whatever failed;
//! - only what continues the last write is gathered; anything else, what there is no memory for, and every other
//!   operation on the file first writes what was gathered.
//!
//! Where each commit is synced, zeros are written behind one that makes the file longer ([`AHEAD`]), unless what is
//! written over them would go to another place anyway.
//!
//! What is lost with a process that dies is thus never more than the frames of a transaction that had not committed.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::ffi::{self, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::error::Result;
use crate::memory;
use crate::sqlite::file::log_doubt;
use crate::sqlite::file::main_file;
use crate::sqlite::file::platform::{self, Overwrites};
use crate::sqlite::file::wrapper::{self, Opened, method, pass};

/// Bytes of a frame's header.
const HEADER: usize = 24;

/// Bytes of the smallest page.
const SMALLEST_PAGE: usize = 512;

/// Bytes from which what was gathered is written. With the largest page on top it stays under the 128 KiB that
/// SQLite's own VFS takes at once.
const GATHERED: usize = 60 << 10;

/// Bytes of zeros behind a commit that makes the file longer. A sync that has to record the size of a file waits for the
/// journal of the file system as well, which takes half as long again, and much longer where others write to the disk.
/// So the next commits overwrite what is there. To SQLite zeros are no frame, as what an older log leaves is none.
const AHEAD: i64 = 5 * GATHERED as i64;

/// A log as SQLite holds it; the file of the system's own VFS follows it in memory.
#[repr(C)]
pub(crate) struct LogFile {
    methods: *const sqlite3_io_methods,
    gathered: Vec<u8>,
    /// Where in the file what was gathered begins.
    start: i64,
    /// Where the last write ended.
    end: i64,
    /// Something was written since the last sync.
    unsynced: bool,
    /// Whether the last commit was synced; `None` before the first.
    commit_is_synced: Option<bool>,
    /// The file is known to be as long.
    length: i64,
    /// What the file system does with what is written over something.
    overwrites: Overwrites,
    /// Bytes of a page; 0 until one is written.
    page: usize,
    /// The log is in doubt, and there was no room for the mark.
    doubts: bool,
    /// Which log was last synced with success, and up to where.
    synced: Option<([u32; 2], u64)>,
    /// The last header was that of a commit's last frame.
    commits: bool,
    /// What SQLite gave as its name.
    name: *const c_char,
    opened: Opened,
    /// Who counts the syncs, and those that fail.
    syncs: Option<Arc<AtomicU64>>,
    failed: Option<Arc<AtomicU64>>,
}

impl LogFile {
    /// How many frames are written.
    fn frames(&self) -> u32 {
        let frames = self.end.unsigned_abs() / (HEADER + self.page) as u64;
        u32::try_from(frames).unwrap_or(u32::MAX)
    }
}

/// Set up the wrapper of a log that the system's VFS has opened with `code`.
///
/// # Safety
/// `file` has room for a [`LogFile`], and `name` is what SQLite gave `xOpen`.
pub(crate) unsafe fn wrap(file: *mut sqlite3_file, name: *const c_char, code: c_int) {
    let methods = wrapper::methods_after(code, &METHODS);
    let gathered = Vec::new();
    // SAFETY: as the caller says.
    let (opened, path) =
        unsafe { (Opened::new(wrapper::system_file::<LogFile>(file), name, code), wrapper::path(name)) };
    let log = LogFile {
        methods,
        gathered,
        start: 0,
        end: 0,
        commits: false,
        name,
        opened,
        unsynced: false,
        commit_is_synced: None,
        length: 0,
        overwrites: path.map_or(Overwrites::InPlace, platform::overwrites),
        page: 0,
        syncs: None,
        failed: None,
        synced: None,
        doubts: false,
    };
    // SAFETY: as the caller says.
    unsafe { file.cast::<LogFile>().write(log) };
}

/// Have the syncs of this connection's log counted, and those that fail. SQLite opens the log with the first read.
pub(crate) fn count_syncs(
    connection: &Connection,
    syncs: &Arc<AtomicU64>,
    failed: &Arc<AtomicU64>,
) -> Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let log = wrapper::file_of(connection, ffi::SQLITE_FCNTL_JOURNAL_POINTER).cast::<LogFile>();
    // SAFETY: the log is open for as long as `connection` is borrowed, and nobody else uses it meanwhile. One with these
    // methods is one that `open` set up.
    if let Some(log) = unsafe { log.as_mut() }
        && std::ptr::eq(log.methods, &raw const METHODS)
    {
        log.syncs = Some(Arc::clone(syncs));
        log.failed = Some(Arc::clone(failed));
    }
    Ok(())
}

/// Call a method of the system's file, after writing what was gathered.
macro_rules! flush_and_pass {
    ($wrapper:ty, $file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls this with a file that `open` set up.
        match unsafe { flush($file) } {
            SQLITE_OK => pass!($wrapper, $file, $method $(, $argument)*),
            failed => failed,
        }
    }};
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    // What is gathered here belongs to no commit.
    xClose: Some(wrapper::close::<LogFile>),
    xRead: method!(flush_and_pass, LogFile, xRead(to: *mut c_void, count: c_int, at: sqlite3_int64)),
    xWrite: Some(write),
    xTruncate: method!(flush_and_pass, LogFile, xTruncate(size: sqlite3_int64)),
    xSync: Some(sync),
    xFileSize: method!(flush_and_pass, LogFile, xFileSize(size: *mut sqlite3_int64)),
    xLock: method!(pass, LogFile, xLock(level: c_int)),
    xUnlock: method!(pass, LogFile, xUnlock(level: c_int)),
    xCheckReservedLock: method!(pass, LogFile, xCheckReservedLock(out: *mut c_int)),
    xFileControl: method!(flush_and_pass, LogFile, xFileControl(operation: c_int, argument: *mut c_void)),
    xSectorSize: method!(pass, LogFile, xSectorSize()),
    xDeviceCharacteristics: method!(pass, LogFile, xDeviceCharacteristics()),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up, and with `count` bytes at `from`.
    let (log, bytes) = unsafe {
        (&mut *file.cast::<LogFile>(), std::slice::from_raw_parts(from.cast::<u8>(), count as usize))
    };
    let continues = at == log.end;
    if let (HEADER, [_, _, _, _, size @ ..]) = (bytes.len(), bytes) {
        log.commits = size[..4] != [0; 4];
    }
    log.end = at + i64::from(count);
    log.unsynced = true;
    if at == 0 {
        // It starts over, and may have been cut.
        log.length = 0;
    }
    let is_page = bytes.len() >= SMALLEST_PAGE;
    let commit_is_whole = log.commits && is_page;
    log.page = if is_page { bytes.len() } else { log.page };
    // SQLite adds each page that it writes to the index. A commit that is in the log and cannot be added would be found by
    // the next opening.
    if is_page && (commit_is_whole || log.overwrites != Overwrites::InPlace) {
        // SAFETY: as above. SQLite has the write lock.
        let room = unsafe { main_file::make_room(log.name, log.frames(), commit_is_whole) };
        if room != SQLITE_OK {
            log.gathered.clear();
            return room;
        }
    }
    if !continues {
        return write_through(file, from, count, at);
    }
    if log.gathered.is_empty() {
        log.start = at;
    }
    if memory::append(&mut log.gathered, bytes).is_err() {
        return write_through(file, from, count, at);
    }
    if !commit_is_whole && log.gathered.len() < GATHERED {
        return SQLITE_OK;
    }
    // SAFETY: as above; `log` is not used again.
    unsafe {
        let code = flush(file);
        if code != SQLITE_OK || !commit_is_whole {
            return code;
        }
        write_ahead(file);
        still_has_room(file)
    }
}

/// Write what does not continue what was gathered.
fn write_through(file: *mut sqlite3_file, from: *const c_void, count: c_int, at: sqlite3_int64) -> c_int {
    let code = flush_and_pass!(LogFile, file, xWrite, from, count, at);
    // SAFETY: the caller has a file that `open` set up.
    unsafe { wrapper::written(wrapper::system_file::<LogFile>(file), code) }
}

/// Have room in the index, still: what is written and synced may take what room there was. Where there is none, cut off
/// the commit that is written. Whether it is gone from the disk as well is unknown.
unsafe fn still_has_room(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the caller has a file that `open` set up, and SQLite the write lock.
    unsafe {
        let log = &mut *file.cast::<LogFile>();
        let code = main_file::make_room(log.name, log.frames(), true);
        if code != SQLITE_OK
            && let Some((index, true)) = main_file::index_of_log(log.name)
        {
            log_doubt::cut_off_the_rest(wrapper::system_file::<LogFile>(file), index);
            log.synced = None;
        }
        code
    }
}

/// Write zeros behind a commit, if it has made the file longer and each is synced. SQLite has its write lock, and nothing
/// is behind the commit. Where zeros cannot be written, for want of room say, commits go on without.
unsafe fn write_ahead(file: *mut sqlite3_file) {
    // SAFETY: the caller has a file that `open` set up.
    let log = unsafe { &mut *file.cast::<LogFile>() };
    let is_synced = log.commit_is_synced.replace(false) == Some(true);
    if !is_synced || log.end <= log.length || log.overwrites == Overwrites::Elsewhere {
        return;
    }
    log.length = log.opened.size().unwrap_or(i64::MAX);
    if log.length == log.end && log.gathered.try_reserve(GATHERED).is_ok() {
        log.gathered.resize(GATHERED, 0);
        let zeros = log.gathered.as_ptr().cast();
        let mut end = log.end;
        while end < log.end + AHEAD
            && pass!(LogFile, file, xWrite, zeros, GATHERED as c_int, end) == SQLITE_OK
        {
            end += GATHERED as i64;
        }
        log.length = end;
        if end < log.end + AHEAD {
            // What room there is may be needed for this very commit; it is not tried again before the log starts over.
            let _ = pass!(LogFile, file, xTruncate, log.end);
            log.length = i64::MAX;
        }
        log.gathered.clear();
    }
}

/// Write what was gathered, unless the file is not the log any more.
unsafe fn flush(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the caller has a file that `open` set up.
    unsafe {
        let log = &mut *file.cast::<LogFile>();
        let code = log.opened.check();
        if log.gathered.is_empty() || code != SQLITE_OK {
            log.gathered.clear();
            return code;
        }
        let system = wrapper::system_file::<LogFile>(file);
        let Some(write) = (*(*system).pMethods).xWrite else { return ffi::SQLITE_IOERR };
        let code = write(system, log.gathered.as_ptr().cast(), log.gathered.len() as c_int, log.start);
        log.gathered.clear();
        wrapper::written(system, code)
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file that `open` set up, and the name is valid for as long as that is open.
    let log = unsafe { &mut *file.cast::<LogFile>() };
    // SAFETY: as above.
    let index = unsafe { main_file::index_of_log(log.name) };
    log.commit_is_synced = log.commit_is_synced.map(|_| true);
    let written = if std::mem::take(&mut log.unsynced) { log.end.unsigned_abs() } else { 0 };
    let to_sync = index.map(|(index, _)| (index.salts(), log_doubt::end(index).max(written)));
    if let Some(syncs) = &log.syncs {
        syncs.fetch_add(1, Ordering::Relaxed);
    }
    let is_ours = log.opened.check() == SQLITE_OK;
    let doubt = index.filter(|_| is_ours).map(|(index, _)| (index, index.doubted()));
    let doubt = doubt.filter(|(_, doubted)| log.doubts || doubted.is_some());
    // SAFETY: as above.
    let again = doubt
        .map(|(index, _)| unsafe { log_doubt::write_again(wrapper::system_file::<LogFile>(file), index) });
    let code = match again {
        Some(Err(code)) => code,
        None | Some(Ok(())) => flush_and_pass!(LogFile, file, xSync, flags),
    };
    // SAFETY: as above; what was borrowed before is not used again, since `flush` borrows it as well.
    let log = unsafe { &mut *file.cast::<LogFile>() };
    if code == SQLITE_OK {
        if let Some((index, Some(doubt))) = doubt {
            index.trust(doubt);
        }
        log.synced = to_sync;
        log.doubts = false;
        let has_committed = log.page > 0 && log.frames() > 0 && index.is_some_and(|(_, is_alone)| is_alone);
        // SAFETY: as above. Who keeps all others from writing has just committed, or is about to checkpoint: not more than the
        // header is there else.
        return if has_committed { unsafe { still_has_room(file) } } else { code };
    }
    if let Some(failed) = &log.failed {
        failed.fetch_add(1, Ordering::Relaxed);
    }
    if let Some((index, is_alone)) = index {
        let is_on_disk = |(salts, end)| salts == index.salts() && end >= log_doubt::end(index);
        if !log.synced.is_some_and(is_on_disk) {
            log.doubts = !index.doubt();
        }
        if is_alone && is_ours {
            // SAFETY: as above.
            unsafe { log_doubt::cut_off_the_rest(wrapper::system_file::<LogFile>(file), index) };
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, OpenFlags};

    use super::*;
    use crate::sqlite::file::vfs;

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    /// Commits, rollbacks and savepoints, of transactions that do and that do not spill into the log before they
    /// end; after each, a connection that does without this VFS sees exactly what was committed.
    #[test]
    fn every_commit_is_whole_in_the_file_when_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let ours =
            Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), vfs::name().unwrap()).unwrap();
        ours.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA cache_size = 10; CREATE TABLE t(x)",
        )
        .unwrap();
        let plain = Connection::open(&path).unwrap();
        let insert = |rows: usize| {
            let many = "INSERT INTO t SELECT randomblob(2000) FROM (WITH RECURSIVE n(i) AS
                (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n)";
            ours.execute(many, [i64::try_from(rows).unwrap()]).unwrap()
        };
        let mut expected = 0;
        for rows in [1, 300, 2, 40, 1000, 1] {
            ours.execute_batch("BEGIN; SAVEPOINT s").unwrap();
            insert(rows);
            ours.execute_batch("ROLLBACK TO s; UPDATE t SET x = zeroblob(1500) WHERE rowid % 3 = 0").unwrap();
            insert(rows);
            assert_eq!(count(&ours), expected + i64::try_from(rows).unwrap());
            assert_eq!(count(&plain), expected);
            if rows == 40 {
                ours.execute_batch("ROLLBACK").unwrap();
            } else {
                ours.execute_batch("COMMIT").unwrap();
                expected += i64::try_from(rows).unwrap();
            }
            assert_eq!(count(&plain), expected);
            if rows == 2 {
                ours.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
            }
        }
        let copy = folder.path().join("copy.db");
        for suffix in ["", "-wal"] {
            let from =
                |path: &std::path::Path| std::path::PathBuf::from(format!("{}{suffix}", path.display()));
            std::fs::copy(from(&path), from(&copy)).unwrap();
        }
        let recovered = Connection::open(&copy).unwrap();
        assert_eq!(count(&recovered), expected);
        let sound: String = recovered.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }

    /// Two connections commit by turns. Each commit is in the file when it returns, whatever was written ahead behind the
    /// one before; and where each is synced, few of them make the file longer.
    #[test]
    fn commits_that_are_synced_seldom_make_the_file_longer() {
        for (synchronous, few) in [("FULL", true), ("NORMAL", false)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.db");
            let open = |vfs| {
                let connection =
                    Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), vfs).unwrap();
                let settings = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}");
                connection.execute_batch(&settings).unwrap();
                connection
            };
            let ours = vfs::name().unwrap();
            let (first, second, plain) = (open(ours), open(ours), open(c"unix"));
            first.execute_batch("CREATE TABLE t(x)").unwrap();
            let mut sizes = std::collections::HashSet::new();
            for number in 1..=100 {
                let writer = [&first, &second][number % 2];
                writer.execute("INSERT INTO t VALUES (randomblob(5000))", []).unwrap();
                assert_eq!(usize::try_from(count(&plain)).unwrap(), number);
                sizes.insert(std::fs::metadata(folder.path().join("t.db-wal")).unwrap().len());
            }
            assert_eq!(sizes.len() <= 10, few, "{synchronous}: {sizes:?}");
            let sound: String = plain.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(sound, "ok");
        }
    }

    #[test]
    fn syncs_are_counted_for_the_connection_that_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let open = || {
            let flags = OpenFlags::default();
            let connection = Connection::open_with_flags_and_vfs(&path, flags, vfs::name().unwrap()).unwrap();
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").unwrap();
            connection
        };
        let (counted, other) = (open(), open());
        let syncs = Arc::default();
        count_syncs(&counted, &syncs, &Arc::default()).unwrap();
        counted.execute_batch("CREATE TABLE t(x)").unwrap();
        for connection in [&counted, &other, &counted] {
            connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        }
        assert_eq!(syncs.load(Ordering::Relaxed), 4, "one for the log's own header");
    }
}
