//! Opening connections: one function per pragma, each with a link to its reasons.

use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, Row, ffi};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::control;
use crate::sqlite::file::fork::{self, Own};
use crate::sqlite::file::main_file;
use crate::sqlite::file::sizes;
use crate::sqlite::file::trace::Trace;
use crate::sqlite::file::vfs;

/// The oldest SQLite without the bug by which a reset of the write-ahead log could corrupt the file
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// KiB of page cache of the writer: no batch of ordinary size spills before it commits.
const WRITER_CACHE_KIB: i32 = 64 * 1024;

/// KiB of page cache of a reader.
const READER_CACHE_KIB: i32 = 8 * 1024;

/// Bytes to which the write-ahead log is cut back once it is reused from its start: more than it comes to where writers
/// are throttled, as it is not to be cut and made longer by turns.
const WAL_LIMIT_BYTES: i64 = 64 << 20;

/// The longest row of a file that has no longer one, in bytes, and so the most that one step of SQLite's can build. In a
/// larger file a row may be as long as the file.
const LONGEST_ROW: i64 = 256 << 20;

/// How many prepared statements a connection keeps.
const CACHED_STATEMENTS: usize = 64;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// When it is on disk: it survives a power cut.
    Full,
    /// When the operating system has it: it survives a crash of the process.
    Normal,
}

/// The version of SQLite.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Refuse a SQLite that is known to lose data. The bundled one never is; a relinked one might be.
///
/// # Errors
/// [`ErrorKind::Other`], naming both versions.
pub fn check_sqlite_version() -> Result<()> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = rusqlite::version();
        return Err(StoreError::new(
            ErrorKind::Other,
            format!("SQLite {found} is older than 3.51.3, which has the WAL-reset bug"),
        ));
    }
    Ok(())
}

/// Open an existing file for writing, touching nothing yet.
pub(crate) fn open_file(path: &Path, trace: &Trace) -> Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, trace)
}

/// Refuse a file that SQLite could open for reading only, as it does without a word. Where its log and the log's index
/// are there, nothing else would fail before the first write.
pub(crate) fn refuse_read_only(connection: &Connection) -> Result<()> {
    if connection.is_readonly("main")? {
        let what = "attempt to write a readonly database";
        return Err(StoreError::reported(ErrorKind::ReadOnly, ffi::SQLITE_READONLY, what));
    }
    Ok(())
}

/// Open a private database in memory.
pub(crate) fn open_memory() -> Result<Connection> {
    fork::watch();
    let mut connection = Connection::open_in_memory_with_flags(
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    control::make_stoppable(&mut connection)?;
    stable_plans(&connection)?;
    Ok(connection)
}

/// Open a file for reading.
pub(crate) fn open_reader(path: &Path, trace: &Trace) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, trace)?;
    cache_size(&connection, READER_CACHE_KIB)?;
    temp_store(&connection)?;
    Ok(connection)
}

/// Open an empty file to copy a database into. A copy that is not whole is thrown away: it needs neither a journal nor
/// syncs of SQLite's own. Defensive connections insist on a journal, but this file is nobody's yet.
pub(crate) fn open_copy(path: &Path, trace: &Trace) -> Result<Connection> {
    let connection = open_file(path, trace)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    limit_row_bytes(&connection, i64::MAX)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Open a file that nobody else has open, and keep it so; nothing of it is changed. What holds its lock elsewhere is
/// told by a busy error. <https://www.sqlite.org/pragma.html#pragma_locking_mode>
pub(crate) fn open_alone(path: &Path, trace: &Trace) -> Result<Connection> {
    let connection = open_file(path, trace)?;
    keep_log_on_close(&connection)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Open a file without write permission, from a folder without write permission.
///
/// Without it SQLite must create a -shm file beside the database to read one in WAL mode
/// (<https://www.sqlite.org/wal.html#readonly>).
pub(crate) fn open_immutable(path: &Path, trace: &Trace) -> Result<Connection> {
    open_with(path, "immutable=1", trace)
}

/// Open a file for reading together with its log, whose index is read only, too.
pub(crate) fn open_untouched(path: &Path, trace: &Trace) -> Result<Connection> {
    open_with(path, "readonly_shm=1", trace)
}

fn open_with(path: &Path, parameter: &str, trace: &Trace) -> Result<Connection> {
    let mut uri = String::from("file://");
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push('?');
    uri.push_str(parameter);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = open(Path::new(&uri), flags, trace)?;
    bound_rows(&connection, path)?;
    Ok(connection)
}

/// Let no step of SQLite's build more than [`LONGEST_ROW`], unless the file is larger.
fn bound_rows(connection: &Connection, path: &Path) -> Result<()> {
    let bytes = sizes::size(path, "").saturating_add(sizes::size(path, "-wal"));
    limit_row_bytes(connection, LONGEST_ROW.max(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// Have no row read that is longer than this: a damaged one may claim to be far longer than its file.
/// <https://www.sqlite.org/c3ref/limit.html>
pub(crate) fn limit_row_bytes(connection: &Connection, bytes: i64) -> Result<()> {
    // What is more than SQLite takes is cut down.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(bytes).unwrap_or(i32::MAX))?;
    Ok(())
}

/// Set a connection up for writing a file of ours.
pub(crate) fn configure_writer(connection: &Connection, synchronous: Synchronous) -> Result<()> {
    foreign_keys(connection)?;
    set_synchronous(connection, synchronous)?;
    journal_mode(connection)?;
    journal_size_limit(connection)?;
    cache_size(connection, WRITER_CACHE_KIB)?;
    temp_store(connection)?;
    // Where memory has run out, a rollback must not need any.
    connection.prepare_cached("ROLLBACK")?;
    Ok(())
}

/// Have `log_bytes` told how large the log is after each commit. This takes the place of the hook by which commits
/// checkpoint, and so leaves the log to [`crate::sqlite::engine::checkpointer`]. <https://www.sqlite.org/c3ref/wal_hook.html>
pub(crate) fn watch_log(connection: &mut Connection, log_bytes: &Arc<AtomicU64>) -> Result<()> {
    let page_size: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let log_bytes = Arc::clone(log_bytes);
    connection.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
        log_bytes.store(u64::from(page_size) * u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(())
}

/// Run one checkpoint; return SQLite's code. <https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>
pub(crate) fn checkpoint(connection: &Connection, mode: c_int) -> c_int {
    // SAFETY: the handle is open for as long as `connection` is borrowed, and null is allowed for the database's name
    // (all of them) and for both counters.
    unsafe {
        let (handle, null) = (connection.handle(), std::ptr::null_mut());
        ffi::sqlite3_wal_checkpoint_v2(handle, std::ptr::null(), mode, null, null)
    }
}

/// Before the connection that may be the last one closes, whose own checkpoint must not fail or the log stays: have it
/// told of failures that were made up for by others.
pub(crate) fn meet_old_failures(connection: &Connection) {
    // The log's, and the database's. What fails once more is left in the log, for the next opening.
    for _ in 0..2 {
        if checkpoint(connection, ffi::SQLITE_CHECKPOINT_PASSIVE) == ffi::SQLITE_OK {
            break;
        }
    }
}

fn open(path: &Path, flags: OpenFlags, trace: &Trace) -> Result<Connection> {
    fork::watch();
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match vfs::name() {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
        None => Connection::open_with_flags(path, flags)?,
    };
    trace.watch(&mut connection)?;
    control::make_stoppable(&mut connection)?;
    bound_rows(&connection, path)?;
    distrust_file(&connection)?;
    stable_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Waiting is ours: one deadline over our queue and SQLite's locks, and Ctrl-C ends it.
    connection.busy_timeout(std::time::Duration::ZERO)?;
    Ok(connection)
}

/// A file may come from anyone, so this comes before its first use: its schema must not run code, its pages are
/// checked, and it is not mapped (<https://www.sqlite.org/security.html#untrusted_sqlite_database_files>).
fn distrust_file(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    Ok(())
}

/// A statement's plan goes by its text alone. Otherwise SQLite prepares a list anew each time that values are bound to
/// it, in case they make for a better plan, which takes longer than to find a short list.
/// <https://www.sqlite.org/queryplanner-ng.html#qpstab>
fn stable_plans(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Page size and auto-vacuum of a file that has no page yet; both are fixed from then on.
///
/// Measured: with 8192 a batch takes 0.95 and a list 0.85 of the time, but a single write, which logs whole
/// pages, 1.1 (FULL) to 1.6 (NORMAL) times as long. INCREMENTAL costs a batch 0 to 5 %, and lets space be given
/// back in slices, each a short write, where NONE must rewrite the whole file under the lock.
/// <https://www.sqlite.org/pragma.html#pragma_page_size>, <https://www.sqlite.org/pragma.html#pragma_auto_vacuum>
///
/// Auto-vacuum is set when that statement is prepared. Run, it would write the first page by a transaction of its own,
/// with five syncs; the change to WAL writes that page in any case.
pub(crate) fn shape_new_file(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "page_size", 4096)?;
    connection.prepare("PRAGMA auto_vacuum = INCREMENTAL")?;
    Ok(())
}

/// Rewrite a file without its free pages, and have it give them back in slices from then on. The copy is as large as
/// what it holds, and must not be made in memory. <https://www.sqlite.org/lang_vacuum.html>
pub(crate) fn rewrite(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    let rewritten = connection.execute_batch("VACUUM");
    let restored = temp_store(connection);
    rewritten?;
    restored
}

/// Items and telemetry belong to a run. <https://www.sqlite.org/pragma.html#pragma_foreign_keys>
fn foreign_keys(connection: &Connection) -> Result<()> {
    Ok(connection.pragma_update(None, "foreign_keys", true)?)
}

/// <https://www.sqlite.org/pragma.html#pragma_synchronous>
fn set_synchronous(connection: &Connection, synchronous: Synchronous) -> Result<()> {
    let level = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    Ok(connection.pragma_update(None, "synchronous", level)?)
}

/// Readers and the writer do not block one another. <https://www.sqlite.org/wal.html>
///
/// Where no `-shm` can be mapped, nobody could open the database any more: it is left as it is.
fn journal_mode(connection: &Connection) -> Result<()> {
    let has_log = || {
        let is_wal = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str()? == "wal");
        connection.pragma_query_value(None, "journal_mode", is_wal)
    };
    if !has_log()? {
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        // Another process may have been faster.
        let tried = has_log().map_err(StoreError::from);
        let tried = tried.and_then(|has_log| if has_log { Ok(()) } else { main_file::try_index(connection) });
        connection.execute_batch("ROLLBACK")?;
        tried?;
    }
    Ok(connection.pragma_update(None, "journal_mode", "WAL")?)
}

/// A log that once grew is cut back when it is reused. <https://www.sqlite.org/pragma.html#pragma_journal_size_limit>
fn journal_size_limit(connection: &Connection) -> Result<()> {
    Ok(connection.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?)
}

/// <https://www.sqlite.org/pragma.html#pragma_cache_size>: a negative number is KiB.
fn cache_size(connection: &Connection, kib: i32) -> Result<()> {
    Ok(connection.pragma_update(None, "cache_size", -kib)?)
}

/// Sorts do not go through files of their own. <https://www.sqlite.org/pragma.html#pragma_temp_store>
fn temp_store(connection: &Connection) -> Result<()> {
    Ok(connection.pragma_update(None, "temp_store", "MEMORY")?)
}

/// Leave the write-ahead log to its owner when this connection closes: nothing is checkpointed or deleted.
/// <https://www.sqlite.org/c3ref/c_dbconfig_defensive.html#sqlitedbconfignockptonclose>
pub(crate) fn keep_log_on_close(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// In a child: give back the memory of a connection whose lock nobody held at the fork. Its files are closed, so that
/// SQLite touches nothing that the parent has. One with a transaction open is left alone: to roll that back, SQLite
/// would look into the shared memory.
pub(crate) fn discard(connection: Own<Connection>) {
    let is_idle = connection.is_autocommit() && !connection.is_busy();
    if is_idle && keep_log_on_close(&connection).is_ok() {
        drop(connection.into_inner());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> T {
        connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_bundled_sqlite_is_new_enough_and_compiled_as_configured() {
        check_sqlite_version().unwrap();
        let connection = open_memory().unwrap();
        let options: Vec<String> = connection
            .prepare("PRAGMA compile_options")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(options.iter().any(|option| option == "OMIT_LOAD_EXTENSION"), "{options:?}");
        assert!(!options.iter().any(|option| option == "ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
        assert!(!options.iter().any(|option| option.starts_with("USE_URI")), "{options:?}");
    }

    #[test]
    fn a_writer_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, b"").unwrap();
        let connection = open_file(&path, &Trace::default()).unwrap();
        shape_new_file(&connection).unwrap();
        configure_writer(&connection, Synchronous::Full).unwrap();
        assert_eq!(pragma::<i64>(&connection, "synchronous"), 2);
        assert_eq!(pragma::<String>(&connection, "journal_mode"), "wal");
        assert_eq!(pragma::<i64>(&connection, "foreign_keys"), 1);
        assert_eq!(pragma::<i64>(&connection, "auto_vacuum"), 2);
    }

    #[test]
    fn a_file_is_distrusted_before_the_first_look_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, b"").unwrap();
        for open in [open_file, open_reader, open_immutable] {
            let connection = open(&path, &Trace::default()).unwrap();
            assert_eq!(pragma::<i64>(&connection, "trusted_schema"), 0);
            assert_eq!(pragma::<i64>(&connection, "cell_size_check"), 1);
            assert!(connection.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap());
            assert_eq!(pragma::<i64>(&connection, "mmap_size"), 0);
        }
    }

    #[test]
    fn an_immutable_path_is_taken_literally() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a?mode=memory#%41 é.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE here(x)").unwrap();
        drop(connection);
        let connection = open_immutable(&path, &Trace::default()).unwrap();
        let table: String =
            connection.query_row("SELECT name FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(table, "here");
    }
}
