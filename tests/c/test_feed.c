/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "rows/ht_feed.h"
#include "support/check.h"
#include "support/crew.h"

static const uint32_t all_strips[] = {1, 3, 8, HT_FEED_STRIPS};
enum { N_STRIPS = sizeof all_strips / sizeof *all_strips };

static ht_feed_t *open_feed(uint64_t n_rows, uint64_t seed, uint32_t strips)
{
    ht_feed_t *feed = aligned_alloc(HT_LINE, sizeof *feed);
    REQUIRE(feed != NULL);
    memset(feed, 0, sizeof *feed);
    REQUIRE(ht_feed_init(feed, n_rows, seed, strips) == HT_OK);
    return feed;
}

static void a_feed_has_rows_and_strips(void)
{
    ht_feed_t feed = {0};
    CHECK(ht_feed_init(&feed, 0, 1, 1) == HT_EINVAL);
    CHECK(ht_feed_init(&feed, UINT64_C(1) << 40, 1, 1) == HT_EINVAL);
    CHECK(ht_feed_init(&feed, 1, 1, 0) == HT_EINVAL);
    CHECK(ht_feed_init(&feed, 1, 1, HT_FEED_STRIPS + 1) == HT_EINVAL);
    CHECK(ht_feed_init(&feed, (UINT64_C(1) << 40) - 1, 1, HT_FEED_STRIPS) == HT_OK);
    CHECK(ht_feed_init(&feed, 1, 1, 1) == HT_OK);
}

/* Writes the order of an epoch to `order`; returns how many rows. */
static uint64_t order_of_epoch(ht_feed_t *feed, uint32_t epoch, int64_t *order)
{
    uint64_t position = 0, expected = 0, n = 0;
    ht_feed_begin(feed, epoch);
    while (ht_feed_claim(feed, &position) == HT_OK) {
        int64_t rows[HT_CHUNK_ROWS];
        CHECK(position == expected++);
        int n_chunk = ht_feed_rows(feed, position, rows);
        CHECK(n_chunk >= 1 && n_chunk <= HT_CHUNK_ROWS);
        CHECK(n + (uint64_t)n_chunk <= feed->n_rows);
        if (n + (uint64_t)n_chunk > feed->n_rows)
            return 0;
        memcpy(order + n, rows, sizeof *rows * (size_t)n_chunk);
        n += (uint64_t)n_chunk;
    }
    CHECK(expected == feed->n_chunks);
    CHECK(ht_feed_claim(feed, &position) == HT_EEND); /* it stays at the end */
    return n;
}

static void check_each_row_once(uint64_t n_rows, const int64_t *order, unsigned char *seen)
{
    memset(seen, 0, n_rows);
    for (uint64_t i = 0; i < n_rows; i++) {
        CHECK(order[i] >= 0 && (uint64_t)order[i] < n_rows);
        if (order[i] >= 0 && (uint64_t)order[i] < n_rows)
            seen[order[i]]++;
    }
    for (uint64_t i = 0; i < n_rows; i++)
        CHECK(seen[i] == 1);
}

static void every_epoch_holds_every_row_once(uint32_t strips)
{
    enum { MOST = 2000 };
    static int64_t order[MOST];
    static unsigned char seen[MOST];
    for (uint64_t n_rows = 1; n_rows <= MOST; n_rows++) {
        ht_feed_t *feed = open_feed(n_rows, n_rows * 7, strips);
        for (uint32_t epoch = 1; epoch <= 2; epoch++) {
            uint64_t n = order_of_epoch(feed, epoch, order);
            CHECK(n == n_rows);
            if (n == n_rows)
                check_each_row_once(n_rows, order, seen);
        }
        free(feed);
    }
}

/* How many of n places hold the same row in two orders. */
static uint64_t count_equal(const int64_t *a, const int64_t *b, uint64_t n)
{
    uint64_t equal = 0;
    for (uint64_t i = 0; i < n; i++)
        equal += a[i] == b[i];
    return equal;
}

static void orders_depend_on_seed_and_epoch_and_on_nothing_else(uint32_t strips)
{
    enum { N = 5000 };
    static int64_t first[N], other[N];
    ht_feed_t *feed = open_feed(N, 1, strips), *twin = open_feed(N, 1, strips);
    ht_feed_t *stranger = open_feed(N, 2, strips);
    CHECK(order_of_epoch(feed, 3, first) == N);
    CHECK(order_of_epoch(twin, 3, other) == N);
    CHECK(count_equal(first, other, N) == N);
    CHECK(order_of_epoch(feed, 4, other) == N);
    CHECK(count_equal(first, other, N) < N / 20);
    CHECK(order_of_epoch(stranger, 3, other) == N);
    CHECK(count_equal(first, other, N) < N / 20);
    CHECK(order_of_epoch(feed, 3, other) == N); /* and back */
    CHECK(count_equal(first, other, N) == N);
    free(feed);
    free(twin);
    free(stranger);
}

static void a_range_is_handed_out_and_nothing_else(void)
{
    ht_feed_t *feed = open_feed(20000, 1, 1);
    uint64_t position, expected = 7;
    ht_feed_begin(feed, 1);
    REQUIRE(ht_feed_claim(feed, &position) == HT_OK && position == 0);
    ht_feed_set_range(feed, expected, 20);
    while (ht_feed_claim(feed, &position) == HT_OK)
        CHECK(position == expected++);
    CHECK(expected == 20);
    ht_feed_set_range(feed, 3, 3); /* an empty one */
    CHECK(ht_feed_claim(feed, &position) == HT_EEND);
    ht_feed_set_range(feed, 0, 1); /* once more, and before others */
    CHECK(ht_feed_claim(feed, &position) == HT_OK && position == 0);
    ht_feed_begin(feed, 2); /* all of it again */
    for (expected = 0; ht_feed_claim(feed, &position) == HT_OK; expected++)
        CHECK(position == expected);
    CHECK(expected == feed->n_chunks);
    free(feed);
}

static int by_row(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void a_chunk_is_strips_from_distant_places(uint32_t strips)
{
    enum { N_CHUNKS = 200 };
    ht_feed_t *feed = open_feed(1000000, 4, strips);
    ht_feed_begin(feed, 1);
    int64_t neighbours = 0, steps = 0;
    for (uint64_t position = 0; position < N_CHUNKS; position++) {
        int64_t rows[HT_CHUNK_ROWS];
        int n = ht_feed_rows(feed, position, rows);
        for (int i = 1; i < n; i++)
            neighbours += llabs(rows[i] - rows[i - 1]) == 1;
        steps += n - 1;
        qsort(rows, (size_t)n, sizeof *rows, by_row);
        uint32_t n_runs = 1;
        for (int i = 1; i < n; i++)
            n_runs += rows[i] != rows[i - 1] + 1;
        CHECK(n_runs <= strips);
    }
    /* One strip is read in order; of several, neighbours are apart in time. */
    CHECK(strips == 1 ? neighbours == steps : neighbours < steps / 50);
    free(feed);
}

typedef struct {
    ht_feed_t *feed;
    unsigned char *seen; /* plain: each row is one worker's alone */
    uint64_t n_rows;
    uint64_t out_of_range;
} claimer_t;

static void *claim(void *argument)
{
    claimer_t *claimer = argument;
    uint64_t position;
    while (ht_feed_claim(claimer->feed, &position) == HT_OK) {
        int64_t rows[HT_CHUNK_ROWS];
        int n = ht_feed_rows(claimer->feed, position, rows);
        for (int i = 0; i < n; i++)
            if (rows[i] >= 0 && (uint64_t)rows[i] < claimer->feed->n_rows)
                claimer->seen[rows[i]]++;
            else
                claimer->out_of_range++;
        claimer->n_rows += (uint64_t)n;
    }
    return NULL;
}

static void threads_share_the_rows_of_an_epoch(void)
{
    enum { N_THREADS = 4 };
    const uint64_t sizes[] = {1, 3, 257, 16384, 65537, 300007};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ht_feed_t *feed = open_feed(sizes[s], s, all_strips[s % N_STRIPS]);
        unsigned char *seen = calloc(sizes[s], 1);
        REQUIRE(seen != NULL);
        for (uint32_t epoch = 1; epoch <= 2; epoch++) {
            claimer_t claimers[N_THREADS];
            crew_t crew;
            uint64_t n_rows = 0;
            for (int t = 0; t < N_THREADS; t++)
                claimers[t] = (claimer_t){.feed = feed, .seen = seen};
            ht_feed_begin(feed, epoch);
            crew_start(&crew, N_THREADS, claim, claimers, sizeof *claimers);
            crew_join(&crew);
            for (int t = 0; t < N_THREADS; t++) {
                n_rows += claimers[t].n_rows;
                CHECK(claimers[t].out_of_range == 0);
            }
            CHECK(n_rows == sizes[s]);
            for (uint64_t r = 0; r < sizes[s]; r++)
                CHECK(seen[r] == epoch);
        }
        free(seen);
        free(feed);
    }
}

int main(void)
{
    a_feed_has_rows_and_strips();
    for (int s = 0; s < N_STRIPS; s++) {
        every_epoch_holds_every_row_once(all_strips[s]);
        orders_depend_on_seed_and_epoch_and_on_nothing_else(all_strips[s]);
        a_chunk_is_strips_from_distant_places(all_strips[s]);
    }
    a_range_is_handed_out_and_nothing_else();
    threads_share_the_rows_of_an_epoch();
    FINISH();
}
