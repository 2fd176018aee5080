/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "support/hot_fixture.h"

#include <string.h>
#include <sys/mman.h>

#include "support/check.h"
#include "support/delay.h"

/* Beyond it float sums of integers are no longer exact. */
#define EXACT_LIMIT 16777216.0f

typedef struct {
    char *memory; /* NULL: only adds up */
    size_t used;
} cursor_t;

static void *carve(cursor_t *cursor, size_t nbytes)
{
    void *place = cursor->memory == NULL ? NULL : cursor->memory + cursor->used;
    cursor->used += (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE;
    return place;
}

static void lay_out(hot_fixture_t *fixture, cursor_t *cursor)
{
    ht_hot_t *hot = &fixture->hot;
    size_t n_blocks = (size_t)hot->n_blocks;
    size_t array = sizeof(float) * HT_BLOCK_COORDINATES;
    size_t values = n_blocks * (size_t)hot->arrays * array;
    hot->blocks = carve(cursor, n_blocks * sizeof *hot->blocks);
    hot->values = carve(cursor, values);
    hot->curvature = carve(cursor, n_blocks * array);
    fixture->actors = carve(cursor, fixture->n_workers * sizeof *fixture->actors);
    for (uint32_t w = 0; w < fixture->n_workers; w++) {
        fixture->replicas[w] = (ht_replica_t){
            .entries = carve(cursor, n_blocks * (size_t)hot->stride * array),
            .base = carve(cursor, values),
            .redo = carve(cursor, (size_t)hot->arrays * array),
            .redo_rows = carve(cursor, sizeof(uint64_t)),
            .rows_at = carve(cursor, n_blocks * sizeof(uint64_t)),
            .rows_seen = carve(cursor, n_blocks * sizeof(uint64_t)),
            .owner = w,
        };
        float *ledger = carve(cursor, values);
        if (cursor->memory != NULL)
            fixture->actors[w] = (actor_t){.random = w + 1, .ledger = ledger};
    }
}

void hot_fixture_open(hot_fixture_t *fixture, ht_optimizer_t optimizer, int has_penalty,
                      int64_t n_coordinates, uint32_t n_workers)
{
    REQUIRE(n_workers <= FIXTURE_MOST_ACTORS);
    int stride = ht_optimizer_stride(optimizer, has_penalty);
    *fixture = (hot_fixture_t){
        .hot = {.n_coordinates = n_coordinates,
                .n_blocks = (n_coordinates + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES,
                .merge = ht_optimizer_merge(ht_vector_best_isa(), optimizer, stride),
                .stride = stride,
                .arrays = ht_optimizer_arrays(optimizer),
                .optimizer = optimizer,
                .n_workers = n_workers},
        .n_workers = n_workers,
    };
    cursor_t cursor = {0};
    lay_out(fixture, &cursor);
    fixture->nbytes = cursor.used;
    fixture->memory =
        mmap(NULL, fixture->nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(fixture->memory != MAP_FAILED);
    cursor = (cursor_t){.memory = fixture->memory};
    lay_out(fixture, &cursor);
    for (uint32_t w = 0; w < n_workers; w++)
        ht_replica_init(&fixture->hot, &fixture->replicas[w]);
}

void hot_fixture_close(hot_fixture_t *fixture)
{
    REQUIRE(munmap(fixture->memory, fixture->nbytes) == 0);
}

int64_t hot_fixture_at(const hot_fixture_t *fixture, int64_t coordinate, int array)
{
    int64_t block = coordinate / HT_BLOCK_COORDINATES;
    return (block * fixture->hot.arrays + array) * HT_BLOCK_COORDINATES +
           coordinate % HT_BLOCK_COORDINATES;
}

void actor_change(hot_fixture_t *fixture, uint32_t worker)
{
    actor_t *actor = &fixture->actors[worker];
    const ht_hot_t *hot = &fixture->hot;
    for (int k = 0; k < 8; k++) {
        uint64_t random = delay_random(&actor->random) >> 8;
        int64_t coordinate = (int64_t)(random % (uint64_t)hot->n_coordinates);
        float *entry = fixture->replicas[worker].entries + coordinate * hot->stride;
        float change = (float)(random >> 40 & 7) - 3.0f;
        entry[0] += change;
        actor->ledger[hot_fixture_at(fixture, coordinate, 0)] += change;
        if (hot->arrays == 1)
            continue;
        float square = (float)(random >> 50 & 3);
        entry[1] += square;
        actor->ledger[hot_fixture_at(fixture, coordinate, 1)] += square;
    }
    actor->rows_done++;
}

ht_err_t actor_exchange_slowly(hot_fixture_t *fixture, uint32_t worker, int64_t block)
{
    const ht_hot_t *hot = &fixture->hot;
    ht_replica_t *replica = &fixture->replicas[worker];
    actor_t *actor = &fixture->actors[worker];
    ht_err_t err = ht_block_try_lock(&hot->blocks[block], replica->owner);
    if (err != HT_OK)
        return err;
    delay_any(&actor->random);
    uint64_t rows = actor->rows_done - replica->rows_at[block];
    ht_replica_compute_locked(hot, replica, block, rows, 0.0f);
    delay_any(&actor->random);
    ht_block_commit(&hot->blocks[block]);
    delay_any(&actor->random);
    ht_replica_copy_committed(hot, replica, block, actor->rows_done);
    delay_any(&actor->random);
    ht_block_release(&hot->blocks[block]);
    return HT_OK;
}

void actor_exchange(hot_fixture_t *fixture, uint32_t worker, int64_t block)
{
    actor_t *actor = &fixture->actors[worker];
    int slowly = (delay_random(&actor->random) >> 20) % 4 == 0;
    ht_err_t err = slowly ? actor_exchange_slowly(fixture, worker, block)
                          : ht_replica_exchange(&fixture->hot, &fixture->replicas[worker], block,
                                                actor->rows_done, 0.0f, NULL);
    CHECK(err == HT_OK || err == HT_EBUSY);
    actor->n_busy += err == HT_EBUSY;
}

void actor_hand_in(hot_fixture_t *fixture, uint32_t worker)
{
    const actor_t *actor = &fixture->actors[worker];
    for (int64_t b = 0; b < fixture->hot.n_blocks; b++)
        while (fixture->replicas[worker].rows_at[b] != actor->rows_done) {
            actor_exchange(fixture, worker, b);
            sched_yield();
        }
}

static void check_value(const hot_fixture_t *fixture, int64_t at)
{
    float sum = 0.0f;
    for (uint32_t w = 0; w < fixture->n_workers; w++)
        sum += fixture->actors[w].ledger[at];
    REQUIRE(sum < EXACT_LIMIT && sum > -EXACT_LIMIT);
    CHECK(fixture->hot.values[at] == sum);
}

void hot_fixture_check_sums(const hot_fixture_t *fixture)
{
    uint64_t rows = 0;
    for (uint32_t w = 0; w < fixture->n_workers; w++)
        rows += fixture->actors[w].rows_done;
    for (int64_t b = 0; b < fixture->hot.n_blocks; b++)
        CHECK(fixture->hot.blocks[b].rows == rows);
    for (int64_t j = 0; j < fixture->hot.n_coordinates; j++)
        for (int array = 0; array < fixture->hot.arrays; array++)
            check_value(fixture, hot_fixture_at(fixture, j, array));
}
