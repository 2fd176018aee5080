/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sync: another run, with any number of workers, goes on from what a run has saved between two
 * steps, with the same bits.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/problem.h"

enum { N_ROWS = 1005, N_FEATURES = 3000, N = N_FEATURES + 1, MOST = 3 };
enum { HALF = 6, WHOLE = 13, MOST_ARRAYS = 4 }; /* batches; arrays at most */

static problem_t problem;
static ht_linear_t squared;
static float start[N], parameters[N], others[N], saved_arrays[MOST_ARRAYS * N];
static const float lrs[] = {0.5f, 0.3f};

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

static void *take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

static ht_sync_t *open_sync(ht_optimizer_t optimizer, uint32_t n_workers)
{
    ht_sync_config_t config = {
        .rows = problem.rows,
        .model = &squared.model,
        .optimizer = optimizer,
        .step = {.decay1 = 0.9f, .decay2 = 0.99f, .beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = n_workers,
        .is_exact = 1,
        .intercept = 1,
        .seed = 5,
        .task_rows = 16,
        .batch_tasks = 8,
        .averages_per_epoch = ht_optimizer_is_dual(optimizer) ? 0 : 2,
        .lrs_per_epoch = 1,
        .n_epochs = 2,
        .lrs = lrs,
        .largest_value = 4.0,
        .bound = 0.5f, /* so that steps are refused */
    };
    ht_sync_t *sync;
    REQUIRE(ht_sync_open(&config, &sync) == HT_OK);
    return sync;
}

static void train_until(ht_sync_t *sync, uint32_t n_workers, uint64_t batches)
{
    part_t parts[MOST];
    crew_t crew;
    for (uint32_t w = 0; w < n_workers; w++)
        parts[w] = (part_t){sync, w};
    crew_start(&crew, (int)n_workers, take_part, parts, sizeof *parts);
    ht_sync_allow(sync, batches);
    ht_err_t err;
    do
        err = ht_sync_await_rest(sync, ht_now_ns() + UINT64_C(20000000000));
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
    ht_sync_leave(sync);
    crew_join(&crew);
}

static void the_round_goes_on_with_the_same_bits(ht_optimizer_t optimizer, uint64_t when)
{
    ht_sync_t *whole = open_sync(optimizer, 2);
    ht_sync_load(whole, start);
    train_until(whole, 2, WHOLE);
    ht_sync_store(whole, parameters);
    ht_sync_progress_t expected = ht_sync_progress(whole);
    CHECK(expected.refused > 0);
    ht_sync_t *first = open_sync(optimizer, MOST);
    ht_sync_load(first, start);
    train_until(first, MOST, when);
    REQUIRE(ht_sync_n_arrays(first) <= MOST_ARRAYS);
    ht_sync_saved_t saved = ht_sync_save(first, saved_arrays);
    CHECK(saved.batches == when);
    for (uint32_t n_workers = 1; n_workers <= MOST; n_workers++) {
        ht_sync_t *second = open_sync(optimizer, n_workers);
        REQUIRE(ht_sync_restore(second, &saved, saved_arrays) == HT_OK);
        ht_sync_store(first, others);
        float restored[N];
        ht_sync_store(second, restored);
        CHECK(memcmp(restored, others, sizeof others) == 0);
        train_until(second, n_workers, WHOLE);
        ht_sync_store(second, others);
        CHECK(memcmp(parameters, others, sizeof others) == 0);
        ht_sync_progress_t found = ht_sync_progress(second);
        CHECK(found.batches == WHOLE && found.loss == expected.loss);
        CHECK(found.refused == expected.refused);
        uint64_t rows = 0;
        for (uint32_t w = 0; w < n_workers; w++)
            rows += ht_sync_rows(second, w);
        CHECK(rows == ht_sync_rows_until(second, WHOLE) - ht_sync_rows_until(second, when));
        ht_sync_close(second);
    }
    ht_sync_close(first);
    ht_sync_close(whole);
}

static void numbers_out_of_range_are_refused(void)
{
    const ht_sync_saved_t sound = {.batches = HALF,
                                   .refused = 0,
                                   .together = 1,
                                   .loss = 1.0,
                                   .bound = 1.0,
                                   .changes = {1.0, 1.0, 1.0}};
    ht_sync_t *sync = open_sync(HT_SGD, 1);
    for (int i = 0; i < 8; i++) {
        ht_sync_saved_t saved = sound;
        saved.batches = i == 0 ? (uint64_t)HT_SYNC_STEPS + 1 : saved.batches;
        saved.bound = i == 1 ? 0.0 : i == 2 ? INFINITY : i == 3 ? NAN : saved.bound;
        saved.changes[1] = i == 4 ? 0.0 : i == 5 ? NAN : saved.changes[1];
        saved.together = i == 6 ? 0 : i == 7 ? 2 : saved.together;
        CHECK(ht_sync_restore(sync, &saved, saved_arrays) == HT_EINVAL);
    }
    CHECK(ht_sync_restore(sync, &sound, saved_arrays) == HT_OK);
    ht_sync_close(sync);
}

int main(void)
{
    const ht_optimizer_t optimizers[] = {HT_SGD, HT_ADAGRAD, HT_ADAM, HT_FTRL};
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    problem_open(&problem, 7, N_ROWS, N_FEATURES, 30, 1, 1);
    for (int at = 0; at < N; at++)
        start[at] = 0.1f * (float)(at % 7 - 3);
    for (size_t k = 0; k < sizeof optimizers / sizeof *optimizers; k++)
        for (uint64_t when = HALF; when <= HALF + 3; when++) /* an epoch has 8 batches */
            the_round_goes_on_with_the_same_bits(optimizers[k], when);
    numbers_out_of_range_are_refused();
    problem_close(&problem);
    FINISH();
}
