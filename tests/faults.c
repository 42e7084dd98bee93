/* Preloaded into a program to make the system fail on demand: while the file named by FAULT_SWITCH holds the name of a
 * fault, it happens. "sync": fdatasync and fsync fail with EIO. "full": writes fail with ENOSPC. "nfs": statfs says that
 * every file system is NFS. Only files whose name holds ".db" are touched, so that the program's own files stay sound. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

static int on(const char *fault) {
    const char *name = getenv("FAULT_SWITCH");
    char text[16] = "";
    int saved = errno, fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    errno = saved;
    return size > 0 && strncmp(text, fault, strlen(fault)) == 0;
}

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, ".db") != NULL;
}

#define NEXT(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define FAIL(fault, code, fd) if (ours(fd) && on(fault)) { errno = code; return -1; }

int fsync(int fd) { FAIL("sync", EIO, fd) return NEXT(int, "fsync", int)(fd); }
int fdatasync(int fd) { FAIL("sync", EIO, fd) return NEXT(int, "fdatasync", int)(fd); }

ssize_t write(int fd, const void *data, size_t size) {
    FAIL("full", ENOSPC, fd) return NEXT(ssize_t, "write", int, const void *, size_t)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    FAIL("full", ENOSPC, fd) return NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    FAIL("full", ENOSPC, fd) return NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, data, size, at);
}

static int nfs(struct statfs *answer, int result) {
    if (result == 0 && on("nfs")) answer->f_type = 0x6969;
    return result;
}
int statfs(const char *path, struct statfs *answer) {
    return nfs(answer, NEXT(int, "statfs", const char *, struct statfs *)(path, answer));
}
int fstatfs(int fd, struct statfs *answer) {
    return nfs(answer, NEXT(int, "fstatfs", int, struct statfs *)(fd, answer));
}
int statfs64(const char *path, struct statfs64 *answer) {
    return nfs((struct statfs *)answer, NEXT(int, "statfs64", const char *, struct statfs64 *)(path, answer));
}
int fstatfs64(int fd, struct statfs64 *answer) {
    return nfs((struct statfs *)answer, NEXT(int, "fstatfs64", int, struct statfs64 *)(fd, answer));
}
