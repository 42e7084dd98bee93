/* Preloaded into a program to make the system fail on demand. While the file named by FAULT_SWITCH holds the name of a
 * fault, it happens:
 *
 *   sync         fdatasync and fsync fail with EIO
 *   sync once    as "sync", the next time only
 *   no sync      fdatasync and fsync do nothing, and say that they did
 *   full         writes fail with ENOSPC
 *   flaky SEED   two of a hundred writes and syncs fail with EIO
 *   quota        writes fail with EDQUOT
 *   no index     writes to a -shm fail with ENOSPC
 *   no room      mapped files cannot be written to: madvise(MADV_POPULATE_WRITE) fails with EFAULT; on Btrfs, says statfs
 *   no room further  as "no room", but for the first part of a file that is asked about
 *   no rewrite   the header of a log cannot be written over, nor can a log be cut off: ENOSPC
 *   no sharing   files cannot be mapped into memory that processes share: mmap fails with ENODEV
 *   no threads   no thread can be started: pthread_create fails with EAGAIN
 *   statfs HEX   statfs says that every file system is of this type
 *   time SECONDS the clock is so many seconds ahead, or behind; they may have a fraction
 *   suspend SECONDS as "time", for which the system was suspended
 *   clock NAME N threads of this name cannot tell the time from their N-th look at it on: Rust panics
 *
 * Only files whose name holds ".db" are touched, so that the program's own files stay sound. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { LOG_HEADER = 32 };

/* Whether `fault` is on; what comes after its name goes to `argument`. */
static int on(const char *fault, char argument[32]) {
    const char *name = getenv("FAULT_SWITCH");
    char text[32] = "";
    int saved = errno, fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    errno = saved;
    if (size <= 0 || strncmp(text, fault, strlen(fault)) != 0) return 0;
    strcpy(argument, text + strlen(fault));
    return 1;
}

static int is_named(int fd, const char *part) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, part) != NULL;
}

static int ours(int fd) { return is_named(fd, ".db"); }

/* Two of a hundred calls, by the seed: the same calls in the same order fail each time. */
static int unlucky(const char *seed) {
    static atomic_uint_fast64_t calls;
    uint64_t x = strtoull(seed, NULL, 10) * 1000000007 + atomic_fetch_add(&calls, 1) + 1;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return (x ^ (x >> 31)) % 50 == 0;
}

/* The error that a sync meets, 0 for none, or -1 if it is to be left out. */
static int sync_fault(int fd) {
    char argument[32];
    if (!ours(fd)) return 0;
    if (on("no sync", argument)) return -1;
    if (on("flaky", argument)) return unlucky(argument) ? EIO : 0;
    if (!on("sync", argument)) return 0;
    if (strstr(argument, "once")) unlink(getenv("FAULT_SWITCH"));
    return EIO;
}

static int is_no_rewrite(int fd) {
    char argument[32];
    return is_named(fd, ".db-wal") && on("no rewrite", argument);
}

/* The error that a write meets, or 0. */
static int write_fault(int fd, size_t size) {
    char argument[32];
    if (!ours(fd)) return 0;
    if (on("full", argument)) return ENOSPC;
    if (on("quota", argument)) return EDQUOT;
    if (on("no index", argument) && is_named(fd, "-shm")) return ENOSPC;
    if (size == LOG_HEADER && is_no_rewrite(fd)) return ENOSPC;
    return on("flaky", argument) && unlucky(argument) ? EIO : 0;
}

#define NEXT(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define SYNC(name) \
    int error = sync_fault(fd); \
    if (error > 0) errno = error; \
    return error ? -(error > 0) : NEXT(int, name, int)(fd);
#define WRITE(name, types, ...) \
    int error = write_fault(fd, size); \
    if (error) errno = error; \
    return error ? -1 : NEXT(ssize_t, name, int, const void *, size_t types)(fd, data, size __VA_ARGS__);
#define COMMA ,

int fsync(int fd) { SYNC("fsync") }
int fdatasync(int fd) { SYNC("fdatasync") }
ssize_t write(int fd, const void *data, size_t size) { WRITE("write", , ) }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { WRITE("pwrite", COMMA off_t, COMMA at) }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { WRITE("pwrite64", COMMA off64_t, COMMA at) }

#define MAP(name, offset) \
    char argument[32]; \
    if (flags & MAP_SHARED && ours(fd) && on("no sharing", argument)) { \
        errno = ENODEV; \
        return MAP_FAILED; \
    } \
    return NEXT(void *, name, void *, size_t, int, int, int, offset)(to, size, rights, flags, fd, at);

void *mmap(void *to, size_t size, int rights, int flags, int fd, off_t at) { MAP("mmap", off_t) }
void *mmap64(void *to, size_t size, int rights, int flags, int fd, off64_t at) { MAP("mmap64", off64_t) }

int madvise(void *at, size_t size, int advice) {
    char argument[32];
    static void *first;
    if (advice == MADV_POPULATE_WRITE && on("no room", argument)) {
        if (!first) first = at;
        if (first != at || !strstr(argument, "further")) {
            errno = EFAULT;
            return -1;
        }
    }
    return NEXT(int, "madvise", void *, size_t, int)(at, size, advice);
}

#define CUT(name, length) \
    if (is_no_rewrite(fd)) { \
        errno = ENOSPC; \
        return -1; \
    } \
    return NEXT(int, name, int, length)(fd, size);

int ftruncate(int fd, off_t size) { CUT("ftruncate", off_t) }
int ftruncate64(int fd, off64_t size) { CUT("ftruncate64", off64_t) }

static int typed(struct statfs *answer, int result) {
    char argument[32];
    if (result == 0 && on("statfs", argument)) answer->f_type = strtol(argument, NULL, 16);
    if (result == 0 && on("no room", argument)) answer->f_type = 0x9123683e;
    return result;
}
int statfs(const char *path, struct statfs *answer) {
    return typed(answer, NEXT(int, "statfs", const char *, struct statfs *)(path, answer));
}
int fstatfs(int fd, struct statfs *answer) {
    return typed(answer, NEXT(int, "fstatfs", int, struct statfs *)(fd, answer));
}
int statfs64(const char *path, struct statfs64 *answer) {
    return typed((struct statfs *)answer, NEXT(int, "statfs64", const char *, struct statfs64 *)(path, answer));
}
int fstatfs64(int fd, struct statfs64 *answer) {
    return typed((struct statfs *)answer, NEXT(int, "fstatfs64", int, struct statfs64 *)(fd, answer));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *given) {
    char argument[32];
    if (on("no threads", argument)) return EAGAIN;
    return NEXT(int, "pthread_create", pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)(
        thread, attributes, start, given);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __thread unsigned long looks;
    char argument[32], name[16], wanted[16];
    unsigned long from;
    if (gettid() != getpid() && on("clock ", argument) && sscanf(argument, "%15s %lu", wanted, &from) == 2) {
        prctl(PR_GET_NAME, name);
        if (strcmp(name, wanted) == 0 && ++looks >= from) {
            errno = EINVAL;
            return -1;
        }
    }
    int result = NEXT(int, "clock_gettime", clockid_t, struct timespec *)(clock, time);
    int shifted = (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME) && on("suspend ", argument);
    if (shifted || (clock == CLOCK_REALTIME && on("time ", argument))) {
        int64_t now = time->tv_sec * 1000000000LL + time->tv_nsec + (int64_t)(strtod(argument, NULL) * 1e9);
        int64_t nanoseconds = (now % 1000000000 + 1000000000) % 1000000000;
        time->tv_sec = (now - nanoseconds) / 1000000000;
        time->tv_nsec = nanoseconds;
    }
    return result;
}
