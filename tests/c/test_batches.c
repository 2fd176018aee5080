/* SPDX-License-Identifier: BSD-3-Clause */
#include "rows/ht_batches.h"

#include <string.h>

#include "support/check.h"

enum { MOST_ROWS = 3000 };

static ht_batches_t batches_of(uint64_t n_rows, uint32_t strip_rows, uint32_t batch_strips,
                               uint32_t n_shares)
{
    ht_batches_t batches = {
        .n_rows = n_rows,
        .seed = 5,
        .strip_rows = strip_rows,
        .batch_strips = batch_strips,
        .n_shares = n_shares,
    };
    ht_batches_init(&batches);
    return batches;
}

/* Every row is in exactly one task of an epoch, and the numbers agree. */
static void check_epoch(const ht_batches_t *b, uint64_t epoch, int64_t *order)
{
    static uint8_t seen[MOST_ROWS];
    memset(seen, 0, sizeof seen);
    uint64_t n_seen = 0;
    for (uint64_t k = 0; k < b->steps_per_epoch; k++) {
        uint64_t batch = epoch * b->steps_per_epoch + k, in_batch = 0;
        CHECK(ht_batches_rows_until(b, batch) == epoch * b->n_rows + n_seen);
        for (uint32_t task = 0; task < ht_batches_tasks(b, batch, 1); task++) {
            int64_t ids[MOST_ROWS];
            int n = ht_batches_task(b, batch, 1, task, ids);
            CHECK(n >= 1);
            for (int i = 0; i < n; i++) {
                REQUIRE(ids[i] >= 0 && (uint64_t)ids[i] < b->n_rows);
                CHECK(seen[ids[i]]++ == 0);
                order[n_seen++] = ids[i];
            }
            in_batch += (uint64_t)n;
        }
        CHECK(in_batch == ht_batches_rows(b, batch, 1));
    }
    CHECK(n_seen == b->n_rows);
}

static void every_row_is_in_one_task_of_an_epoch(void)
{
    static const uint64_t n_rows[] = {1, 2, 31, 32, 33, 1000, MOST_ROWS};
    static const uint32_t strip_rows[] = {1, 7, 64}, batch_strips[] = {1, 3, 32};
    static int64_t by_strip[MOST_ROWS], by_share[MOST_ROWS], later[MOST_ROWS];
    for (int r = 0; r < 7; r++)
        for (int s = 0; s < 3; s++)
            for (int t = 0; t < 3; t++) {
                ht_batches_t strips = batches_of(n_rows[r], strip_rows[s], batch_strips[t], 0);
                ht_batches_t shares = batches_of(n_rows[r], strip_rows[s], batch_strips[t], 5);
                check_epoch(&strips, 0, by_strip);
                check_epoch(&shares, 0, by_share);
                size_t nbytes = sizeof *by_strip * (size_t)n_rows[r];
                CHECK(memcmp(by_strip, by_share, nbytes) == 0); /* the same rows, cut otherwise */
                check_epoch(&strips, 3, later);
                if (strips.n_full > 10)
                    CHECK(memcmp(by_strip, later, nbytes) != 0);
            }
}

static void a_batch_has_no_more_tasks_than_strips(void)
{
    ht_batches_t b = batches_of(10, 2, 3, 8); /* batches of 3 and 2 strips */
    CHECK(b.steps_per_epoch == 2);
    CHECK(ht_batches_tasks(&b, 0, 1) == 3 && ht_batches_tasks(&b, 1, 1) == 2);
    CHECK(ht_batches_rows(&b, 0, 1) == 6 && ht_batches_rows(&b, 1, 1) == 4);
}

static void the_last_rows_come_last(void)
{
    ht_batches_t b = batches_of(100, 8, 4, 0); /* 12 full strips, and rows 96 .. 99 */
    int64_t ids[8];
    CHECK(b.n_full == 12 && b.n_strips == 13 && b.steps_per_epoch == 4);
    CHECK(ht_batches_task(&b, 3, 1, 0, ids) == 4);
    CHECK(ids[0] == 96 && ids[3] == 99);
}

int main(void)
{
    every_row_is_in_one_task_of_an_epoch();
    a_batch_has_no_more_tasks_than_strips();
    the_last_rows_come_last();
    FINISH();
}
