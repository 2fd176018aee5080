/* SPDX-License-Identifier: BSD-3-Clause */
#include "share/ht_layout.h"

#include <string.h>

/* From one piece of a part to the next. */
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
