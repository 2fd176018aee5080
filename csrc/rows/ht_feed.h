/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_feed: hands every row of an epoch to exactly one worker.
 *
 * Layer L2.  Lives in the segment.  Any worker may claim, and ask for the rows of
 * a chunk, at any time; begin is the supervisor's, while all workers rest.
 *
 * Rows are handed out in chunks.  A chunk is one or more strips of neighbouring
 * rows: the strips are the next ones of a random permutation, and the rows are
 * taken from them in turn.  One long strip is read at the full speed of memory.
 * Where neighbours in the file are alike (sorted by class, say), several short
 * strips keep them apart in time.  The rows of a chunk are a function of (seed, epoch,
 * position), never of a queue.
 */
#ifndef HT_FEED_H
#define HT_FEED_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

#define HT_CHUNK_ROWS 512 /* at most */
#define HT_FEED_STRIPS 16 /* at most */

/* Constant after init, but for the first and the last two fields.
 *
 *   strip_rows * strips <= HT_CHUNK_ROWS
 *   n_strips == ceil(n_rows / strip_rows)    n_chunks == ceil(n_strips / strips)
 *   limit <= n_chunks                        positions before min(cursor, limit) were handed out
 */
typedef struct {
    HT_ALIGNED ht_word64_t cursor; /* next position of the epoch; any worker adds to it */
    HT_ALIGNED uint64_t n_rows;
    uint64_t seed;
    uint64_t n_strips;
    uint64_t n_chunks;   /* of an epoch */
    uint32_t strip_rows; /* 1 .. HT_CHUNK_ROWS / strips */
    uint32_t strips;     /* in one chunk: 1 .. HT_FEED_STRIPS */
    uint32_t epoch;      /* written by the supervisor between epochs; 0: none was begun */
    uint64_t limit;      /* no position from here on is handed out; the supervisor's, at rest */
} ht_feed_t;

_Static_assert(sizeof(ht_feed_t) == 2 * HT_LINE, "the layout of the segment");

/* Prepares a zeroed feed; no epoch is open.  HT_EINVAL unless 1 <= n_rows < 2^40 and
 * 1 <= strips <= HT_FEED_STRIPS. */
ht_err_t ht_feed_init(ht_feed_t *feed, uint64_t n_rows, uint64_t seed, uint32_t strips);

/* Opens epoch 1, 2, ...; the supervisor's, while all workers rest. */
void ht_feed_begin(ht_feed_t *feed, uint32_t epoch);

/* Hands out the positions first .. limit-1 of the open epoch next, limit <= n_chunks, and none
 * after them; the supervisor's, while all workers rest. */
void ht_feed_set_range(ht_feed_t *feed, uint64_t first, uint64_t limit);

/* Claims the next chunk for the caller and writes its position, 0 .. limit-1.  HT_EEND when no
 * chunk is left. */
ht_err_t ht_feed_claim(ht_feed_t *feed, uint64_t *position);

/* Writes the row numbers of a chunk of the open epoch, in the order of training; returns how many
 * (1 .. HT_CHUNK_ROWS). */
int ht_feed_rows(const ht_feed_t *feed, uint64_t position, int64_t rows[HT_CHUNK_ROWS]);

/* Returns the number of a chunk of the open epoch, from 1 at the start of the run: what the points
 * of a stream (ht_point.h) take for its step. */
HT_INLINE uint32_t ht_feed_step(const ht_feed_t *feed, uint64_t position)
{
    uint64_t step = (feed->epoch - 1) * feed->n_chunks + position + 1;
    return step < UINT32_MAX ? (uint32_t)step : UINT32_MAX;
}

/* Returns how many rows ht_feed_rows writes. */
int ht_feed_n_rows(const ht_feed_t *feed, uint64_t position);

#endif
