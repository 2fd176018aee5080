/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The order of an epoch is a function, so all that workers share is a counter: a claim is one
 * relaxed addition, hands over no data and never fails.  Every position below the limit is claimed
 * by one worker in one epoch.  After the end each worker adds once more, which 64 bits hold.
 *
 * A stopped epoch needs no note of its own: each worker ends the chunk in hand, the cursor stays,
 * and the next start goes on there.  The feed does not note the owner of a claim: ht_claims does.
 *
 * Tried: eight strips of 32 rows in every chunk cost a fifth of the speed of one strip of 512 rows
 * (7.4 million rows a second).  So a run asks for several strips only where neighbouring targets
 * are alike.  Tests: tests/c/test_feed.c.
 */
#include "rows/ht_feed.h"

#include "base/ht_random.h"

/* The fewest strips, where there are rows enough: in fewer, larger ones a small data set would
 * hardly be shuffled. */
enum { LEAST_STRIPS = 512 };

ht_err_t ht_feed_init(ht_feed_t *feed, uint64_t n_rows, uint64_t seed, uint32_t strips)
{
    if (n_rows < 1 || n_rows >= UINT64_C(1) << 40 || strips < 1 || strips > HT_FEED_STRIPS)
        return HT_EINVAL;
    uint64_t most = HT_CHUNK_ROWS / strips;
    uint64_t strip_rows = n_rows / LEAST_STRIPS;
    strip_rows = strip_rows < 1 ? 1 : strip_rows > most ? most : strip_rows;
    feed->strips = strips;
    feed->n_rows = n_rows;
    feed->seed = seed;
    feed->strip_rows = (uint32_t)strip_rows;
    feed->n_strips = (n_rows + strip_rows - 1) / strip_rows;
    feed->n_chunks = (feed->n_strips + strips - 1) / strips;
    return HT_OK;
}

void ht_feed_begin(ht_feed_t *feed, uint32_t epoch)
{
    feed->epoch = epoch;
    ht_feed_set_range(feed, 0, feed->n_chunks);
}

void ht_feed_set_range(ht_feed_t *feed, uint64_t first, uint64_t limit)
{
    feed->limit = limit;
    /* relaxed: handed to the workers by ht_roster_start. */
    ht_store_relaxed(&feed->cursor, first);
}

ht_err_t ht_feed_claim(ht_feed_t *feed, uint64_t *position)
{
    /* relaxed: the number is all that is handed out; rows are read-only. */
    uint64_t claimed = ht_add_relaxed(&feed->cursor, 1u);
    if (claimed >= feed->limit)
        return HT_EEND;
    *position = claimed;
    return HT_OK;
}

/* Writes the ends of a chunk's strips; returns how many. */
static int find_strips(const ht_feed_t *feed, uint64_t position, int64_t *next, int64_t *end)
{
    uint64_t key = ht_random_u64(feed->seed, feed->epoch);
    int n_strips = 0;
    for (uint32_t k = 0; k < feed->strips; k++) {
        uint64_t i = position * feed->strips + k;
        if (i >= feed->n_strips)
            break;
        uint64_t first = ht_random_permute(key, feed->n_strips, i) * feed->strip_rows;
        uint64_t last = first + feed->strip_rows;
        next[n_strips] = (int64_t)first;
        end[n_strips++] = (int64_t)(last < feed->n_rows ? last : feed->n_rows);
    }
    return n_strips;
}

int ht_feed_n_rows(const ht_feed_t *feed, uint64_t position)
{
    int64_t next[HT_FEED_STRIPS], end[HT_FEED_STRIPS];
    int n = 0, n_strips = find_strips(feed, position, next, end);
    for (int k = 0; k < n_strips; k++)
        n += (int)(end[k] - next[k]);
    return n;
}

int ht_feed_rows(const ht_feed_t *feed, uint64_t position, int64_t rows[HT_CHUNK_ROWS])
{
    int64_t next[HT_FEED_STRIPS], end[HT_FEED_STRIPS];
    int n_strips = find_strips(feed, position, next, end);
    int n = 0;
    for (uint32_t i = 0; i < feed->strip_rows; i++)
        for (int k = 0; k < n_strips; k++)
            if (next[k] < end[k])
                rows[n++] = next[k]++;
    return n;
}
