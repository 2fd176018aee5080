/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The sizes and addresses of a segment's parts used to be written three times in one order: to
 * measure, to carve and to attach.  One list serves all three, so they cannot disagree.
 *
 * The list is not in the segment.  Each handle computes it from the settings in the segment's
 * record, by the same function, so there is no offset in shared memory that could be wrong; a
 * handle that attaches compares the size that comes out with the size of the mapping.  A part that
 * a run does not have keeps its number, with 0 bytes and NULL as its address: users test the
 * pointer.
 *
 * A piece is whole lines, so pieces of different writers never share one.  Tests:
 * tests/c/test_layout.c.
 */
#include "share/ht_layout.h"

#include <string.h>

/* Returns the bytes from one piece of a part to the next. */
static size_t stride(const ht_part_t *part)
{
    return (part->nbytes + HT_LINE - 1) & ~(size_t)(HT_LINE - 1);
}

void ht_layout_init(ht_layout_t *layout, const ht_part_t *parts, int n_parts)
{
    HT_ASSERT(n_parts <= HT_LAYOUT_PARTS);
    memset(layout, 0, sizeof *layout);
    layout->nbytes = HT_SEGMENT_HEADER_NBYTES;
    for (int k = 0; k < n_parts; k++) {
        ht_part_t *part = &layout->parts[k];
        *part = parts[k];
        part->offset = layout->nbytes;
        layout->nbytes += stride(part) * part->count;
    }
}

void *ht_layout_at(const ht_layout_t *layout, ht_segment_t *segment, int part, size_t i)
{
    const ht_part_t *found = &layout->parts[part];
    HT_ASSERT(found->nbytes == 0 || i < found->count);
    return found->nbytes == 0 ? NULL : (char *)segment + found->offset + stride(found) * i;
}
