/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_segment: the shared memory of one run: a header, then the parts that ht_layout lists.
 *
 * Layer L3: may include L0 to L2.  One thread creates and detaches, and one at a time stamps.  Any
 * thread may check and read the header in between; the modules of the parts say who uses the memory
 * after it.  The segment is on huge pages where the system grants them.  It has no name, and
 * vanishes with the last process that has it.
 */
#ifndef HT_SEGMENT_H
#define HT_SEGMENT_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

#define HT_SEGMENT_MAGIC UINT64_C(0x6879627264747231) /* "hybrdtr1" */
#define HT_SEGMENT_LAYOUT 18u        /* raised with every change of a shared struct */
#define HT_SEGMENT_RECORD 256        /* bytes of a run's record (ht_record.h), at most */
#define HT_SEGMENT_HEADER_NBYTES 384 /* where the first part begins */

/* Stands at the start of the mapping.  Written by the creator before anyone else has the segment;
 * all but the stamp never again.
 *
 *   nbytes == ht_segment_mapped_nbytes(bytes asked for)
 */
typedef struct {
    uint64_t magic;         /* HT_SEGMENT_MAGIC */
    uint64_t layout;        /* HT_SEGMENT_LAYOUT */
    uint64_t build;         /* ht_build_id of the creator */
    uint64_t nbytes;        /* of the whole mapping */
    uint64_t record_nbytes; /* 0 .. HT_SEGMENT_RECORD */
    ht_word64_t stamp;      /* nanoseconds of the creator's wall clock less its monotonic one */
    unsigned char record[HT_SEGMENT_RECORD];
} ht_segment_t;

_Static_assert(sizeof(ht_segment_t) == 48 + HT_SEGMENT_RECORD, "no padding");
_Static_assert(sizeof(ht_segment_t) <= HT_SEGMENT_HEADER_NBYTES, "the header fits its place");
_Static_assert(HT_SEGMENT_HEADER_NBYTES % HT_LINE == 0, "the first part begins a line");

/* Returns the bytes of the mapping that holds `nbytes`, header included: whole huge pages. */
size_t ht_segment_mapped_nbytes(size_t nbytes);

/* Maps nbytes, header included, zeroed, and copies the record into the header.  is_shared: *fd is
 * the descriptor by which other processes may attach, and processes that are forked later share the
 * memory.  Otherwise *fd is -1, and processes that are forked get copies.  HT_EINVAL above
 * SIZE_MAX / 2 bytes, and for a record that does not fit; -ENOMEM, -ENOSYS (ht_memfd.h) or what
 * else the system refuses it for. */
ht_err_t ht_segment_create(size_t nbytes, int is_shared, const void *record, size_t record_nbytes,
                           int32_t *fd, ht_segment_t **out);

/* Notes the difference of this process's clocks, before another process attaches. */
void ht_segment_stamp(ht_segment_t *segment);

/* Maps a segment that another process has created.  HT_EINVAL: the descriptor is of something else,
 * or of memory whose size can change; another layout or build of the core has created the segment;
 * or this process's monotonic clock is not within one second of the creator's, as in another time
 * namespace: times in the segment would mean nothing here.  -errno when the system refuses. */
ht_err_t ht_segment_attach(int32_t fd, ht_segment_t **out);

/* Checks a segment of nbytes, as mapped, that another handle has created, and copies its record
 * out.  HT_EINVAL, and nothing is copied, for another magic, layout, build, size or size of the
 * record. */
ht_err_t ht_segment_check(const ht_segment_t *segment, size_t nbytes, void *record,
                          size_t record_nbytes);

/* Unmaps a segment, and closes its descriptor unless it is -1; NULL is allowed. */
void ht_segment_detach(ht_segment_t *segment, int32_t fd);

#endif
