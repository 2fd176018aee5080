/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_claims: which worker has taken each chunk of a feed, and which chunks are done.
 *
 * Layer L4.  Lives in the segment.  A feed's cursor hands out positions; what counts is a word for
 * each chunk, so that the chunk of a worker that dies is found again.
 *
 *   chunk[c]   the epoch that touched it last; OPEN, TAKEN by a worker, DONE, or AWAY
 *
 * A chunk that is AWAY is not for the workers here: another node does it, or nobody yet.  A chunk
 * whose word is of an earlier epoch is open.  Any worker may take a chunk; the worker that
 * has taken it, or the next one of its place, marks it done.  Relaxed throughout: rows are
 * read-only, and a dead worker's words are read after its death was confirmed.
 */
#ifndef HT_CLAIMS_H
#define HT_CLAIMS_H

#include "rows/ht_feed.h"
#include "share/ht_point.h"

typedef struct {
    HT_ALIGNED ht_word32_t disturbed; /* the epoch in which a worker died last; by the supervisor */
    HT_ALIGNED ht_word64_t chunk[];   /* n_chunks of the feed */
} ht_claims_t;

_Static_assert(sizeof(ht_claims_t) == HT_LINE, "the layout of the segment");

/* Returns the bytes of the claims of a feed with n_chunks chunks. */
size_t ht_claims_nbytes(uint64_t n_chunks);

/* Takes a chunk for a worker; returns whether it was open. */
int ht_claims_take(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position, uint32_t worker);

/* Takes the next chunk of the open epoch for a worker.  points: where it may be held; may be NULL.
 * HT_EEND when none is open. */
ht_err_t ht_claims_next(ht_claims_t *claims, ht_feed_t *feed, ht_points_t *points, uint32_t worker,
                        uint64_t *position);

/* Finds a chunk of the open epoch that a worker of this place has taken and not done.  HT_EEND when
 * there is none. */
ht_err_t ht_claims_left(ht_claims_t *claims, const ht_feed_t *feed, uint32_t worker,
                        uint64_t *position);

/* Notes that a chunk of the open epoch is done.  For the worker that has taken it. */
void ht_claims_done(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position);

/* Notes that a worker has died in the open epoch: it may have got a position from the feed and not
 * taken the chunk.  The supervisor's. */
void ht_claims_disturb(ht_claims_t *claims, const ht_feed_t *feed);

/* What a chunk of the open epoch is. */
typedef enum { HT_CHUNK_OPEN, HT_CHUNK_TAKEN, HT_CHUNK_DONE, HT_CHUNK_AWAY } ht_chunk_state_t;

/* Returns what a chunk is, and sets it: to anything but HT_CHUNK_TAKEN.  The supervisor's, at
 * rest. */
ht_chunk_state_t ht_claims_state(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position);
void ht_claims_set(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position,
                   ht_chunk_state_t state);

/* Returns whether a worker has died in the open epoch. */
int ht_claims_is_disturbed(ht_claims_t *claims, const ht_feed_t *feed);

/* Returns whether a chunk of the open epoch is done. */
int ht_claims_is_done(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position);

#endif
