/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/local_runs.h"

#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/delay.h"

enum { N_ROWS = 1005, CLASSES = 5 };

problem_t local_sparse;
float local_start[N];

static problem_t dense, of_classes;
static ht_linear_t logistic, squared, softmax;
static float inverse_share[N];
static const float lrs[] = {0.2f, 0.1f, 0.05f};

void local_open(void)
{
    REQUIRE(ht_linear_init(&logistic, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    REQUIRE(ht_linear_init(&softmax, (ht_loss_t){HT_LOGISTIC, 0.0f}, CLASSES) == HT_OK);
    uint64_t random = 3;
    problem_open(&local_sparse, 7, N_ROWS, N_FEATURES, 30, 1, 1);
    problem_open(&of_classes, 8, N_ROWS, 60, 20, 1, 1);
    problem_set_classes(&of_classes, CLASSES);
    problem_open_dense(&dense, 9, N_ROWS, WIDTH, 1);
    for (int at = 0; at < N; at++) {
        local_start[at] = 0.1f * (float)delay_uniform(&random);
        inverse_share[at] = 1.0f + 10.0f * (float)delay_uniform(&random);
    }
}

void local_close(void)
{
    problem_close(&local_sparse);
    problem_close(&of_classes);
    problem_close(&dense);
}

ht_sync_config_t local_config(kind_t kind, uint32_t n_workers)
{
    ht_sync_config_t config = {
        .rows = local_sparse.rows,
        .model = &logistic.model,
        .step = {.l2 = 1e-3f, .decay1 = 0.9f, .decay2 = 0.99f, .beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = n_workers,
        .is_exact = 1,
        .intercept = 1,
        .seed = 5,
        .task_rows = TASK_ROWS,
        .batch_tasks = BATCH_TASKS,
        .replicas = REPLICAS,
        .every = EVERY,
        .most_together = 1,
        .local_rows = LOCAL_ROWS,
        .lrs_per_epoch = 1,
        .n_epochs = 3,
        .lrs = lrs,
        .largest_value = 1.0,
        .bound = 1.5f, /* no weight is larger */
        .is_bounded = 1,
    };
    const ht_optimizer_t optimizers[N_KINDS] = {
        HT_SGD, HT_ADAGRAD, HT_FTRL, HT_ADAM, HT_SGD, HT_RMSPROP, HT_ADAGRAD,
    };
    config.optimizer = optimizers[kind];
    if (kind == CLASSES_SGD) {
        config.rows = of_classes.rows;
        config.model = &softmax.model;
    } else if (kind >= DENSE_RMSPROP) {
        config.rows = dense.rows;
        config.averages_per_epoch = 4;
    } else if (kind == SPARSE_ADAGRAD) {
        config.model = &squared.model;
        config.bound = 0.25f;
        config.is_bounded = 0;
    }
    if (kind == SPARSE_ADAGRAD || kind == SPARSE_FTRL)
        config.step.l1 = 1e-4f;
    if (kind < DENSE_RMSPROP && ht_optimizer_has_shares(config.optimizer))
        config.inverse_share = inverse_share;
    return config;
}

ht_sync_config_t local_with_outer(kind_t kind, uint32_t n_workers)
{
    ht_sync_config_t config = local_config(kind, n_workers);
    config.outer = (ht_outer_t){kind % 2 ? HT_OUTER_NESTEROV : HT_OUTER_SLOWMO, 0.8f, 0.6f};
    config.averages_per_epoch = 3;
    return config;
}

ht_sync_t *local_sync(const ht_sync_config_t *config)
{
    ht_sync_t *sync;
    REQUIRE(ht_sync_open(config, &sync) == HT_OK);
    ht_sync_load(sync, local_start);
    return sync;
}

/* ---- training ------------------------------------------------------------------ */

void *local_take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

void local_await_rest(ht_sync_t *sync)
{
    ht_err_t err;
    do
        err = ht_sync_await_rest(sync, ht_now_ns() + 20000 * MS);
    while (err == HT_EINTR);
    CHECK(err == HT_OK);
}

uint32_t local_step(ht_sync_t *sync)
{
    ht_phase_t phase;
    return ht_round_now(ht_sync_round(sync), &phase, NULL);
}

void local_start_workers(ht_sync_t *sync, part_t *parts, crew_t *crew)
{
    for (uint32_t w = 0; w < sync->config.n_workers; w++)
        parts[w] = (part_t){sync, w};
    crew_start(crew, (int)sync->config.n_workers, local_take_part, parts, sizeof *parts);
}

void local_finish(ht_sync_t *sync, crew_t *crew, result_t *result)
{
    result->progress = ht_sync_progress(sync);
    memset(result->parameters, 0, sizeof result->parameters);
    ht_sync_store(sync, result->parameters);
    ht_sync_leave(sync);
    crew_join(crew);
}

void local_train_on(ht_sync_t *sync, uint64_t n_batches, result_t *result)
{
    part_t parts[MOST_WORKERS];
    crew_t crew;
    local_start_workers(sync, parts, &crew);
    ht_sync_allow(sync, n_batches);
    local_await_rest(sync);
    local_finish(sync, &crew, result);
}

void local_train(const ht_sync_config_t *config, uint64_t n_batches, result_t *result)
{
    ht_sync_t *sync = local_sync(config);
    local_train_on(sync, n_batches, result);
    uint64_t rows = 0;
    for (uint32_t w = 0; w < config->n_workers; w++)
        rows += ht_sync_rows(sync, w);
    CHECK(rows == ht_sync_rows_until(sync, result->progress.batches));
    ht_sync_close(sync);
}

void local_check_same(const result_t *found, const result_t *expected)
{
    CHECK(memcmp(found->parameters, expected->parameters, sizeof found->parameters) == 0);
    CHECK(found->progress.batches == expected->progress.batches);
    CHECK(found->progress.refused == expected->progress.refused);
    CHECK(found->progress.loss == expected->progress.loss);
    CHECK(found->progress.outcome == expected->progress.outcome);
}
