/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_layout: the parts of a segment, and where they are: one list.
 *
 * Layer L4.  A kind of run writes its list in one function of its settings.  The list gives the
 * size of the segment before it is created, and the address of every part to the handle that
 * created the segment and to each one that attaches to it.  A list is private to its handle and
 * constant; anyone may read it.
 */
#ifndef HT_LAYOUT_H
#define HT_LAYOUT_H

#include "share/ht_segment.h"

#define HT_LAYOUT_PARTS 32 /* at most */

/* A part: `count` pieces of `nbytes`, each piece on lines of its own. */
typedef struct {
    size_t nbytes; /* of one piece; 0: this run has no such part */
    size_t count;
    size_t offset; /* of the first piece in the segment; set by ht_layout_init */
} ht_part_t;

/* The parts of a segment; stride(p) is p.nbytes rounded up to whole lines.
 *
 *   parts[0].offset     == HT_SEGMENT_HEADER_NBYTES
 *   parts[k + 1].offset == parts[k].offset + stride(parts[k]) * parts[k].count
 *   nbytes              == what the offset of one more part would be
 */
typedef struct {
    ht_part_t parts[HT_LAYOUT_PARTS];
    size_t nbytes; /* of the segment: header and all parts */
} ht_layout_t;

/* Lays n_parts <= HT_LAYOUT_PARTS parts one after the other behind the header. */
void ht_layout_init(ht_layout_t *layout, const ht_part_t *parts, int n_parts);

/* Returns the address of piece i of a part, aligned to HT_LINE; NULL when the run has no such
 * part. */
void *ht_layout_at(const ht_layout_t *layout, ht_segment_t *segment, int part, size_t i);

#endif
