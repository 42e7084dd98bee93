//! Differences between operating systems. Tested on Linux only.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::time::Duration;

use chrono::TimeDelta;

/// How long the system is up, the time included in which it was suspended. Nobody sets this clock.
pub(crate) fn up() -> TimeDelta {
    // Elsewhere than on Linux the monotonic clock goes on while the system is suspended.
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut up = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `up` has room for what is written to it.
    unsafe { libc::clock_gettime(CLOCK, &raw mut up) };
    TimeDelta::seconds(up.tv_sec)
}

/// How many symbolic links are followed, as Linux has it.
const MAX_LINKS: usize = 40;

/// Device and inode: which file it is, whatever its name.
pub(crate) type FileId = (u64, u64);

/// Facts about a file.
pub(crate) struct Facts {
    pub(crate) id: FileId,
    /// How many names it has.
    pub(crate) links: u64,
    /// How many bytes.
    #[cfg(target_os = "linux")]
    size: u64,
}

/// The facts of the file that `path` leads to, for the check of each commit.
#[cfg(target_os = "linux")]
pub(crate) fn facts(path: &CStr) -> io::Result<Facts> {
    match facts_at(libc::AT_FDCWD, path, 0) {
        // FUSE and NFS may tell of names that are gone: a file that was made under another name and linked has had two.
        Ok(facts) if facts.links > 1 => facts_at(libc::AT_FDCWD, path, libc::AT_STATX_FORCE_SYNC),
        found => found,
    }
}

/// The facts of the file that `path` leads to.
#[cfg(not(target_os = "linux"))]
pub(crate) fn facts(path: &CStr) -> io::Result<Facts> {
    let metadata = fs::metadata(OsStr::from_bytes(path.to_bytes()))?;
    Ok(Facts { id: id_of(&metadata), links: metadata.nlink() })
}

/// The facts of a file, also where the kernel is older than statx (Linux 4.11), or a container is not allowed to call it.
#[cfg(target_os = "linux")]
fn facts_at(directory: c_int, path: &CStr, flags: c_int) -> io::Result<Facts> {
    match statx(directory, path, flags) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {}
        found => {
            return found.map(|found| Facts {
                id: (libc::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
                links: found.stx_nlink.into(),
                size: found.stx_size,
            });
        }
    }
    let mut found = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: `path` ends in NUL, `found` has room for what is written, and all zeros are a value of it.
    let (done, found) = unsafe {
        let flags = flags & !libc::AT_STATX_FORCE_SYNC;
        (libc::fstatat64(directory, path.as_ptr(), found.as_mut_ptr(), flags), found.assume_init())
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Facts { id: (found.st_dev, found.st_ino), links: found.st_nlink, size: found.st_size.unsigned_abs() })
}

/// What a commit asks for of a file, but not its times: since Linux 6.13 reading them makes the next write to the file
/// record a time of its own (<https://docs.kernel.org/filesystems/multigrain-ts.html>), so that a commit at `FULL` also
/// waits for the journal of the file system. That made it 1.3 times as long.
#[cfg(target_os = "linux")]
fn statx(directory: c_int, path: &CStr, flags: c_int) -> io::Result<libc::statx> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let wanted = libc::STATX_TYPE | libc::STATX_INO | libc::STATX_NLINK | libc::STATX_SIZE;
    // SAFETY: `path` ends in NUL, `found` has room for what is written, and all zeros are a value of it. glibc has had the
    // function since 2.28 only.
    let (done, found) = unsafe {
        let done =
            libc::syscall(libc::SYS_statx, directory, path.as_ptr(), flags, wanted, found.as_mut_ptr());
        (done, found.assume_init())
    };
    if done == 0 { Ok(found) } else { Err(io::Error::last_os_error()) }
}

/// Whether `path` leads to what is there and no regular file.
pub(crate) fn is_irregular(path: &CStr) -> bool {
    fs::metadata(OsStr::from_bytes(path.to_bytes())).is_ok_and(|found| !found.is_file())
}

/// Which file `path` leads to; `None` if there is none.
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|metadata| id_of(&metadata))
}

/// Which file these are the facts of.
pub(crate) fn id_of(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Which file a descriptor is open on.
#[cfg(target_os = "linux")]
pub(crate) fn descriptor_id(fd: c_int) -> Option<FileId> {
    facts_at(fd, c"", libc::AT_EMPTY_PATH).ok().map(|facts| facts.id)
}

/// Elsewhere it is not asked for.
#[cfg(not(target_os = "linux"))]
pub(crate) fn descriptor_id(_: c_int) -> Option<FileId> {
    None
}

/// The size of the file that a descriptor is open on.
#[cfg(target_os = "linux")]
pub(crate) fn size(fd: c_int) -> Option<i64> {
    i64::try_from(facts_at(fd, c"", libc::AT_EMPTY_PATH).ok()?.size).ok()
}

/// Elsewhere it is not asked for.
#[cfg(not(target_os = "linux"))]
pub(crate) fn size(_: c_int) -> Option<i64> {
    None
}

/// Have the system forget what it keeps of a file in memory, but for what is still to be written.
///
/// ext4 has the pages of a write-back that failed for clean, and for written where they are on the disk, which has never
/// been told so: written once more they get there, and are zeros all the same when the file is next read from it. Only
/// what is not in memory any more is written as something new. What somebody is just reading stays there, hence several
/// attempts. Any descriptor of the file will do; none may be opened for it, as closing that could drop locks.
#[cfg(target_os = "linux")]
pub(crate) fn forget_cached(path: &Path) {
    const ATTEMPTS: u32 = 5;

    let (Some(id), Ok(entries)) = (file_id(path), fs::read_dir("/proc/self/fd")) else { return };
    let mut descriptors = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    if let Some(fd) = descriptors.find(|fd| descriptor_id(*fd) == Some(id)) {
        for _ in 0..ATTEMPTS {
            // SAFETY: a descriptor that has come to be another file's meanwhile loses nothing by this.
            unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED) };
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Elsewhere than on Linux nothing is known of such a thing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn forget_cached(_: &Path) {}

/// Create `path`, where there is nothing yet, with exactly these permission bits.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// Rename a file, unless there is one of the new name already.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_without_replacing(from, to) {
        // Not every file system can; a link fails as well where a file is there, and not every one has links either.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            match fs::hard_link(from, to) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !to.exists() => {
                    fs::rename(from, to)
                }
                linked => linked.and_then(|()| fs::remove_file(from)),
            }
        }
        renamed => renamed,
    }
}

#[cfg(target_os = "linux")]
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    let [from, to] = [from, to].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (from, to) = (from?, to?);
    // SAFETY: both paths end in NUL. glibc has had the function for less time than Linux.
    let done = unsafe {
        let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
        libc::syscall(libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), flags)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn rename_without_replacing(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Sync the folder that `path` is in, where the file system and its permissions let folders be synced.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    // The folder of a name alone is the current one.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match File::open(parent).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Where the symbolic link at `path` leads in the end, also where nothing is there yet.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// Whether `path` leads to a file that is mounted by itself, as containers are given single files.
#[cfg(target_os = "linux")]
pub fn is_mounted_file(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let Ok(facts) = statx(libc::AT_FDCWD, &path, 0) else { return false };
    u32::from(facts.stx_mode) & libc::S_IFMT == libc::S_IFREG
        && facts.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
}

/// Elsewhere than on Linux nothing is detected.
#[cfg(not(target_os = "linux"))]
pub fn is_mounted_file(_: &Path) -> bool {
    false
}

/// The name of the network file system that holds `path`, if one does: SQLite's write-ahead log needs shared
/// memory of one host (<https://www.sqlite.org/wal.html#overview>).
#[cfg(target_os = "linux")]
pub fn network_file_system(path: &Path) -> Option<&'static str> {
    match file_system(path)? {
        0x6969 => Some("NFS"),
        0x517b => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x5346_414f => Some("AFS"),
        0x6b41_4653 => Some("AFS"),
        0x7461_636f => Some("OCFS2"),
        0x0116_1970 => Some("GFS2"),
        _ => None,
    }
}

/// The type of the file system that holds `path`, as statfs(2) and linux/magic.h number them.
#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> Option<u32> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut facts = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` ends in NUL, and `facts` has room for what statfs writes.
    if unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: statfs succeeded, so it filled `facts`.
    let magic = unsafe { facts.assume_init() }.f_type;
    u32::try_from(magic & 0xffff_ffff).ok()
}

/// What a file system does with what is written over something.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Overwrites {
    /// It stays where it is.
    InPlace,
    /// It goes to another place: room is needed for it.
    Elsewhere,
    /// As the file system below has it, which may be any.
    Unknown,
}

/// What the file system does that holds `path`.
#[cfg(target_os = "linux")]
pub(crate) fn overwrites(path: &Path) -> Overwrites {
    match file_system(path) {
        // Btrfs, bcachefs, ZFS and NILFS2.
        Some(0x9123_683e | 0xca45_1a4e | 0x2fc1_2fc1 | 0x3434) => Overwrites::Elsewhere,
        // overlayfs.
        Some(0x794c_7630) => Overwrites::Unknown,
        _ => Overwrites::InPlace,
    }
}

/// Elsewhere than on Linux nothing is detected.
#[cfg(not(target_os = "linux"))]
pub(crate) fn overwrites(_: &Path) -> Overwrites {
    Overwrites::InPlace
}

/// Have the pages of a mapped file be such that they can be written to; return whether there is room for that.
///
/// Where there is none, whoever writes to one of them is ended by SIGBUS. The kernel can be asked since Linux 5.14
/// (<https://man7.org/linux/man-pages/man2/madvise.2.html>).
#[cfg(target_os = "linux")]
pub(crate) fn populate(mapped: *mut c_void, bytes: usize) -> bool {
    // SAFETY: the contents do not change, and what is not mapped is refused. Pages are asked of as a whole.
    let done = unsafe {
        let before = mapped as usize % libc::sysconf(libc::_SC_PAGESIZE).max(1) as usize;
        libc::madvise(mapped.byte_sub(before), bytes + before, libc::MADV_POPULATE_WRITE)
    };
    done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

/// Elsewhere than on Linux nothing is done.
#[cfg(not(target_os = "linux"))]
pub(crate) fn populate(_: *mut c_void, _: usize) -> bool {
    true
}

/// Elsewhere than on Linux nothing is detected.
#[cfg(not(target_os = "linux"))]
pub fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_the_same_file_and_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"").unwrap();
        let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(facts(&name).unwrap().links, 1);
        fs::hard_link(&path, folder.path().join("other")).unwrap();
        let found = facts(&name).unwrap();
        assert_eq!((Some(found.id), found.links), (file_id(&path), 2));
        assert_eq!(
            descriptor_id(std::os::fd::AsRawFd::as_raw_fd(&File::open(&path).unwrap())),
            Some(found.id)
        );
    }

    #[test]
    fn a_file_that_is_there_is_not_renamed_over() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, b"from").unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().nlink(), 1);
        fs::write(&from, b"again").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"from");
    }

    #[test]
    fn a_local_folder_is_no_network_file_system() {
        assert_eq!(network_file_system(Path::new("/")), None);
        assert_eq!(network_file_system(Path::new("/no/such/path")), None);
    }
}
