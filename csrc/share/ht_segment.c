/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * All that a run remembers stands in one mapping, so that a second handle needs no more than the
 * mapping and the rows.  It has no name that could be left behind by a crash, taken by somebody
 * else or guessed.  The system gives it zeroed, and a part begins as zeros wherever that will do.
 *
 * The header is written before anyone else has the segment, so plain loads read it.  It holds what
 * a second handle must agree with before it trusts an offset: the size, the layout's number, and
 * the build, since a change of a struct whose number was forgotten is another build.  The record is
 * bytes here: ht_record.h says what a kind of run keeps in it.
 *
 * A monotonic clock differs between time namespaces, the wall clock does not.  So the difference of
 * both is equal in all processes that have one monotonic clock, however long ago it was taken.  The
 * wall clock may be set, and the monotonic one rests while the machine sleeps: hence the stamp is
 * taken anew before a process attaches.
 *
 * Whole huge pages are mapped, so that the last part is on one as well.  They are a wish: without
 * them a run is slower, not different.  Tests: tests/c/test_segment.c, test_stream_attach.c.
 */
#define _GNU_SOURCE
#include "share/ht_segment.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/ht_build.h"
#include "base/ht_futex.h"
#include "base/ht_memfd.h"

#define SECOND_NS 1000000000u

size_t ht_segment_mapped_nbytes(size_t nbytes)
{
    return (nbytes + HT_MEMFD_PAGE - 1) & ~(HT_MEMFD_PAGE - 1);
}

/* Returns the nanoseconds of the wall clock less those of the monotonic one. */
static uint64_t clock_difference(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec - ht_now_ns();
}

static ht_err_t map_private(size_t nbytes, void **memory)
{
    *memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (*memory == MAP_FAILED)
        return -errno;
#ifdef MADV_HUGEPAGE
    (void)madvise(*memory, nbytes, MADV_HUGEPAGE);
#endif
    return HT_OK;
}

static ht_err_t map_shared(size_t nbytes, int32_t *fd, void **memory)
{
    ht_err_t err = ht_memfd_create("hybridtrain-segment", nbytes, fd);
    if (err != HT_OK)
        return err;
    ht_memfd_commit(*fd, nbytes);
    err = ht_memfd_map(*fd, 0, nbytes, 1, memory);
    if (err != HT_OK)
        (void)close(*fd);
    return err;
}

ht_err_t ht_segment_create(size_t nbytes, int is_shared, const void *record, size_t record_nbytes,
                           int32_t *fd, ht_segment_t **out)
{
    if (nbytes < HT_SEGMENT_HEADER_NBYTES || nbytes > SIZE_MAX / 2 ||
        record_nbytes > HT_SEGMENT_RECORD)
        return HT_EINVAL;
    size_t mapped = ht_segment_mapped_nbytes(nbytes);
    int32_t descriptor = -1;
    void *memory;
    ht_err_t err =
        is_shared ? map_shared(mapped, &descriptor, &memory) : map_private(mapped, &memory);
    if (err != HT_OK)
        return err;
    ht_segment_t *segment = memory;
    segment->magic = HT_SEGMENT_MAGIC;
    segment->layout = HT_SEGMENT_LAYOUT;
    segment->build = ht_build_id();
    segment->nbytes = mapped;
    segment->record_nbytes = record_nbytes;
    memcpy(segment->record, record, record_nbytes);
    ht_segment_stamp(segment);
    *fd = descriptor;
    *out = segment;
    return HT_OK;
}

void ht_segment_stamp(ht_segment_t *segment)
{
    /* relaxed: handed over by the start of the process that attaches. */
    ht_store_relaxed(&segment->stamp, clock_difference());
}

/* Returns whether this build of the core can read a segment of nbytes, as mapped. */
static int is_sound(const ht_segment_t *segment, size_t nbytes)
{
    return nbytes >= HT_SEGMENT_HEADER_NBYTES && segment->magic == HT_SEGMENT_MAGIC &&
           segment->layout == HT_SEGMENT_LAYOUT && segment->build == ht_build_id() &&
           segment->nbytes == nbytes;
}

static int has_our_clock(const ht_segment_t *segment)
{
    /* relaxed: handed over by the start of this process. */
    uint64_t behind = clock_difference() - ht_load_relaxed(&segment->stamp) + SECOND_NS;
    return behind <= 2 * (uint64_t)SECOND_NS;
}

ht_err_t ht_segment_attach(int32_t fd, ht_segment_t **out)
{
    size_t nbytes;
    void *memory;
    ht_err_t err = ht_memfd_check(fd, &nbytes);
    if (err == HT_OK)
        err = ht_memfd_map(fd, 0, nbytes, 1, &memory);
    if (err != HT_OK)
        return err;
    if (!is_sound(memory, nbytes) || !has_our_clock(memory)) {
        (void)munmap(memory, nbytes);
        return HT_EINVAL;
    }
    *out = memory;
    return HT_OK;
}

ht_err_t ht_segment_check(const ht_segment_t *segment, size_t nbytes, void *record,
                          size_t record_nbytes)
{
    if (!is_sound(segment, nbytes) || segment->record_nbytes != record_nbytes)
        return HT_EINVAL;
    memcpy(record, segment->record, record_nbytes);
    return HT_OK;
}

void ht_segment_detach(ht_segment_t *segment, int32_t fd)
{
    if (segment == NULL)
        return;
    (void)munmap(segment, segment->nbytes);
    if (fd >= 0)
        (void)close(fd);
}
