/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_segment: the shared memory of one run.
 *
 * Layer L3: may include L0 to L2.  One thread creates, carves and detaches;
 * carved memory may then be used by anyone.  The segment is an anonymous
 * mapping, on huge pages where the system grants them: it has no name and
 * vanishes with the process.
 */
#ifndef HT_SEGMENT_H
#define HT_SEGMENT_H

#include "base/ht_base.h"

#define HT_SEGMENT_MAGIC UINT64_C(0x6879627264747231) /* "hybrdtr1" */
#define HT_SEGMENT_LAYOUT 2u /* raised with every change of a shared struct */

/* Stands at the start of the mapping; written by the creator alone. */
typedef struct {
    uint64_t magic;
    uint64_t layout;
    uint64_t nbytes; /* of the whole mapping */
    uint64_t used;   /* bytes carved so far, header included */
} ht_segment_t;

/* Maps at least nbytes for carving, zeroed.  -ENOMEM when refused, HT_EINVAL
 * above SIZE_MAX / 2. */
ht_err_t ht_segment_create(size_t nbytes, ht_segment_t **out);

/* Hands out nbytes, zeroed and aligned to HT_LINE; NULL when the segment is
 * too small or nbytes overflows. */
void *ht_segment_carve(ht_segment_t *segment, size_t nbytes);

/* What carving nbytes takes, for adding up sizes before create. */
size_t ht_segment_carved_nbytes(size_t nbytes);

/* Unmaps; NULL is allowed. */
void ht_segment_detach(ht_segment_t *segment);

#endif
