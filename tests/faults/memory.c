/* Preloaded into a program to make single allocations of one shared library fail; all others are left alone.
 *
 * `memory_watch` takes the library, in which two allocators are told apart by the code that calls malloc: SQLite's, and
 * all else, which is Rust's. SQLite's is learnt: `memory_learn(1)`, then a statement that makes SQLite alone allocate
 * LEARNT bytes, by malloc and by realloc, then `memory_learn(0)`. `memory_fail` chooses what fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RUST = 1, SQLITE = 2 };
#define LEARNT 100000
#define SITES 16

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static uintptr_t from, to;
static _Atomic uintptr_t sites[SITES];
static atomic_int learning, whose;
static atomic_long number, least, seen;

static int in_library(struct dl_phdr_info *info, size_t size, void *name) {
    (void)size;
    if (!info->dlpi_name || !strstr(info->dlpi_name, name)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
        from = info->dlpi_addr + part->p_vaddr;
        to = from + part->p_memsz;
    }
    return 1;
}

/* Watch the library whose path contains this; return whether it is loaded. */
int memory_watch(char *name) { return dl_iterate_phdr(in_library, name) && from < to; }

void memory_learn(int on) { atomic_store(&learning, on); }

/* From now on, let the `n`th allocation fail of at least so many bytes by RUST or by SQLITE; 0 lets none fail. */
void memory_fail(int allocator, long n, long size) {
    atomic_store(&whose, 0);
    atomic_store(&seen, 0);
    atomic_store(&number, n);
    atomic_store(&least, size);
    atomic_store(&whose, allocator);
}

/* How many such allocations there were since. */
long memory_seen(void) { return atomic_load(&seen); }

static int is_sqlite(uintptr_t caller) {
    for (int i = 0; i < SITES && atomic_load(&sites[i]); i++)
        if (atomic_load(&sites[i]) == caller) return 1;
    return 0;
}

static int fails(size_t size, void *return_address) {
    uintptr_t caller = (uintptr_t)return_address;
    if (caller < from || caller >= to) return 0;
    if (atomic_load(&learning) && size >= LEARNT && !is_sqlite(caller)) {
        int free_site = 0;
        while (free_site < SITES - 1 && atomic_load(&sites[free_site])) free_site++;
        atomic_store(&sites[free_site], caller);
    }
    int chosen = atomic_load(&whose);
    if (!chosen || (long)size < atomic_load(&least)) return 0;
    if (chosen != (is_sqlite(caller) ? SQLITE : RUST)) return 0;
    if (atomic_fetch_add(&seen, 1) + 1 != atomic_load(&number)) return 0;
    errno = ENOMEM;
    return 1;
}

#define FAILS(size) fails(size, __builtin_return_address(0))

void *malloc(size_t size) { return FAILS(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return FAILS(count * size) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return FAILS(size) ? NULL : __libc_realloc(old, size); }
int posix_memalign(void **found, size_t alignment, size_t size) {
    if (FAILS(size)) return ENOMEM;
    *found = __libc_memalign(alignment, size);
    return *found ? 0 : ENOMEM;
}
