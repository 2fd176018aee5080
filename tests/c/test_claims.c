/* SPDX-License-Identifier: BSD-3-Clause */
/* Claims: each chunk to one worker, also when a worker dies between the cursor and the chunk. */
#include "share/ht_claims.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/crew.h"

enum { N_ROWS = 20000, N_WORKERS = 4 };

static ht_feed_t *feed;
static ht_claims_t *claims;

static void open_epoch(uint32_t epoch)
{
    if (epoch == 1) {
        feed = aligned_alloc(HT_LINE, sizeof *feed);
        REQUIRE(feed != NULL);
        memset(feed, 0, sizeof *feed);
        REQUIRE(ht_feed_init(feed, N_ROWS, 3, 1) == HT_OK);
        size_t nbytes = (ht_claims_nbytes(feed->n_chunks) + HT_LINE - 1) / HT_LINE * HT_LINE;
        claims = aligned_alloc(HT_LINE, nbytes);
        REQUIRE(claims != NULL);
        memset(claims, 0, nbytes);
    }
    ht_feed_begin(feed, epoch);
}

static void close_feed(void)
{
    free(claims);
    free(feed);
}

static uint64_t n_done(void)
{
    uint64_t n = 0;
    for (uint64_t c = 0; c < feed->n_chunks; c++)
        n += (uint64_t)ht_claims_is_done(claims, feed, c);
    return n;
}

static void a_chunk_is_open_again_in_the_next_epoch(void)
{
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        uint64_t position, left, n = 0;
        open_epoch(epoch);
        CHECK(n_done() == 0);
        while (ht_claims_next(claims, feed, NULL, 0, &position) == HT_OK) {
            CHECK(ht_claims_left(claims, feed, 0, &left) == HT_OK && left == position);
            CHECK(ht_claims_left(claims, feed, 1, &left) == HT_EEND);
            ht_claims_done(claims, feed, position);
            CHECK(ht_claims_left(claims, feed, 0, &left) == HT_EEND);
            n++;
        }
        CHECK(n == feed->n_chunks && n_done() == n);
    }
    close_feed();
}

/* A worker has got a position, and died. */
static void a_lost_position_is_found_once_the_death_is_noted(void)
{
    uint64_t position, lost, rest = 0;
    open_epoch(1);
    REQUIRE(ht_claims_next(claims, feed, NULL, 0, &position) == HT_OK);
    REQUIRE(ht_feed_claim(feed, &lost) == HT_OK);
    while (ht_claims_next(claims, feed, NULL, 1, &position) == HT_OK)
        rest++;
    CHECK(rest == feed->n_chunks - 2);
    ht_claims_disturb(claims, feed);
    CHECK(ht_claims_next(claims, feed, NULL, 1, &position) == HT_OK && position == lost);
    CHECK(ht_claims_next(claims, feed, NULL, 1, &position) == HT_EEND);
    open_epoch(2); /* nobody has died in it */
    REQUIRE(ht_feed_claim(feed, &lost) == HT_OK);
    rest = 0;
    while (ht_claims_next(claims, feed, NULL, 1, &position) == HT_OK)
        rest++;
    CHECK(rest == feed->n_chunks - 1);
    close_feed();
}

/* Chunks that are leased to others: nobody here takes them, also when a death was noted. */
static void a_chunk_that_is_away_is_not_taken(void)
{
    uint64_t position, n = 0;
    open_epoch(1);
    const uint64_t last = feed->n_chunks - 1;
    for (uint64_t c = 0; c <= last; c++) {
        CHECK(ht_claims_state(claims, feed, c) == HT_CHUNK_OPEN);
        ht_claims_set(claims, feed, c, c % 3 == 0 ? HT_CHUNK_AWAY : HT_CHUNK_OPEN);
    }
    ht_claims_set(claims, feed, last, HT_CHUNK_DONE); /* by another */
    ht_claims_disturb(claims, feed);
    while (ht_claims_next(claims, feed, NULL, 0, &position) == HT_OK) {
        CHECK(position % 3 != 0 && position != last);
        CHECK(ht_claims_state(claims, feed, position) == HT_CHUNK_TAKEN);
        CHECK(!ht_claims_take(claims, feed, position, 1));
        ht_claims_done(claims, feed, position);
        CHECK(ht_claims_state(claims, feed, position) == HT_CHUNK_DONE);
        n++;
    }
    CHECK(n == feed->n_chunks - (last + 3) / 3 - (last % 3 != 0));
    CHECK(!ht_claims_take(claims, feed, 0, 0) && !ht_claims_is_done(claims, feed, 0));
    ht_claims_set(claims, feed, 0, HT_CHUNK_OPEN);
    CHECK(ht_claims_take(claims, feed, 0, 0));
    open_epoch(2);
    CHECK(ht_claims_state(claims, feed, 3) == HT_CHUNK_OPEN);
    close_feed();
}

static void *take_all(void *argument)
{
    uint32_t worker = *(uint32_t *)argument;
    uint64_t position, n = 0;
    while (ht_claims_next(claims, feed, NULL, worker, &position) == HT_OK) {
        ht_claims_done(claims, feed, position);
        n++;
    }
    return (void *)(uintptr_t)n;
}

static void each_chunk_goes_to_one_of_many_workers(void)
{
    uint32_t numbers[N_WORKERS];
    crew_t crew;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        numbers[w] = w;
    for (uint32_t epoch = 1; epoch <= 20; epoch++) {
        open_epoch(epoch);
        uint64_t lost;
        for (int k = 0; k < 3; k++)
            REQUIRE(ht_feed_claim(feed, &lost) == HT_OK);
        ht_claims_disturb(claims, feed); /* all look for the lost ones at the end */
        crew_start(&crew, N_WORKERS, take_all, numbers, sizeof *numbers);
        crew_join(&crew);
        CHECK(n_done() == feed->n_chunks);
    }
    close_feed();
}

int main(void)
{
    a_chunk_is_open_again_in_the_next_epoch();
    a_lost_position_is_found_once_the_death_is_noted();
    a_chunk_that_is_away_is_not_taken();
    each_chunk_goes_to_one_of_many_workers();
    FINISH();
}
