//! The place of a store's file: whether it is still the one that was opened, and has only one name.
//!
//! An open file can be renamed, removed or replaced, and still accepts writes, which no one will find. SQLite finds the
//! log and its index by name: a connection that is opened later would have another file, or another log, and a second
//! name (a hard link) has a log of its own
//! (<https://www.sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use>).
//!
//! So each commit first checks whether all three are still in their place. They never leave it in normal use: SQLite
//! removes a log only once no connection has its database open.

use std::ffi::{CString, c_int};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::open_files::Descriptor;
use crate::sqlite::file::platform::{self, FileId};
use crate::sqlite::file::sizes::{self, beside};
use crate::sqlite::file::trace::Trace;
use crate::sqlite::file::wait::Wait;

/// The interval of checks by reads. A commit always checks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most renamed logs (`.aside-N`) beside one file.
const MOST_ASIDE: u32 = 1000;

/// The place of one store's file.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    database: CString,
    /// Which file it was when the store was opened.
    pub(crate) id: FileId,
    /// The log and its index. Known once the writer has them open, which keeps them there.
    beside: OnceLock<[Beside; 2]>,
    pub(crate) links: Arc<Links>,
    began: Instant,
    /// Milliseconds from `began` to the next look of a read.
    next_look: AtomicU64,
    /// What the connections to it run is noted here.
    pub(crate) trace: Trace,
}

/// Whether the file was seen to have several names. A forked child keeps this.
#[derive(Default)]
pub(crate) struct Links {
    seen: AtomicBool,
    told: AtomicBool,
}

/// A file beside the database; no id where there was none.
struct Beside {
    name: CString,
    id: Option<FileId>,
}

/// What is found at a path.
enum Found {
    This {
        links: u64,
    },
    Another,
    Nothing,
    /// It cannot be checked, for example because a folder's rights were taken away. It need not have moved.
    Unknown,
}

impl Place {
    /// The place of the file that is at `path` now.
    pub(crate) fn new(path: PathBuf, trace: Trace) -> Result<Self> {
        let database = name(&path, "")?;
        let facts = platform::facts(&database).map_err(StoreError::cannot_open)?;
        let links = Links { seen: AtomicBool::new(facts.links > 1), told: AtomicBool::new(false) };
        Ok(Self::of(path, database, facts.id, Arc::new(links), trace))
    }

    /// The same place for a forked child, which opens what belongs to the file anew.
    pub(crate) fn inherited(&self, trace: Trace) -> Self {
        let (path, database) = (self.path.clone(), self.database.clone());
        Self::of(path, database, self.id, Arc::clone(&self.links), trace)
    }

    fn of(path: PathBuf, database: CString, id: FileId, links: Arc<Links>, trace: Trace) -> Self {
        Self {
            path,
            database,
            id,
            beside: OnceLock::new(),
            links,
            began: Instant::now(),
            next_look: AtomicU64::new(0),
            trace,
        }
    }

    /// Fail if the file is no longer where it was, or what belongs to it.
    pub(crate) fn look(&self) -> Result<()> {
        match find(&self.database, self.id) {
            Found::This { links } if links > 1 => self.links.seen.store(true, Ordering::Relaxed),
            Found::This { .. } | Found::Unknown => {}
            Found::Another => {
                return Err(moved(format!(
                    "another file was put in the place of {} while the store is open; close the store and open a new one",
                    self.path.display()
                )));
            }
            Found::Nothing => {
                return Err(moved(format!(
                    "{} was moved or removed while the store is open; move it back, or close the store and open a new one",
                    self.path.display()
                )));
            }
        }
        for file in self.beside.get().into_iter().flatten() {
            if let Some(id) = file.id
                && matches!(find(&file.name, id), Found::Another | Found::Nothing)
            {
                return Err(moved(format!(
                    "{}, which belongs to the store's file, was moved, removed or replaced while the store is open; move it back, or close the store and open a new one",
                    file.name.to_string_lossy()
                )));
            }
        }
        Ok(())
    }

    /// As [`Self::look`], if the last time that a read did was a while ago.
    pub(crate) fn look_now_and_then(&self) -> Result<()> {
        let now = self.began.elapsed();
        if millis(now) < self.next_look.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.look()?;
        self.next_look.store(millis(now + LOOK_EVERY), Ordering::Relaxed);
        Ok(())
    }

    /// The result of opening a connection; an error if it is not on the same file as all others.
    pub(crate) fn confirm_opened(&self, opened: Result<Connection>) -> Result<Connection> {
        match opened {
            Ok(connection) => self.confirm(&connection).map(|()| connection),
            // That the file is not there says more than that it cannot be opened.
            Err(error) => Err(self.look().err().unwrap_or(error)),
        }
    }

    /// Fail unless this connection, just opened, is on the same file as all others.
    ///
    /// In this order: a file that was in the place when it was opened, and left it since, is found out as well.
    fn confirm(&self, connection: &Connection) -> Result<()> {
        self.look()?;
        let mut has_moved: c_int = 0;
        // SAFETY: the handle is open for as long as `connection` is borrowed, and the operation writes one int.
        unsafe {
            let operation = ffi::SQLITE_FCNTL_HAS_MOVED;
            let to = (&raw mut has_moved).cast();
            ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), operation, to);
        }
        if has_moved == 0 {
            return Ok(());
        }
        Err(moved(format!("{} was moved while it was being opened; try again", self.path.display())))
    }

    /// Remember the log and its index, which the writer's connection has opened. Only of one that stays open: with another
    /// the log may go, as where the opening is tried again.
    pub(crate) fn remember_log(&self) -> Result<()> {
        let [log, index] = [name(&self.path, "-wal")?, name(&self.path, "-shm")?].map(|name| {
            let id = platform::facts(&name).ok().map(|facts| facts.id);
            Beside { name, id }
        });
        self.beside.get_or_init(|| [log, index]);
        Ok(())
    }

    /// The log, opened anew: of a store whose writer has it open. `None` where it is not there, or no file can be opened.
    pub(crate) fn open_log(&self) -> Option<Descriptor> {
        let opened = Descriptor::open(&beside(&self.path, "-wal"), &FILES.enter()).ok()?;
        (platform::descriptor_id(opened.as_raw_fd()) == self.beside.get()?[0].id).then_some(opened)
    }

    /// For a store that is closed while its file is not in its place: keep the log from harming another file, and say
    /// where the last writes may be.
    pub(crate) fn left_behind(&self) -> String {
        let log = beside(&self.path, "-wal");
        if !self.is_log_here() {
            return format!(
                "what was written last may be in its log, which was {} and is not there",
                log.display()
            );
        }
        match self.set_log_aside(&log) {
            Some(aside) => {
                format!("what was written last is in {}, the log of the file that was there", aside.display())
            }
            None => format!("what was written last may be in {}, which belongs with it", log.display()),
        }
    }

    fn is_log_here(&self) -> bool {
        self.beside.get().is_some_and(|[log, _]| log.is_here())
    }

    /// If another file was put in the place: rename the log of the old file, which SQLite would read into the new one.
    /// Return its new name.
    fn set_log_aside(&self, log: &Path) -> Option<PathBuf> {
        let [_, index] = self.beside.get()?;
        if !matches!(find(&self.database, self.id), Found::Another) {
            return None;
        }
        let index = index.is_here().then(|| beside(&self.path, "-shm"));
        put_aside(log, index.as_deref())
    }

    /// How many names the file has; 0 where it is not there.
    pub(crate) fn names(&self) -> u64 {
        match find(&self.database, self.id) {
            Found::This { links } => links,
            Found::Another | Found::Nothing | Found::Unknown => 0,
        }
    }
}

impl Beside {
    fn is_here(&self) -> bool {
        self.id.is_some_and(|id| matches!(find(&self.name, id), Found::This { .. }))
    }
}

impl Links {
    /// Whether to warn: the first time that several names were seen.
    pub(crate) fn are_news(&self) -> bool {
        self.seen.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed)
    }
}

/// What to say of a file with several names.
pub(crate) fn several_names(path: &Path, names: impl std::fmt::Display) -> String {
    format!(
        "{} has {names} names (hard links), and each has a log of its own: a program that opens it by another name loses writes, or does not see them; remove the other names (find -samefile lists them)",
        path.display()
    )
}

/// If a log was left without its file: rename it before a new file takes the place. SQLite would delete it, and with it
/// the last acknowledged writes.
pub(crate) fn set_orphan_aside(path: &Path, wait: &mut Wait) -> Result<()> {
    // In this order: a process that has just made both made the file before its log.
    let is_orphan = || !sizes::log_is_empty(path) && !path.exists();
    wait.until_free(|| {
        if !is_orphan() {
            return Ok(());
        }
        // A child that is forked meanwhile would hold on to the lock. Nor would the fork be over before the lock is had, so
        // that it is not waited for here.
        let _gate = FILES.enter();
        // Others may find it at the same time, and one of them already have put it aside and made a new file. The log
        // itself is locked: the folder may be locked for hours, by the flock(1) that a job was started with.
        let log = beside(path, "-wal");
        let Ok(found) = File::open(&log) else { return Ok(()) };
        let Ok(id) = found.metadata().map(|log| platform::id_of(&log)) else { return Ok(()) };
        match found.try_lock() {
            Ok(()) if platform::file_id(&log) == Some(id) && is_orphan() => {
                put_aside(&log, Some(&beside(path, "-shm")));
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::new(ErrorKind::StoreBusy, format!("{} is locked", log.display())))
            }
            _ => Ok(()),
        }
    })
}

/// Give a log a name that SQLite does not look for; its index can be made again.
fn put_aside(log: &Path, index: Option<&Path>) -> Option<PathBuf> {
    if fs::metadata(log).is_ok_and(|log| log.len() == 0) {
        return None;
    }
    for number in 1..=MOST_ASIDE {
        let aside = beside(log, &format!(".aside-{number}"));
        match platform::rename_new(log, &aside) {
            Ok(()) => {
                // If it cannot be removed, the next opening of the file finds it to be out of date.
                let _ = index.map(fs::remove_file);
                return Some(aside);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => return None,
        }
    }
    None
}

/// Refuse to write a file that has several names.
pub(crate) fn refuse_linked(path: &Path) -> Result<()> {
    match platform::facts(&name(path, "")?) {
        Ok(facts) if facts.links > 1 => Err(StoreError::new(
            ErrorKind::CannotOpen,
            format!(
                "the file has {} names (hard links), and each would have a log of its own, so that writes are lost; remove the other names (find -samefile lists them), or close every store on it and give it a file of its own: cp {path:?} {path:?}.new && mv {path:?}.new {path:?}",
                facts.links,
            ),
        )),
        _ => Ok(()),
    }
}

fn find(name: &CString, id: FileId) -> Found {
    match platform::facts(name) {
        Ok(facts) if facts.id == id => Found::This { links: facts.links },
        Ok(_) => Found::Another,
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Found::Nothing,
            _ => Found::Unknown,
        },
    }
}

fn name(path: &Path, suffix: &str) -> Result<CString> {
    CString::new(beside(path, suffix).into_os_string().into_encoded_bytes())
        .map_err(|_| StoreError::new(ErrorKind::CannotOpen, "the path has a NUL in it"))
}

/// With the code that SQLite has for it. <https://www.sqlite.org/rescode.html#readonly_dbmoved>
fn moved(what: String) -> StoreError {
    StoreError::reported(ErrorKind::FileMoved, ffi::SQLITE_READONLY_DBMOVED, what)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;

    fn stored(path: &Path) -> Connection {
        fs::write(path, b"").unwrap();
        let connection = connection::open_file(path, &Trace::default()).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
        connection
    }

    #[test]
    fn a_connection_that_was_opened_while_another_file_was_in_the_place_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let [path, aside] = ["t.db", "aside.db"].map(|name| folder.path().join(name));
        let first = stored(&path);
        let place = Place::new(path.clone(), Trace::default()).unwrap();
        place.confirm(&first).unwrap();
        fs::rename(&path, &aside).unwrap();
        let other = connection::open_file(&aside, &Trace::default()).unwrap();
        place.confirm(&other).unwrap_err();
        fs::write(&path, b"").unwrap();
        let wrong = connection::open_file(&path, &Trace::default()).unwrap();
        fs::rename(&aside, &path).unwrap();
        place.look().unwrap();
        place.confirm(&first).unwrap();
        let error = place.confirm_opened(Ok(wrong)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::FileMoved);
        assert_eq!(error.sqlite_code, Some(ffi::SQLITE_READONLY_DBMOVED));
    }

    #[test]
    fn the_log_and_its_index_are_looked_at_once_they_are_open() {
        for suffix in ["", "-wal", "-shm"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.db");
            let _open = stored(&path);
            let place = Place::new(path.clone(), Trace::default()).unwrap();
            place.remember_log().unwrap();
            place.look().unwrap();
            fs::remove_file(beside(&path, suffix)).unwrap();
            let error = place.look().unwrap_err();
            assert!(error.to_string().contains(&format!("t.db{suffix}")), "{error}");
            let child = place.inherited(Trace::default());
            assert_eq!(child.look().is_ok(), !suffix.is_empty(), "what a child opens is its own");
        }
    }

    #[test]
    fn several_names_are_news_once() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["t.db", "other.db"].map(|name| folder.path().join(name));
        fs::write(&path, b"").unwrap();
        let place = Place::new(path.clone(), Trace::default()).unwrap();
        place.look().unwrap();
        assert!(!place.links.are_news());
        refuse_linked(&path).unwrap();
        fs::hard_link(&path, &other).unwrap();
        refuse_linked(&path).unwrap_err();
        place.look().unwrap();
        assert_eq!(place.names(), 2);
        assert!(place.links.are_news());
        place.inherited(Trace::default()).look().unwrap();
        assert!(!place.links.are_news());
    }
}
