/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A worker takes a position from the feed's cursor, and then the chunk by compare-and-swap. Between
 * the two it may die: then the position is lost, and the chunk's word is still open.  So in an
 * epoch in which a worker has died, those that find the cursor at its end look through all words;
 * without a death nobody does.  The next worker of the place is among them: it starts after the
 * death was noted.  Tests: tests/c/test_claims.c.
 */
#include "share/ht_claims.h"

/* chunk: epoch 32, then OPEN, a worker's number + 1, AWAY or DONE. */
enum { OPEN = 0 };
#define DONE UINT32_MAX
#define AWAY (UINT32_MAX - 1)

static uint64_t word_of(const ht_feed_t *feed, uint32_t state)
{
    return (uint64_t)feed->epoch << 32 | state;
}

static int is_open(const ht_feed_t *feed, uint64_t word)
{
    return (uint32_t)(word >> 32) != feed->epoch || (uint32_t)word == OPEN;
}

size_t ht_claims_nbytes(uint64_t n_chunks)
{
    return sizeof(ht_claims_t) + sizeof(ht_word64_t) * (size_t)n_chunks;
}

int ht_claims_take(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position, uint32_t worker)
{
    uint64_t seen = ht_load_relaxed(&claims->chunk[position]);
    return is_open(feed, seen) &&
           ht_cas_acquire(HT_PAIR_NONE, &claims->chunk[position], &seen, word_of(feed, worker + 1));
}

ht_err_t ht_claims_next(ht_claims_t *claims, ht_feed_t *feed, ht_points_t *points, uint32_t worker,
                        uint64_t *position)
{
    while (ht_feed_claim(feed, position) == HT_OK) {
        ht_point_pass(points, HT_POSITION_TAKEN, worker, ht_feed_step(feed, *position));
        if (ht_claims_take(claims, feed, *position, worker))
            return HT_OK;
    }
    if (!ht_claims_is_disturbed(claims, feed))
        return HT_EEND;
    for (uint64_t c = 0; c < feed->n_chunks; c++)
        if (ht_claims_take(claims, feed, c, worker)) {
            *position = c;
            return HT_OK;
        }
    return HT_EEND;
}

ht_err_t ht_claims_left(ht_claims_t *claims, const ht_feed_t *feed, uint32_t worker,
                        uint64_t *position)
{
    for (uint64_t c = 0; c < feed->n_chunks; c++)
        if (ht_load_relaxed(&claims->chunk[c]) == word_of(feed, worker + 1)) {
            *position = c;
            return HT_OK;
        }
    return HT_EEND;
}

void ht_claims_done(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position)
{
    ht_store_relaxed(&claims->chunk[position], word_of(feed, DONE));
}

ht_chunk_state_t ht_claims_state(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position)
{
    uint64_t word = ht_load_relaxed(&claims->chunk[position]);
    if (is_open(feed, word))
        return HT_CHUNK_OPEN;
    uint32_t state = (uint32_t)word;
    return state == DONE ? HT_CHUNK_DONE : state == AWAY ? HT_CHUNK_AWAY : HT_CHUNK_TAKEN;
}

void ht_claims_set(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position,
                   ht_chunk_state_t state)
{
    uint32_t low = state == HT_CHUNK_OPEN ? OPEN : state == HT_CHUNK_DONE ? DONE : AWAY;
    ht_store_relaxed(&claims->chunk[position], word_of(feed, low));
}

void ht_claims_disturb(ht_claims_t *claims, const ht_feed_t *feed)
{
    ht_store_relaxed(&claims->disturbed, feed->epoch);
}

int ht_claims_is_disturbed(ht_claims_t *claims, const ht_feed_t *feed)
{
    return ht_load_relaxed(&claims->disturbed) == feed->epoch;
}

int ht_claims_is_done(ht_claims_t *claims, const ht_feed_t *feed, uint64_t position)
{
    return ht_load_relaxed(&claims->chunk[position]) == word_of(feed, DONE);
}
