/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sync on dense rows, where a contribution is a task's gradient: the grid holds the largest one,
 * steps beyond it are refused, and products that overflow end the run.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_sync.h"
#include "support/check.h"
#include "support/problem.h"

enum { ROWS = 1024, WIDTH = 21, N = WIDTH + 1, MOST_WORKERS = 3 };

static float values[ROWS * WIDTH], targets[ROWS];
static ht_linear_t hinge, squared;
static const float lrs[] = {0.25f};

static ht_sync_config_t config_of(const ht_linear_t *linear, uint32_t task_rows)
{
    return (ht_sync_config_t){
        .rows = {.n_rows = ROWS, .n_features = WIDTH, .values = values, .targets = targets},
        .model = &linear->model,
        .optimizer = HT_SGD,
        .isa = ht_vector_best_isa(),
        .n_workers = 1,
        .is_exact = 1,
        .intercept = 1,
        .task_rows = task_rows,
        .batch_tasks = ROWS / task_rows,
        .lrs_per_epoch = 1,
        .n_epochs = 1,
        .lrs = lrs,
        .largest_value = 1.0,
        .bound = 1.0f,
        .is_bounded = 1,
    };
}

/* Takes one batch from 0; the workers take turns. */
static ht_sync_progress_t train(const ht_sync_config_t *config, float *parameters)
{
    ht_sync_t *sync;
    uint32_t worker = 0, task;
    memset(parameters, 0, sizeof *parameters * N);
    REQUIRE(ht_sync_open(config, &sync) == HT_OK);
    ht_sync_load(sync, parameters);
    ht_sync_allow(sync, 1);
    while (ht_sync_await_rest(sync, 0) != HT_OK) {
        worker = (worker + 1) % config->n_workers;
        if (ht_sync_claim(sync, worker, &task) == HT_OK) {
            CHECK(ht_sync_compute(sync, worker, task) == HT_OK);
            CHECK(ht_sync_commit(sync, worker) == HT_OK);
        } else if (ht_sync_merge_next(sync, worker) != HT_OK) {
            (void)ht_sync_await(sync, worker, ht_now_ns());
        }
    }
    ht_sync_progress_t progress = ht_sync_progress(sync);
    ht_sync_store(sync, parameters);
    ht_sync_close(sync);
    return progress;
}

/* Every gradient is at the bound, and every element is the largest one. */
static void the_grid_holds_the_largest_sum_of_a_task(void)
{
    float parameters[N];
    for (int i = 0; i < ROWS * WIDTH; i++)
        values[i] = 1.0f;
    for (int r = 0; r < ROWS; r++)
        targets[r] = 1.0f;
    for (uint32_t task_rows = 1; task_rows <= HT_SYNC_TASK_ROWS; task_rows *= 2) {
        ht_sync_config_t config = config_of(&hinge, task_rows);
        ht_sync_progress_t progress = train(&config, parameters);
        CHECK(progress.batches == 1 && progress.outcome == HT_OK);
        for (int j = 0; j < N; j++)
            CHECK(parameters[j] == lrs[0]);
    }
}

/* The sum of these floats is below 1; the float sum is above it. */
static void the_grid_holds_a_sum_that_its_additions_round_up(void)
{
    enum { N_ROUNDED = 482 };
    static float weights[N_ROUNDED];
    const float weight = 0x1.0fefp-9f;
    float parameters[N], sum = 0.0f;
    for (int r = 0; r < N_ROUNDED; r++) {
        weights[r] = weight;
        sum += weight;
    }
    CHECK(N_ROUNDED * (double)weight < 1.0 && sum > 1.000005f);
    ht_sync_config_t config = config_of(&hinge, N_ROUNDED);
    config.rows.n_rows = N_ROUNDED;
    config.rows.weights = weights;
    config.bound = weight;
    CHECK(train(&config, parameters).batches == 1);
    for (int j = 0; j < N; j++)
        CHECK(parameters[j] == lrs[0] * (sum * (1.0f / N_ROUNDED)));
}

static void a_step_beyond_the_bound_is_refused_and_done_again(void)
{
    float expected[N], generous[N], parameters[N];
    problem_t problem;
    problem_open_dense(&problem, 91, ROWS, WIDTH, 0);
    memcpy(values, problem.values, sizeof values);
    for (int r = 0; r < ROWS; r++)
        targets[r] = problem.targets[r] * (float)(1 + r % 7);
    problem_close(&problem);
    ht_sync_config_t config = config_of(&squared, 16);
    config.is_bounded = 0;
    config.bound = 64.0f;
    CHECK(train(&config, generous).refused == 0);
    config.bound = 1e-6f;
    CHECK(train(&config, expected).refused == 1);
    for (int j = 0; j < N; j++)
        CHECK_CLOSE(expected[j], generous[j], 1e-6);
    for (config.n_workers = 1; config.n_workers <= MOST_WORKERS; config.n_workers++)
        for (config.isa = HT_BASELINE; config.isa <= ht_vector_best_isa(); config.isa++) {
            CHECK(train(&config, parameters).refused == 1);
            CHECK(memcmp(parameters, expected, sizeof expected) == 0);
        }
}

/* Gradients and elements are finite, and two of their products are not. */
static void products_that_overflow_end_the_run(void)
{
    float parameters[N];
    ht_sync_config_t config = config_of(&hinge, 8);
    for (int i = 0; i < ROWS * WIDTH; i++)
        values[i] = 0.0f;
    for (int r = 0; r < ROWS; r++)
        targets[r] = 1.0f;
    values[5 * WIDTH + 3] = values[6 * WIDTH + 3] = 3e38f;
    config.largest_value = 3e38;
    for (config.is_exact = 0; config.is_exact < 2; config.is_exact++) {
        ht_sync_progress_t progress = train(&config, parameters);
        CHECK(progress.outcome == HT_ENONFINITE && progress.batches == 0);
        for (int j = 0; j < N; j++)
            CHECK(parameters[j] == 0.0f);
    }
}

int main(void)
{
    REQUIRE(ht_linear_init(&hinge, (ht_loss_t){HT_HINGE, 0.0f}, 0) == HT_OK);
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    the_grid_holds_the_largest_sum_of_a_task();
    the_grid_holds_a_sum_that_its_additions_round_up();
    a_step_beyond_the_bound_is_refused_and_done_again();
    products_that_overflow_end_the_run();
    FINISH();
}
