/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * All that a run remembers stands in one mapping, so that a second handle needs no more than the
 * mapping and the rows.  It is anonymous: no name can be left behind by a crash, taken by somebody
 * else or guessed.  The system gives it zeroed, and a part begins as zeros wherever that will do.
 *
 * The header is written once, before anyone else has the segment, so plain loads read it.  It holds
 * what a second handle must agree with before it trusts an offset: the size, the layout's number,
 * and the build, since a change of a struct whose number was forgotten is another build.  The
 * record is bytes here: ht_record.h says what a kind of run keeps in it.
 *
 * Whole huge pages are mapped, so that the last part is on one as well.  They are a wish: without
 * them a run is slower, not different.  Tests: tests/c/test_segment.c, test_stream_attach.c.
 */
#define _GNU_SOURCE
#include "share/ht_segment.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ht_build.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define SMALL_PAGE ((size_t)4 << 10)
#define COLLAPSE 25 /* MADV_COLLAPSE, Linux 6.1; missing in older C libraries */

size_t ht_segment_mapped_nbytes(size_t nbytes)
{
    return (nbytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

/* Asks for huge pages: a wish, whose refusal costs speed only. */
static void ask_huge_pages(void *memory, size_t nbytes, int is_shared)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, nbytes, MADV_HUGEPAGE);
#endif
    if (!is_shared)
        return;
    /* Shared memory usually has small pages.  Once they are there, they can be collapsed. */
    for (size_t at = 0; at < nbytes; at += SMALL_PAGE)
        ((volatile char *)memory)[at] = 0;
    (void)madvise(memory, nbytes, COLLAPSE);
}

ht_err_t ht_segment_create(size_t nbytes, int is_shared, const void *record, size_t record_nbytes,
                           ht_segment_t **out)
{
    if (nbytes < HT_SEGMENT_HEADER_NBYTES || nbytes > SIZE_MAX / 2 ||
        record_nbytes > HT_SEGMENT_RECORD)
        return HT_EINVAL;
    size_t mapped = ht_segment_mapped_nbytes(nbytes);
    int flags = MAP_ANONYMOUS | (is_shared ? MAP_SHARED : MAP_PRIVATE);
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    ask_huge_pages(memory, mapped, is_shared);
    ht_segment_t *segment = memory;
    segment->magic = HT_SEGMENT_MAGIC;
    segment->layout = HT_SEGMENT_LAYOUT;
    segment->build = ht_build_id();
    segment->nbytes = mapped;
    segment->record_nbytes = record_nbytes;
    memcpy(segment->record, record, record_nbytes);
    *out = segment;
    return HT_OK;
}

ht_err_t ht_segment_check(const ht_segment_t *segment, size_t nbytes, void *record,
                          size_t record_nbytes)
{
    if (nbytes < HT_SEGMENT_HEADER_NBYTES || segment->magic != HT_SEGMENT_MAGIC ||
        segment->layout != HT_SEGMENT_LAYOUT || segment->build != ht_build_id() ||
        segment->nbytes != nbytes || segment->record_nbytes != record_nbytes)
        return HT_EINVAL;
    memcpy(record, segment->record, record_nbytes);
    return HT_OK;
}

void ht_segment_detach(ht_segment_t *segment)
{
    if (segment != NULL)
        munmap(segment, segment->nbytes);
}
