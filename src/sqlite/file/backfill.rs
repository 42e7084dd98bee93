//! Checkpoints that sync: no frame of the log counts as checkpointed before the database was synced.
//!
//! Linux reports a failed write-back once to each open file, and then treats the pages as clean
//! (<https://lwn.net/Articles/752063/>): a later sync that succeeds proves nothing about them. SQLite syncs the
//! database only at the end of a checkpoint of the whole log. One of a part counts its frames as checkpointed all the
//! same, and if the sync at the end of another one fails, the next attempt writes the rest only, succeeds, and the log
//! starts over: the pages of the failed sync are lost.
//!
//! So here a checkpoint of a part syncs the database with the last page that it writes, which SQLite does
//! before it counts anything; where that fails nothing is counted, and the next one writes all pages again. A success
//! is valid for the process that has it, whatever was reported to other processes before: it has written all of these
//! pages itself, with a descriptor that was open already, so every failure since then is reported to it. A report of a
//! failure that another process has made up for costs one more attempt.
//!
//! Other programs that use SQLite count frames unsynced. So a failed sync here has nothing count as checkpointed.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::ffi::{
    SQLITE_FCNTL_CKPT_DONE, SQLITE_FCNTL_CKPT_START, SQLITE_IOERR_SHMMAP, SQLITE_LOCK_EXCLUSIVE, SQLITE_OK,
    SQLITE_SHM_EXCLUSIVE, SQLITE_SHM_LOCK, SQLITE_SHM_UNLOCK, sqlite3_file,
};

use crate::sqlite::file::wal_index::{Committed, WalIndex};

/// The locks of a log. <https://www.sqlite.org/walformat.html#wal_locks>
pub(crate) const WRITE_LOCK: c_int = 0;
const CHECKPOINT_LOCK: c_int = 1;
pub(crate) const RECOVER_LOCK: c_int = 2;

/// What a connection's file knows of the checkpoint that it is in.
#[derive(Default)]
pub(crate) struct Backfill {
    /// This connection alone may write: nothing is committed during its checkpoints.
    has_write_lock: bool,
    has_file_lock: bool,
    has_checkpoint_lock: bool,
    /// What SQLite knows to be committed, while it has the lock of a checkpoint.
    committed: Option<Committed>,
    checkpoint: Option<Checkpoint>,
    /// What has been counted as checkpointed must not be.
    revoked: bool,
    /// Who counts the syncs that fail.
    failed: Option<Arc<AtomicU64>>,
}

/// A checkpoint, from its first write until its locks are released.
struct Checkpoint {
    sync: Sync,
    /// Something was written, and not synced yet.
    unsynced: bool,
}

/// Where a checkpoint is synced.
#[derive(PartialEq)]
enum Sync {
    /// By SQLite, at its end: it checkpoints all of the log, and no one adds to the log meanwhile.
    AtTheEnd,
    /// With this page, the last to be written.
    WithPage(u32),
    /// That page could not be found out.
    Nowhere,
}

impl Backfill {
    /// Have the syncs that fail counted.
    pub(crate) fn count_failed(&mut self, failed: &Arc<AtomicU64>) {
        self.failed = Some(Arc::clone(failed));
    }

    /// SQLite has locked the file, or changed its lock.
    pub(crate) fn locked(&mut self, level: c_int) {
        self.has_file_lock = level == SQLITE_LOCK_EXCLUSIVE;
    }

    /// SQLite tells of a checkpoint.
    ///
    /// # Safety
    /// `file` is the system's file of this database.
    pub(crate) unsafe fn told(&mut self, file: *mut sqlite3_file, operation: c_int) {
        match operation {
            SQLITE_FCNTL_CKPT_START => {
                // SAFETY: as the caller says. A checkpoint has the log open, and locked against others.
                let sync = unsafe { index(file) }.and_then(|index| self.where_to_sync(index));
                self.checkpoint = Some(Checkpoint { sync: sync.unwrap_or(Sync::Nowhere), unsynced: false });
            }
            // Something was written, but not the last page: it ended early.
            SQLITE_FCNTL_CKPT_DONE => {
                let checkpoint = self.checkpoint.as_ref();
                self.revoked |= checkpoint
                    .is_some_and(|checkpoint| checkpoint.unsynced && checkpoint.sync != Sync::AtTheEnd);
                #[cfg(test)]
                tests::REVOKED.set(tests::REVOKED.get() + u32::from(self.revoked));
            }
            _ => {}
        }
    }

    /// Whether a checkpoint is being done.
    pub(crate) fn is_checkpointing(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Whether a checkpoint may write.
    pub(crate) fn before_write(&self) -> c_int {
        match &self.checkpoint {
            Some(Checkpoint { sync: Sync::Nowhere, .. }) => SQLITE_IOERR_SHMMAP,
            _ => SQLITE_OK,
        }
    }

    /// A page of `count` bytes was written; whether it is to be synced at once.
    pub(crate) fn wrote(&mut self, count: c_int, at: i64) -> bool {
        let Some(checkpoint) = &mut self.checkpoint else { return false };
        checkpoint.unsynced = true;
        match checkpoint.sync {
            Sync::WithPage(page) => at == i64::from(count) * (i64::from(page) - 1),
            Sync::AtTheEnd | Sync::Nowhere => false,
        }
    }

    /// The database was synced, or failed to be; whether that was a checkpoint's, which all has to be written again then,
    /// and of which nobody reads anything from the database.
    ///
    /// # Safety
    /// `file` is the system's file of this database.
    pub(crate) unsafe fn synced(&mut self, file: *mut sqlite3_file, code: c_int) -> bool {
        if code != SQLITE_OK
            && let Some(failed) = &self.failed
        {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        match &mut self.checkpoint {
            Some(checkpoint) if code == SQLITE_OK => checkpoint.unsynced = false,
            // SAFETY: as the caller says; a checkpoint has its locks until it ends.
            Some(_) => self.revoked |= !unsafe { index(file) }.is_none_or(WalIndex::forget_backfill),
            None => {}
        }
        self.checkpoint.is_some() && code != SQLITE_OK
    }

    fn where_to_sync(&self, index: WalIndex) -> Option<Sync> {
        if !self.is_alone() {
            return index.last_page(self.committed?).map(Sync::WithPage);
        }
        let committed = index.committed();
        if index.is_to_be_whole(committed) {
            return Some(Sync::AtTheEnd);
        }
        index.last_page(committed).map(Sync::WithPage)
    }

    /// SQLite is between its looks at the two copies of what is committed. If it finds them to be the same, both are what
    /// the first one is now: they are written in the opposite order.
    ///
    /// # Safety
    /// `file` is the system's file of this database.
    pub(crate) unsafe fn at_barrier(&mut self, file: *mut sqlite3_file) {
        if self.has_checkpoint_lock {
            // SAFETY: as the caller says. The file has its log open, and locked.
            self.committed = unsafe { index(file) }.map(WalIndex::committed);
        }
    }

    /// SQLite is about to let locks of the log go, or to take some.
    ///
    /// # Safety
    /// `file` is the system's file of this database.
    pub(crate) unsafe fn before_lock(
        &mut self,
        file: *mut sqlite3_file,
        offset: c_int,
        count: c_int,
        flags: c_int,
    ) {
        if flags != SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE {
            return;
        }
        let covers = |lock| (offset..offset + count).contains(&lock);
        if self.revoked {
            // SAFETY: as the caller says. The locks of the checkpoint are released only now, or were where there was no room.
            self.revoked = !unsafe { index(file) }.is_none_or(WalIndex::forget_backfill);
        }
        self.checkpoint = None;
        if covers(RECOVER_LOCK) {
            // What was found in the log need not be on disk: a sync of it may have failed before a crash.
            // SAFETY: as the caller says. The process that recovers the log has it open, and locked against all others.
            let index = unsafe { index(file) };
            self.committed = index.map(WalIndex::committed);
            if let Some(index) = index.filter(|index| index.frames() > 0) {
                index.doubt();
            }
        }
        if covers(CHECKPOINT_LOCK) {
            self.has_checkpoint_lock = false;
        }
        if covers(WRITE_LOCK) {
            self.has_write_lock = false;
        }
    }

    /// SQLite has taken locks of the log.
    pub(crate) fn after_lock(&mut self, offset: c_int, flags: c_int) {
        if flags == SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE {
            self.has_write_lock |= offset == WRITE_LOCK;
            if offset == CHECKPOINT_LOCK {
                self.has_checkpoint_lock = true;
                self.committed = None;
            }
        }
    }

    /// Whether no other connection can commit.
    pub(crate) fn is_alone(&self) -> bool {
        self.has_write_lock || self.has_file_lock
    }
}

/// # Safety
/// `file` is the system's file of a database, which has its log open and a lock on it.
unsafe fn index(file: *mut sqlite3_file) -> Option<WalIndex> {
    // SAFETY: as the caller says.
    unsafe { WalIndex::of(file) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use rusqlite::{Connection, ffi};

    use super::*;
    use crate::sqlite::file::main_file::MainFile;
    use crate::sqlite::file::{vfs, wrapper};

    thread_local! {
        /// How many checkpoints of this thread were found not to be synced where they had to be.
        pub(super) static REVOKED: Cell<u32> = const { Cell::new(0) };
    }

    fn open(path: &Path) -> Connection {
        // Its locks and those from before it stand against each other.
        crate::sqlite::file::locks::install();
        let connection =
            Connection::open_with_flags_and_vfs(path, rusqlite::OpenFlags::default(), vfs::name().unwrap())
                .unwrap();
        connection
            .execute_batch(
                "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 PRAGMA synchronous = NORMAL; CREATE TABLE IF NOT EXISTS t(x)",
            )
            .unwrap();
        connection
    }

    fn checkpoint(connection: &Connection, mode: &str) -> (i64, i64, i64) {
        let numbers = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], numbers).unwrap()
    }

    /// The system's file of a database.
    fn file(connection: &Connection) -> *mut sqlite3_file {
        let file = wrapper::file_of(connection, ffi::SQLITE_FCNTL_FILE_POINTER);
        // SAFETY: it is one of ours.
        unsafe { wrapper::system_file::<MainFile>(file) }
    }

    /// Insert rows, change some, and delete others together with their pages.
    fn change(connection: &Connection, round: i64, rows: i64) {
        let many = "INSERT INTO t SELECT randomblob(2500) FROM (WITH RECURSIVE n(i) AS
            (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n)";
        connection.execute(many, [rows]).unwrap();
        connection.execute("UPDATE t SET x = zeroblob(2000) WHERE rowid % 7 = ?", [round % 7]).unwrap();
        if round % 3 == 0 {
            connection.execute("DELETE FROM t WHERE rowid % 3 > 0", []).unwrap();
            let mut vacuum = connection.prepare("PRAGMA incremental_vacuum").unwrap();
            let mut pages = vacuum.query([]).unwrap();
            while pages.next().unwrap().is_some() {}
        }
    }

    /// Parts and wholes, of logs that name their pages in one region of the `-shm` and in several, that grow and shrink
    /// the database.
    #[test]
    fn each_checkpoint_is_synced_before_its_frames_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let (ours, reader) = (open(&path), open(&path));
        ours.busy_timeout(std::time::Duration::from_millis(100)).unwrap();
        let mut parts = 0;
        for round in 0..12_u8 {
            if round % 3 == 1 {
                change(&ours, round.into(), 40);
                reader.execute_batch("BEGIN").unwrap();
                reader.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
            }
            change(&ours, round.into(), if round == 4 { 3000 } else { 40 });
            let mode = if round % 2 == 0 { "PASSIVE" } else { "RESTART" };
            let (_, log, backfilled) = checkpoint(&ours, mode);
            parts += u32::from(backfilled > 0 && backfilled < log);
            if round % 3 == 2 {
                reader.execute_batch("ROLLBACK").unwrap();
                checkpoint(&ours, mode);
            }
        }
        assert!(parts > 3, "{parts} parts");
        assert_eq!(REVOKED.get(), 0);
    }

    #[test]
    fn each_checkpoint_is_synced_while_others_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let ours = open(&path);
        let (mut parts, done) = (0, std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = open(&path);
                for round in 0..30 {
                    change(&other, round, 3);
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let (busy, log, backfilled) = checkpoint(&ours, "PASSIVE");
                parts += u32::from(busy == 0 && backfilled < log);
            }
        });
        assert_eq!((checkpoint(&ours, "RESTART").0, REVOKED.get()), (0, 0), "{parts} parts");
    }

    #[test]
    fn what_was_counted_unsynced_or_fails_to_be_synced_counts_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let ours = open(&folder.path().join("t.db"));
        ours.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        let (_, _, backfilled) = checkpoint(&ours, "PASSIVE");
        let (file, failed) = (file(&ours), Arc::default());
        // SAFETY: the file is open, and nobody else uses it. No page is written.
        unsafe {
            let index = index(file).unwrap();
            let counted = || index.backfill();
            assert_eq!(i64::from(counted()), backfilled);
            let mut hooks = Backfill::default();
            hooks.count_failed(&failed);
            hooks.told(file, SQLITE_FCNTL_CKPT_START);
            hooks.wrote(4096, 1 << 40);
            hooks.told(file, SQLITE_FCNTL_CKPT_DONE);
            assert_eq!(i64::from(counted()), backfilled);
            hooks.before_lock(file, 3, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
            assert_eq!(counted(), 0);

            checkpoint(&ours, "PASSIVE");
            assert_eq!(i64::from(counted()), backfilled);
            hooks.synced(file, ffi::SQLITE_IOERR_FSYNC);
            assert_eq!(i64::from(counted()), backfilled, "this was no checkpoint");
            hooks.told(file, SQLITE_FCNTL_CKPT_START);
            hooks.synced(file, ffi::SQLITE_IOERR_FSYNC);
            assert_eq!(counted(), 0);
        }
        assert_eq!(failed.load(Ordering::Relaxed), 2);
    }
}
