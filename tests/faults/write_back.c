/* Preloaded into programs to have the write-back of a store's files fail as it does under Linux: the sync says EIO, once
 * to each file description that was open, the pages count as clean from then on, and what was in them never gets to the
 * disk. What programs share is in the file that WRITE_BACK names; tests/faults/write_back.py makes and arms it.
 *
 * Beside each file, under its name and ".disk", is what a power cut would leave of it: the pages that a sync has taken.
 * Two files are watched, the database (a name that ends in ".db") and its log (".db-wal"). Nothing is really synced. A
 * description that a forked child inherits is taken for one of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES (1 << 17)
#define DESCRIPTORS 4096

enum { NONE, DATABASE, LOG };

struct state {
    _Atomic unsigned locked;
    unsigned target; /* Of which file a write-back fails, if of any. */
    unsigned number; /* How many of its syncs it is until then; those count that have something to take. */
    unsigned forever; /* All from then on fail. */
    unsigned drop; /* What was not taken is gone at once, as under XFS, and not only once the page is evicted. */
    unsigned failed; /* How many have failed. */
    struct { unsigned errors, told; unsigned char dirty[PAGES]; } files[3];
};

static struct state *shared;
static struct { unsigned char kind; unsigned errors; } descriptors[DESCRIPTORS];

#define NEXT(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define OPEN(path, flags, mode) NEXT(int, "open64", const char *, int, ...)(path, flags, mode)
#define READ(fd, to, size, at) NEXT(ssize_t, "pread64", int, void *, size_t, off64_t)(fd, to, size, at)
#define WRITE(fd, from, size, at) NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, from, size, at)
#define TRUNCATE(fd, size) NEXT(int, "ftruncate64", int, off64_t)(fd, size)

__attribute__((constructor)) static void map(void) {
    const char *name = getenv("WRITE_BACK");
    int fd = name ? OPEN(name, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) shared = mapped;
}

static void lock(void) { while (atomic_exchange(&shared->locked, 1)) sched_yield(); }
static void unlock(void) { atomic_store(&shared->locked, 0); }

static int kind_of(const char *path) {
    size_t size = strlen(path);
    if (size > 3 && strcmp(path + size - 3, ".db") == 0) return DATABASE;
    return size > 7 && strcmp(path + size - 7, ".db-wal") == 0 ? LOG : NONE;
}

static int kind(int fd) { return shared && fd >= 0 && fd < DESCRIPTORS ? descriptors[fd].kind : NONE; }

/* A description is told of what nobody was told of before it was opened, and of all that fails afterwards. */
static int opened(int fd, const char *path) {
    if (!shared || fd < 0 || fd >= DESCRIPTORS) return fd;
    int saved = errno, which = kind_of(path);
    descriptors[fd].kind = which;
    if (which != NONE) {
        lock();
        descriptors[fd].errors = shared->files[which].errors - (shared->files[which].errors && !shared->files[which].told);
        unlock();
    }
    errno = saved;
    return fd;
}

static int image(int fd) {
    char link[64], path[4096 + 8];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, 4096);
    if (size < 0) return -1;
    strcpy(path + size, ".disk");
    return OPEN(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

/* Take what is dirty to the disk, or fail to. */
static void write_back(int fd, int which) {
    unsigned char *dirty = shared->files[which].dirty, page[PAGE];
    int fails = 0, disk = image(fd);
    struct stat facts;
    if (disk < 0 || fstat(fd, &facts)) abort();
    if (shared->target == (unsigned)which && memchr(dirty, 1, PAGES)) {
        fails = shared->number <= 1;
        if (!fails) shared->number--;
        else if (!shared->forever) shared->target = NONE;
    }
    if (fails) {
        shared->failed++;
        shared->files[which].errors++;
        shared->files[which].told = 0;
    } else if (TRUNCATE(disk, facts.st_size)) abort();
    for (unsigned char *at = memchr(dirty, 1, PAGES); at; at = memchr(at, 1, dirty + PAGES - at)) {
        off64_t where = (at - dirty) * (off64_t)PAGE;
        *at = 0;
        if (fails && !shared->drop) continue;
        memset(page, 0, PAGE);
        ssize_t size = READ(fails ? disk : fd, page, PAGE, where);
        if (where >= facts.st_size) continue;
        size = facts.st_size - where < PAGE ? facts.st_size - where : PAGE;
        if (WRITE(fails ? fd : disk, page, size, where) != size) abort();
    }
    close(disk);
}

static int synced(int fd, const char *name) {
    int which = kind(fd), fails;
    if (which == NONE) return NEXT(int, name, int)(fd);
    lock();
    write_back(fd, which);
    fails = descriptors[fd].errors != shared->files[which].errors;
    if (fails) {
        descriptors[fd].errors = shared->files[which].errors;
        shared->files[which].told = 1;
    }
    unlock();
    if (fails) errno = EIO;
    return -fails;
}

static ssize_t written(int fd, const void *data, size_t size, off64_t at) {
    int which = kind(fd);
    if (which == NONE) return WRITE(fd, data, size, at);
    lock();
    ssize_t count = WRITE(fd, data, size, at);
    for (off64_t page = at / PAGE; count > 0 && page <= (at + count - 1) / PAGE; page++) {
        if (page >= PAGES) abort();
        shared->files[which].dirty[page] = 1;
    }
    unlock();
    return count;
}

/* Of a file that shrinks nothing beyond the end is dirty; the disk has it until the next sync. */
static int truncated(int fd, off64_t size, const char *name) {
    int which = kind(fd);
    if (which == NONE) return NEXT(int, name, int, off64_t)(fd, size);
    lock();
    int done = NEXT(int, name, int, off64_t)(fd, size);
    if (done == 0) {
        off64_t first = (size + PAGE - 1) / PAGE;
        memset(shared->files[which].dirty + first, 0, PAGES - first);
        if (size % PAGE) shared->files[which].dirty[size / PAGE] = 1;
    }
    unlock();
    return done;
}

static int removed(const char *path) {
    int which = shared ? kind_of(path) : NONE, done;
    if (which == NONE) return NEXT(int, "unlink", const char *)(path);
    char disk[4096 + 8];
    snprintf(disk, sizeof disk, "%.4096s.disk", path);
    lock();
    done = NEXT(int, "unlink", const char *)(path);
    if (done == 0) {
        NEXT(int, "unlink", const char *)(disk);
        memset(shared->files[which].dirty, 0, PAGES);
        shared->files[which].errors = shared->files[which].told = 0;
    }
    unlock();
    return done;
}

#define MODE \
    va_list rest; \
    va_start(rest, flags); \
    int mode = va_arg(rest, int); \
    va_end(rest);
int open(const char *path, int flags, ...) { MODE return opened(NEXT(int, "open", const char *, int, ...)(path, flags, mode), path); }
int open64(const char *path, int flags, ...) { MODE return opened(OPEN(path, flags, mode), path); }
int close(int fd) {
    if (shared && fd >= 0 && fd < DESCRIPTORS) descriptors[fd].kind = NONE;
    return NEXT(int, "close", int)(fd);
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return written(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return written(fd, data, size, at); }
int ftruncate(int fd, off_t size) { return truncated(fd, size, "ftruncate"); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size, "ftruncate64"); }
int unlink(const char *path) { return removed(path); }
