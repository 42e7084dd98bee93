//! Logs in doubt: after a failed sync a log may not be on disk, whatever a later sync reports.
//!
//! Linux treats the pages of a failed write-back as clean (<https://lwn.net/Articles/752063/>). SQLite writes a commit
//! whose sync failed again, as the next one takes its place; but other commits can be in the log that were never synced
//! by themselves: those of `synchronous="NORMAL"`, and those that were found in it after a crash. Once a checkpoint has
//! brought some of their pages into the database, a power cut would leave it torn.
//!
//! So a log is in doubt ([`WalIndex::doubt`], for all processes) from a failed sync, or from its recovery, until all
//! that is committed in it was written again and synced. Lost frames are not checkpointed, and no commit is added after
//! them.

use std::ffi::c_int;

use rusqlite::ffi::{
    SQLITE_FULL, SQLITE_IOERR, SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_WRITE, SQLITE_NOMEM, SQLITE_OK,
    sqlite3_file,
};

use crate::sqlite::file::wal_index::WalIndex;

/// Bytes of the log's header, and of that of each frame.
/// <https://www.sqlite.org/fileformat2.html#wal_file_format>
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Bytes that are read and written at once: fewer than the 128 KiB that SQLite's own VFS takes.
const AT_ONCE: usize = 120 << 10;

/// Where in a log what is committed ends.
pub(crate) fn end(index: WalIndex) -> u64 {
    match u64::from(index.frames()) {
        0 => 0,
        frames => LOG_HEADER as u64 + frames * (FRAME_HEADER as u64 + u64::from(index.page_size())),
    }
}

/// After a commit whose sync failed, which is rolled back: cut the log off where what is committed ends, so that the next
/// commit is written as something new ([`platform::forget_cached`](crate::sqlite::file::platform::forget_cached) says
/// why). What is only dropped from memory may stay there: while somebody reads a committed frame, the memory around it is
/// in use. The caller keeps all others from writing, and nobody reads beyond what is committed.
///
/// # Safety
/// `file` is the log's file of the system's VFS, and open.
pub(crate) unsafe fn cut_off_the_rest(file: *mut sqlite3_file, index: WalIndex) {
    // SAFETY: as the caller says. Where it fails, what is there is overwritten.
    unsafe {
        if let Some(truncate) = (*(*file).pMethods).xTruncate {
            truncate(file, end(index) as i64);
        }
    }
}

/// Write again what is committed in a log, as far as it is what its checksums say. The caller is about to sync the log
/// and keeps it from starting over: no one else writes to these frames.
///
/// # Safety
/// `file` is the log's file of the system's VFS, and open.
pub(crate) unsafe fn write_again(file: *mut sqlite3_file, index: WalIndex) -> Result<(), c_int> {
    let frames = index.frames();
    if frames == 0 {
        return Ok(());
    }
    let mut header = [0; LOG_HEADER];
    // SAFETY: as the caller says.
    unsafe { read(file, &mut header, 0) }?;
    let mut sum = Checksum { big_endian: header[3] & 1 == 1, words: [0; 2] };
    sum.add(&header[..24]);
    let page_size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if sum.bytes() != header[24..] || !(512..=65536).contains(&page_size) {
        return Err(SQLITE_IOERR_CORRUPTFS);
    }
    // SAFETY: as above.
    unsafe { write(file, &header, 0) }?;
    let size = FRAME_HEADER + page_size;
    let at_once = (AT_ONCE / size).max(1);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(at_once * size).map_err(|_| SQLITE_NOMEM)?;
    buffer.resize(at_once * size, 0);
    let (mut at, mut left) = (LOG_HEADER as u64, frames as usize);
    while left > 0 {
        let part = &mut buffer[..at_once.min(left) * size];
        // SAFETY: as above.
        unsafe { read(file, part, at) }?;
        for frame in part.chunks_exact(size) {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            if frame[8..16] != header[16..24] || sum.bytes() != frame[16..24] {
                return Err(SQLITE_IOERR_CORRUPTFS);
            }
        }
        // SAFETY: as above.
        unsafe { write(file, part, at) }?;
        at += part.len() as u64;
        left -= part.len() / size;
    }
    Ok(())
}

/// SQLite's checksum of a log. <https://www.sqlite.org/fileformat2.html#checksum_algorithm>
struct Checksum {
    big_endian: bool,
    words: [u32; 2],
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.words;
        let word = |bytes: &[u8]| match (self.big_endian, bytes) {
            (true, &[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
            (false, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        };
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(&pair[..4])).wrapping_add(second);
            second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
        }
        self.words = [first, second];
    }

    fn bytes(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.words[0].to_be_bytes());
        bytes[4..].copy_from_slice(&self.words[1].to_be_bytes());
        bytes
    }
}

/// # Safety
/// `file` is open.
unsafe fn read(file: *mut sqlite3_file, to: &mut [u8], at: u64) -> Result<(), c_int> {
    // SAFETY: as the caller says; there is room for as many bytes.
    unsafe {
        let read = (*(*file).pMethods).xRead.ok_or(SQLITE_IOERR)?;
        done(read(file, to.as_mut_ptr().cast(), to.len() as c_int, at as i64))
    }
}

/// # Safety
/// `file` is open.
unsafe fn write(file: *mut sqlite3_file, from: &[u8], at: u64) -> Result<(), c_int> {
    // SAFETY: as the caller says; there are as many bytes.
    unsafe {
        let write = (*(*file).pMethods).xWrite.ok_or(SQLITE_IOERR)?;
        match write(file, from.as_ptr().cast(), from.len() as c_int, at as i64) {
            // A full disk stands for nothing written, and the commit is in the log.
            SQLITE_FULL => Err(SQLITE_IOERR_WRITE),
            code => done(code),
        }
    }
}

fn done(code: c_int) -> Result<(), c_int> {
    if code == SQLITE_OK { Ok(()) } else { Err(code) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rusqlite::{Connection, OpenFlags, ffi};

    use super::*;
    use crate::sqlite::file::main_file::MainFile;
    use crate::sqlite::file::{vfs, wrapper};

    fn index(connection: &Connection) -> WalIndex {
        let file = wrapper::file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER);
        // SAFETY: it is one of ours, and open.
        unsafe { WalIndex::of(wrapper::system_file::<MainFile>(file)).unwrap() }
    }

    #[test]
    fn a_doubt_ends_with_the_next_sync_if_all_is_there() {
        crate::sqlite::file::locks::install();
        for page_size in [512, 4096, 65536] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.db");
            let flags = OpenFlags::default();
            let open = || Connection::open_with_flags_and_vfs(&path, flags, vfs::name().unwrap()).unwrap();
            let ours = open();
            let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t(x)";
            ours.execute_batch(&format!("PRAGMA page_size = {page_size}; {setup}")).unwrap();
            let insert = || ours.execute("INSERT INTO t VALUES (randomblob(5000))", []);
            insert().unwrap();
            let index = index(&ours);
            assert_eq!(index.doubted(), None);
            index.doubt();
            let first = index.doubted().unwrap();
            index.doubt();
            index.trust(first);
            assert!(index.doubted().is_some(), "a doubt that came meanwhile has ended");
            let log = folder.path().join("t.db-wal");
            let mut before = std::fs::read(&log).unwrap();
            before.truncate(usize::try_from(end(index)).unwrap());
            insert().unwrap();
            assert_eq!(index.doubted(), None);
            assert!(std::fs::read(&log).unwrap().starts_with(&before));

            index.doubt();
            let file = std::fs::File::options().write(true).open(&log).unwrap();
            file.write_all_at(&[!before[100]], 100).unwrap();
            let failed = insert().unwrap_err().sqlite_error().unwrap().extended_code;
            assert_eq!(failed, SQLITE_IOERR_CORRUPTFS);
            assert!(index.doubted().is_some());
            file.write_all_at(&before[100..=100], 100).unwrap();
            insert().unwrap();
            assert_eq!(index.doubted(), None);

            // A log that a crash has left is in doubt, too.
            let copy = tempfile::tempdir().unwrap();
            for name in ["t.db", "t.db-wal"] {
                std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
            let found =
                Connection::open_with_flags_and_vfs(copy.path().join("t.db"), flags, vfs::name().unwrap())
                    .unwrap();
            found.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
            assert!(self::index(&found).doubted().is_some());
        }
    }
}
