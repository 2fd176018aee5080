/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/hot_fixture.h"

enum { N_COORDINATES = 2 * HT_BLOCK_COORDINATES + 37 }; /* three blocks, the last one short */

typedef struct {
    ht_optimizer_t optimizer;
    int has_penalty;
} layout_t;

static const layout_t layouts[] = {{HT_SGD, 0}, {HT_SGD, 1}, {HT_ADAGRAD, 0}, {HT_ADAGRAD, 1}};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

static void open_fixture(hot_fixture_t *fixture, layout_t layout, uint32_t n_workers)
{
    hot_fixture_open(fixture, layout.optimizer, layout.has_penalty, N_COORDINATES, n_workers);
}

static void init_copies_the_shared_values_and_leaves_the_rest(layout_t layout)
{
    hot_fixture_t fixture;
    open_fixture(&fixture, layout, 1);
    const ht_hot_t *hot = &fixture.hot;
    ht_replica_t *replica = &fixture.replicas[0];
    for (int64_t j = 0; j < N_COORDINATES; j++) {
        for (int k = 0; k < hot->stride; k++)
            replica->entries[j * hot->stride + k] = -5.0f;
        for (int a = 0; a < hot->arrays; a++)
            hot->values[hot_fixture_at(&fixture, j, a)] = (float)(j + 10000 * a);
    }
    hot->blocks[1].rows = 44;
    ht_replica_init(hot, replica);
    for (int64_t j = 0; j < N_COORDINATES; j++)
        for (int k = 0; k < hot->stride; k++) {
            float entry = replica->entries[j * hot->stride + k];
            CHECK(entry == (k < hot->arrays ? (float)(j + 10000 * k) : -5.0f));
            if (k < hot->arrays)
                CHECK(replica->base[hot_fixture_at(&fixture, j, k)] == entry);
        }
    CHECK(replica->rows_seen[0] == 0 && replica->rows_seen[1] == 44);
    hot_fixture_close(&fixture);
}

/* Two workers, one coordinate: the numbers of the header's formula. */
static void an_exchange_weighs_a_change_by_the_rows_of_others(void)
{
    hot_fixture_t fixture;
    hot_fixture_open(&fixture, HT_SGD, 0, 100, 2);
    float curvature[HT_BLOCK_COORDINATES] = {[7] = 3.0f};
    fixture.hot.curvature = curvature;
    const float rate = 0.0025f;
    for (uint32_t w = 0; w < 2; w++) {
        fixture.replicas[w].entries[7] = 2.0f;
        fixture.replicas[w].entries[8] = 2.0f; /* curvature 0: changes add up */
    }
    ht_staleness_t staleness = {0};
    CHECK(ht_replica_exchange(&fixture.hot, &fixture.replicas[0], 0, 400, rate, &staleness) ==
          HT_OK);
    CHECK(fixture.hot.values[7] == 2.0f && fixture.hot.values[8] == 2.0f); /* the first one's */
    CHECK(staleness.counts[0] == 1 && staleness.largest == 0);
    /* The other one's exchange is 400 rows stale. */
    CHECK(ht_replica_exchange(&fixture.hot, &fixture.replicas[1], 0, 100, rate, &staleness) ==
          HT_OK);
    double own = (double)(HT_MERGE_SHARE * rate) * 3.0 * 100.0, all = 5.0 * own;
    double theta = (own / 2 + sqrt(1 + own * own / 4)) / (all / 2 + sqrt(1 + all * all / 4));
    CHECK_CLOSE(fixture.hot.values[7], 2.0 + theta * exp(-own) * 2.0, 1e-6);
    CHECK(fixture.replicas[1].entries[7] == fixture.hot.values[7]);
    CHECK(fixture.replicas[1].base[7] == fixture.hot.values[7]);
    CHECK(fixture.hot.values[8] == 4.0f && fixture.replicas[1].entries[8] == 4.0f);
    CHECK(staleness.total == 400 && staleness.largest == 400);
    CHECK(fixture.hot.blocks[0].rows == 500);
    CHECK(fixture.replicas[1].rows_seen[0] == 500 && fixture.replicas[0].rows_seen[0] == 400);
    CHECK(fixture.replicas[1].rows_at[0] == 100);
    hot_fixture_close(&fixture);
}

static void an_exchange_leaves_other_blocks_alone(layout_t layout)
{
    hot_fixture_t fixture;
    open_fixture(&fixture, layout, 2);
    const ht_hot_t *hot = &fixture.hot;
    for (int64_t j = 0; j < N_COORDINATES; j++)
        fixture.replicas[0].entries[j * hot->stride] = 3.0f;
    fixture.actors[0].rows_done = 1;
    actor_exchange(&fixture, 0, 1);
    for (int64_t j = 0; j < N_COORDINATES; j++) {
        float expected = j / HT_BLOCK_COORDINATES == 1 ? 3.0f : 0.0f;
        CHECK(hot->values[hot_fixture_at(&fixture, j, 0)] == expected);
        CHECK(fixture.replicas[0].entries[j * hot->stride] == 3.0f);
    }
    CHECK(hot->blocks[0].rows == 0 && hot->blocks[1].rows == 1 && hot->blocks[2].rows == 0);
    hot_fixture_close(&fixture);
}

static void a_busy_block_is_skipped_and_handed_in_later(layout_t layout)
{
    hot_fixture_t fixture;
    open_fixture(&fixture, layout, 2);
    ht_block_t *block = &fixture.hot.blocks[1];
    for (int i = 0; i < 300; i++)
        actor_change(&fixture, 0);
    CHECK(ht_block_try_lock(block, 1) == HT_OK);
    for (int phase = 0; phase < 2; phase++) { /* locked, then committed */
        ht_staleness_t staleness = {0};
        for (int64_t b = 0; b < 3; b++)
            CHECK(ht_replica_exchange(&fixture.hot, &fixture.replicas[0], b,
                                      fixture.actors[0].rows_done, 0.0f,
                                      &staleness) == (b == 1 ? HT_EBUSY : HT_OK));
        CHECK(staleness.counts[0] == 2); /* no observation of the busy one */
        CHECK(fixture.replicas[0].rows_at[1] == 0 && block->rows == 0);
        if (phase == 0) {
            ht_replica_compute_locked(&fixture.hot, &fixture.replicas[1], 1, 0, 0.0f);
            ht_block_commit(block);
        }
    }
    ht_replica_copy_committed(&fixture.hot, &fixture.replicas[1], 1, 0);
    ht_block_release(block);
    for (int i = 0; i < 300; i++)
        actor_change(&fixture, 0);
    actor_hand_in(&fixture, 0);
    hot_fixture_check_sums(&fixture);
    hot_fixture_close(&fixture);
}

/* ---- with threads ----------------------------------------------------- */

enum { N_WORKERS = 4, N_ROWS = 4000 };

typedef struct {
    hot_fixture_t *fixture;
    uint32_t worker;
    ht_word32_t *go;
} part_t;

static void *work(void *argument)
{
    part_t *part = argument;
    actor_t *actor = &part->fixture->actors[part->worker];
    while (ht_load_relaxed(part->go) == 0)
        sched_yield();
    while (actor->rows_done < N_ROWS) {
        actor_change(part->fixture, part->worker);
        delay_any(&actor->random);
        uint64_t random = delay_random(&actor->random) >> 20;
        if (random % 4 == 0)
            actor_exchange(part->fixture, part->worker, (int64_t)(random / 4 % 3));
    }
    actor_hand_in(part->fixture, part->worker);
    return NULL;
}

static void exchanges_of_threads_lose_nothing(layout_t layout)
{
    hot_fixture_t fixture;
    part_t parts[N_WORKERS];
    crew_t crew;
    ht_word32_t go = 0;
    open_fixture(&fixture, layout, N_WORKERS);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        parts[w] = (part_t){&fixture, w, &go};
    crew_start(&crew, N_WORKERS, work, parts, sizeof *parts);
    ht_store_relaxed(&go, 1u);
    crew_join(&crew);
    hot_fixture_check_sums(&fixture);
    uint64_t n_busy = 0;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        n_busy += fixture.actors[w].n_busy;
    CHECK(n_busy > 0); /* they did meet */
    hot_fixture_close(&fixture);
}

int main(void)
{
    an_exchange_weighs_a_change_by_the_rows_of_others();
    for (int l = 0; l < N_LAYOUTS; l++) {
        init_copies_the_shared_values_and_leaves_the_rest(layouts[l]);
        an_exchange_leaves_other_blocks_alone(layouts[l]);
        a_busy_block_is_skipped_and_handed_in_later(layouts[l]);
        exchanges_of_threads_lose_nothing(layouts[l]);
    }
    FINISH();
}
