/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_memfd: memory that processes share by a descriptor: without a name, of a sealed size.
 *
 * Layer L1: may include L0.  The memory lives until the last descriptor is closed and the last
 * mapping is gone; the system frees it also when every process is killed.  Any thread may make any
 * call.
 */
#ifndef HT_MEMFD_H
#define HT_MEMFD_H

#include "base/ht_base.h"

#define HT_MEMFD_PAGE ((size_t)2 << 20) /* a huge page */

/* Creates nbytes of zeroed memory, whose size nobody can change.  Its descriptor is above those of
 * the standard streams, and closed in programs that are executed.  -errno when the system refuses:
 * -ENOSYS where it has no such memory. */
ht_err_t ht_memfd_create(const char *name, size_t nbytes, int32_t *fd);

/* Takes the memory at once, in huge pages where the system grants them.  Without the call, it is
 * taken where it is first used, in small ones. */
void ht_memfd_commit(int32_t fd, size_t nbytes);

/* Writes nbytes at an offset of the memory. */
ht_err_t ht_memfd_write(int32_t fd, const void *from, size_t nbytes, size_t offset);

/* Makes the memory read-only for every process.  -EBUSY while a mapping can write to it,
 * also one that a process has got by a fork. */
ht_err_t ht_memfd_freeze(int32_t fd);

/* Checks that the descriptor is of memory whose size nobody can change, and writes that size.
 * HT_EINVAL: it is something else. */
ht_err_t ht_memfd_check(int32_t fd, size_t *nbytes);

/* Maps nbytes of a descriptor, from an offset on, a multiple of HT_MEMFD_PAGE, at an address where
 * a huge page can begin.  Without is_writable, a store is a fault. */
ht_err_t ht_memfd_map(int32_t fd, size_t offset, size_t nbytes, int is_writable, void **memory);

#endif
