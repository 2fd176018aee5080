/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A size that can change would let one process cut off memory that another one uses: SIGBUS.  So
 * the size is sealed before anyone maps the memory.
 *
 * The system maps a file wherever it likes.  Huge pages are only used where the address and the
 * offset agree, so an aligned part of a larger reservation is mapped over.
 *
 * Usually the system gives shared memory small pages, whatever a program advises.  But where one
 * page is there, it makes the huge page around it at once when it is asked to: this takes less time
 * than the small pages do.  Where it refuses, the small pages are taken.  A private mapping does
 * for that, and memory is filled by writes to its descriptor: any fork in the process would copy a
 * mapping that can be written to, and keep the memory from being frozen.
 *
 * A memory descriptor must not be one of the standard streams of a program that was started
 * without them: what it prints would be written there.
 *
 * The calls are made by number, since older C libraries lack them.  Tests: tests/c/test_memfd.c.
 */
#define _GNU_SOURCE
#include "base/ht_memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SMALL_PAGE ((size_t)4 << 10)
#define COLLAPSE 25 /* MADV_COLLAPSE, Linux 6.1; missing in older C libraries */

#ifdef SYS_memfd_create
enum {
    CLOSE_ON_EXEC = 0x1, /* MFD_CLOEXEC and so on */
    ALLOW_SEALING = 0x2,
    NO_EXECUTION = 0x8, /* Linux 6.3 */
    ADD_SEALS = 1033,   /* F_ADD_SEALS and so on */
    GET_SEALS = 1034,
    SEAL_SEALS = 0x1,
    SEAL_SIZE = 0x2 | 0x4, /* F_SEAL_SHRINK, F_SEAL_GROW */
    SEAL_WRITING = 0x8,
    FIRST_FD = 3
};

static int create(const char *name)
{
    unsigned flags = CLOSE_ON_EXEC | ALLOW_SEALING;
    long fd = syscall(SYS_memfd_create, name, flags | NO_EXECUTION);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_memfd_create, name, flags);
    if (fd < 0 || fd >= FIRST_FD)
        return (int)fd;
    int higher = fcntl((int)fd, F_DUPFD_CLOEXEC, FIRST_FD), error = errno;
    (void)close((int)fd);
    errno = error;
    return higher;
}

ht_err_t ht_memfd_create(const char *name, size_t nbytes, int32_t *fd)
{
    int created = create(name);
    if (created < 0)
        return -errno;
    if (ftruncate(created, (off_t)nbytes) != 0 || fcntl(created, ADD_SEALS, SEAL_SIZE) != 0) {
        int error = errno;
        (void)close(created);
        return -error;
    }
    *fd = created;
    return HT_OK;
}

ht_err_t ht_memfd_freeze(int32_t fd)
{
    return fcntl(fd, ADD_SEALS, SEAL_WRITING | SEAL_SEALS) == 0 ? HT_OK : -errno;
}

ht_err_t ht_memfd_check(int32_t fd, size_t *nbytes)
{
    struct stat status;
    int seals = fcntl(fd, GET_SEALS);
    if (seals < 0 || (seals & SEAL_SIZE) != SEAL_SIZE || fstat(fd, &status) != 0)
        return HT_EINVAL;
    *nbytes = (size_t)status.st_size;
    return HT_OK;
}
#else
ht_err_t ht_memfd_create(const char *name, size_t nbytes, int32_t *fd)
{
    (void)name;
    (void)nbytes;
    (void)fd;
    return -ENOSYS;
}

ht_err_t ht_memfd_freeze(int32_t fd)
{
    (void)fd;
    return -ENOSYS;
}

ht_err_t ht_memfd_check(int32_t fd, size_t *nbytes)
{
    (void)fd;
    (void)nbytes;
    return HT_EINVAL;
}
#endif

ht_err_t ht_memfd_write(int32_t fd, const void *from, size_t nbytes, size_t offset)
{
    const char *bytes = from;
    /* ends: a write of something is never empty. */
    while (nbytes > 0) {
        ssize_t n = pwrite(fd, bytes, nbytes, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return -errno;
        size_t written = n < 0 ? 0 : (size_t)n;
        bytes += written;
        nbytes -= written;
        offset += written;
    }
    return HT_OK;
}

/* Maps a descriptor at an address where a huge page can begin. */
static ht_err_t map(int32_t fd, size_t offset, size_t nbytes, int protection, int flags,
                    void **memory)
{
    if (nbytes == 0 || nbytes > SIZE_MAX / 2 || offset % HT_MEMFD_PAGE != 0)
        return HT_EINVAL;
    size_t reserved = nbytes + HT_MEMFD_PAGE;
    char *room = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return -errno;
    size_t before = -(uintptr_t)room % HT_MEMFD_PAGE;
    char *at = room + before;
    if (mmap(at, nbytes, protection, flags | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED) {
        int error = errno;
        (void)munmap(room, reserved);
        return -error;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (nbytes + page - 1) / page * page;
    if (before > 0)
        (void)munmap(room, before);
    (void)munmap(at + mapped, reserved - before - mapped);
    *memory = at;
    return HT_OK;
}

ht_err_t ht_memfd_map(int32_t fd, size_t offset, size_t nbytes, int is_writable, void **memory)
{
    int protection = is_writable ? PROT_READ | PROT_WRITE : PROT_READ;
    return map(fd, offset, nbytes, protection, MAP_SHARED, memory);
}

/* Reads a byte of every so many. */
static void touch(const char *memory, size_t nbytes, size_t every)
{
    for (size_t at = 0; at < nbytes; at += every)
        (void)((const volatile char *)memory)[at];
}

void ht_memfd_commit(int32_t fd, size_t nbytes)
{
    void *memory = NULL;
    if (map(fd, 0, nbytes, PROT_READ, MAP_PRIVATE, &memory) != HT_OK)
        return;
    touch(memory, nbytes, HT_MEMFD_PAGE);
    (void)madvise(memory, nbytes, COLLAPSE);
    touch(memory, nbytes, SMALL_PAGE);
    (void)munmap(memory, nbytes);
}
