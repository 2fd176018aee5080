/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "share/ht_segment.h"

#include <errno.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define HEADER_NBYTES HT_LINE

_Static_assert(sizeof(ht_segment_t) <= HEADER_NBYTES, "the header fits its line");

size_t ht_segment_carved_nbytes(size_t nbytes)
{
    return (nbytes + HT_LINE - 1) & ~(size_t)(HT_LINE - 1);
}

ht_err_t ht_segment_create(size_t nbytes, ht_segment_t **out)
{
    if (nbytes > SIZE_MAX / 2)
        return HT_EINVAL;
    size_t total = (nbytes + HEADER_NBYTES + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    void *memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, total, MADV_HUGEPAGE); /* a wish: refusal costs speed only */
#endif
    ht_segment_t *segment = memory;
    segment->magic = HT_SEGMENT_MAGIC;
    segment->layout = HT_SEGMENT_LAYOUT;
    segment->nbytes = total;
    segment->used = HEADER_NBYTES;
    *out = segment;
    return HT_OK;
}

void *ht_segment_carve(ht_segment_t *segment, size_t nbytes)
{
    if (nbytes > segment->nbytes)
        return NULL;
    size_t need = ht_segment_carved_nbytes(nbytes);
    if (need > segment->nbytes - segment->used)
        return NULL;
    void *memory = (char *)segment + segment->used;
    segment->used += need;
    return memory;
}

void ht_segment_detach(ht_segment_t *segment)
{
    if (segment != NULL)
        munmap(segment, segment->nbytes);
}
