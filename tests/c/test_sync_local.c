/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replicas of a run of the round: equal bits whoever works, however slowly, and after a pause; one
 * replica that merges after every step is minibatch descent.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/local_runs.h"

enum { N_BATCHES = 24, FIRST_BATCHES = 3, MOST_ARRAYS = 5 };

static float saved_arrays[MOST_ARRAYS * N];

/* One replica that merges after every step. */
static ht_sync_config_t single(kind_t kind, uint32_t n_workers)
{
    ht_sync_config_t config = local_config(kind, n_workers);
    config.replicas = config.every = 1;
    config.local_rows = TASK_ROWS * BATCH_TASKS;
    return config;
}

/* ---- the same bits --------------------------------------------------------------- */

static void bits_depend_on_the_number_of_replicas_alone(const ht_sync_config_t *config)
{
    static result_t expected, found;
    const uint32_t n_workers[] = {1, 2, 3, MOST_WORKERS};
    ht_sync_config_t other = *config;
    local_train(&other, N_BATCHES, &expected);
    CHECK(expected.progress.batches == N_BATCHES && expected.progress.outcome == HT_OK);
    CHECK(expected.progress.loss > 0.0 && expected.progress.refused > 0); /* the first step is */
    CHECK(memcmp(expected.parameters, local_start, sizeof(float) * WIDTH) != 0);
    for (size_t i = 0; i < sizeof n_workers / sizeof *n_workers; i++)
        for (other.isa = HT_BASELINE; other.isa <= ht_vector_best_isa(); other.isa++) {
            other.n_workers = n_workers[i];
            local_train(&other, N_BATCHES, &found);
            local_check_same(&found, &expected);
        }
    other = *config;
    other.replicas--;
    local_train(&other, N_BATCHES, &found);
    CHECK(memcmp(found.parameters, expected.parameters, sizeof found.parameters) != 0);
}

static void one_replica_that_merges_each_step_is_minibatch_descent(kind_t kind)
{
    static result_t expected, found;
    ht_sync_config_t plain = local_config(kind, 1);
    plain.replicas = plain.every = plain.local_rows = 0;
    plain.is_exact = 0;
    local_train(&plain, N_BATCHES, &expected);
    for (uint32_t n_workers = 1; n_workers <= 3; n_workers++) {
        ht_sync_config_t config = single(kind, n_workers);
        local_train(&config, N_BATCHES, &found);
        CHECK(memcmp(found.parameters, expected.parameters, sizeof found.parameters) == 0);
        CHECK(found.progress.batches == N_BATCHES);
        CHECK_CLOSE(found.progress.loss, expected.progress.loss, 1e-3);
    }
}

/* A batch of fewer rows has fewer local steps, whatever `every` says. */
static void steps_are_counted_as_they_are_made(kind_t kind)
{
    static result_t expected, found;
    ht_sync_config_t config = local_config(kind, 2);
    config.replicas = 1;
    config.local_rows = TASK_ROWS * BATCH_TASKS;
    config.every = 1;
    local_train(&config, N_BATCHES, &expected);
    config.every = 1000;
    local_train(&config, N_BATCHES, &found);
    local_check_same(&found, &expected);
}

/* Points at which a worker has the only right to go on. */
static int holds_the_step(ht_point_t point)
{
    return point == HT_AFTER_BLOCK_COMMIT || point == HT_IN_COPYING || point == HT_AFTER_COPY;
}

/* Holds a worker at a point; it goes on two steps later, or after 20 ms. */
static void train_with_a_late_worker(const ht_sync_config_t *config, ht_point_t point,
                                     result_t *result)
{
    ht_sync_t *sync = local_sync(config);
    ht_points_t *points = ht_round_points(ht_sync_round(sync));
    part_t parts[MOST_WORKERS];
    crew_t crew;
    local_start_workers(sync, parts, &crew);
    ht_sync_allow(sync, FIRST_BATCHES);
    local_await_rest(sync);
    uint32_t step = local_step(sync);
    ht_point_arm(points, point, HT_ANY_WORKER, 0);
    ht_sync_allow(sync, N_BATCHES);
    uint64_t deadline = ht_now_ns() + 10000 * MS;
    while (!ht_point_is_held(points, point) && ht_now_ns() < deadline)
        delay_sleep_ns(20000);
    if (holds_the_step(point))
        delay_sleep_ns((long)(20 * MS));
    else
        while (local_step(sync) < step + 2 && ht_now_ns() < deadline)
            delay_sleep_ns(20000);
    CHECK(ht_point_is_held(points, point));
    CHECK(local_step(sync) >= step + 2 || holds_the_step(point));
    ht_point_release(points, point);
    local_await_rest(sync);
    CHECK(ht_point_fired(points, point) == 1);
    local_finish(sync, &crew, result);
    ht_sync_close(sync);
}

static void a_worker_may_be_held_anywhere(kind_t kind)
{
    static result_t expected, found;
    const ht_sync_config_t config = local_config(kind, 3);
    local_train(&config, N_BATCHES, &expected);
    for (ht_point_t point = HT_BEFORE_CLAIM; point <= HT_BEFORE_WAKE; point++) {
        if (point == HT_HEIR_COPYING) /* nobody dies here */
            continue;
        train_with_a_late_worker(&config, point, &found);
        local_check_same(&found, &expected);
    }
}

static void a_worker_may_be_slow(kind_t kind)
{
    static result_t expected, found;
    const ht_sync_config_t config = local_config(kind, 3);
    local_train(&config, N_BATCHES, &expected);
    ht_sync_t *sync = local_sync(&config);
    ht_sync_slow(sync, 0, 20.0);
    local_train_on(sync, N_BATCHES, &found);
    local_check_same(&found, &expected);
    ht_sync_close(sync);
}

static void a_worker_of_another_handle_gives_the_same_bits(kind_t kind)
{
    static result_t expected, found;
    const ht_sync_config_t config = local_config(kind, 2);
    local_train(&config, N_BATCHES, &expected);
    ht_sync_t *first = local_sync(&config), *second;
    ht_segment_t *segment = ht_sync_segment(first);
    REQUIRE(ht_sync_attach(segment, segment->nbytes, config.model, &config.rows, &second) == HT_OK);
    part_t parts[2] = {{first, 0}, {second, 1}};
    crew_t crew;
    crew_start(&crew, 2, local_take_part, parts, sizeof *parts);
    ht_sync_allow(first, N_BATCHES);
    local_await_rest(first);
    local_finish(first, &crew, &found);
    local_check_same(&found, &expected);
    ht_sync_close(second);
    ht_sync_close(first);
}

/* A worker that dies within a local step leaves sums, marks and a list; its place's next worker
 * must not take them for its own. */
static void what_a_dead_worker_has_left_is_wiped(kind_t kind, int is_dead)
{
    static result_t expected, found;
    const ht_sync_config_t config = local_config(kind, 1);
    local_train(&config, N_BATCHES, &expected);
    ht_sync_t *sync = local_sync(&config);
    const worker_t *place = &sync->workers[0];
    for (int64_t at = 0; at < sync->n_coordinates; at++)
        ((float *)place->local.sums)[at] = 0.125f;
    int64_t n_groups = (sync->n_coordinates + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    memset(place->local.marks, 1, (size_t)n_groups);
    memset(place->listed, 1, (size_t)n_groups);
    if (is_dead) {
        ht_sync_declare_dead(sync, 0);
        ht_sync_revive(sync, 0);
    }
    local_train_on(sync, N_BATCHES, &found);
    if (is_dead)
        local_check_same(&found, &expected);
    else /* the test would see what is left */
        CHECK(memcmp(found.parameters, expected.parameters, sizeof found.parameters) != 0);
    ht_sync_close(sync);
}

/* ---- saving ------------------------------------------------------------------------ */

static void a_run_goes_on_with_the_same_bits(const ht_sync_config_t *config, uint64_t when)
{
    static result_t expected, found;
    ht_sync_config_t other = *config;
    local_train(config, N_BATCHES, &expected);
    ht_sync_t *first = local_sync(config);
    local_train_on(first, when, &found);
    REQUIRE(ht_sync_n_arrays(first) <= MOST_ARRAYS);
    ht_sync_saved_t saved = ht_sync_save(first, saved_arrays);
    ht_sync_close(first);
    CHECK(saved.batches == when && saved.changes[0] > 0x1p-60);
    for (other.n_workers = 1; other.n_workers <= 3; other.n_workers++) {
        ht_sync_t *second = local_sync(&other);
        REQUIRE(ht_sync_restore(second, &saved, saved_arrays) == HT_OK);
        local_train_on(second, N_BATCHES, &found);
        local_check_same(&found, &expected);
        ht_sync_close(second);
    }
}

static void the_velocity_of_the_outer_optimizer_is_saved(void)
{
    const ht_sync_config_t config = local_with_outer(SPARSE_ADAM, 2),
                           none = local_config(SPARSE_ADAM, 2);
    ht_sync_t *first = local_sync(&config), *second = local_sync(&none);
    CHECK(ht_sync_n_arrays(first) == MOST_ARRAYS); /* w m v, velocity, average */
    CHECK(ht_sync_n_arrays(second) == 3);
    ht_sync_close(first);
    ht_sync_close(second);
}

/* ---- what is refused, and ends ------------------------------------------------------ */

static void a_step_is_refused_when_a_change_is_beyond_its_bound(void)
{
    static result_t result;
    ht_sync_config_t config = local_config(SPARSE_SGD, 2);
    local_train(&config, 1, &result);
    CHECK(result.progress.refused == 1 && result.progress.step == 3);
    config = single(SPARSE_SGD, 2);
    local_train(&config, N_BATCHES, &result);
    CHECK(result.progress.refused == 0); /* one replica is copied: no grid holds it */
}

static void a_broken_number_leaves_the_parameters_of_the_step_before(float target)
{
    static result_t broken, before;
    ht_sync_config_t config = local_config(SPARSE_ADAGRAD, 3);
    float kept = local_sparse.targets[700];
    for (config.replicas = 1; config.replicas <= REPLICAS; config.replicas += REPLICAS - 1) {
        local_sparse.targets[700] = target;
        local_train(&config, N_BATCHES, &broken);
        local_sparse.targets[700] = kept;
        CHECK(broken.progress.outcome == HT_ENONFINITE && broken.progress.batches < N_BATCHES);
        local_train(&config, broken.progress.batches, &before);
        CHECK(memcmp(broken.parameters, before.parameters, sizeof before.parameters) == 0);
        CHECK(broken.progress.loss == before.progress.loss);
    }
}

static void a_bad_configuration_is_refused(void)
{
    static const double scales[N / HT_SUMS_SCALE + 1];
    for (int i = 0; i < 10; i++) {
        ht_sync_t *sync = NULL;
        ht_sync_config_t config = local_config(i == 5 ? SPARSE_FTRL : SPARSE_ADAM, 2);
        config.replicas = i == 1 ? HT_ROUND_TASKS + 1 : REPLICAS;
        config.is_exact = i != 2;
        config.every = i == 3 ? 0 : EVERY;
        config.local_rows = i == 4 ? 0 : i == 6 ? (uint32_t)INT32_MAX + 1 : LOCAL_ROWS;
        config.outer.kind = i == 5 ? HT_OUTER_SLOWMO : i == 7 ? HT_OUTER_COUNT : HT_OUTER_NONE;
        config.scales = i == 8 ? scales : NULL;
        config.batch_tasks = i == 9 ? INT32_MAX / TASK_ROWS + 1 : BATCH_TASKS;
        CHECK(ht_sync_open(&config, &sync) == (i == 0 ? HT_OK : HT_EINVAL));
        CHECK((ht_sync_nbytes(&config) == 0) == (i != 0));
        ht_sync_close(sync);
    }
}

int main(void)
{
    local_open();
    a_bad_configuration_is_refused();
    for (kind_t kind = 0; kind < N_KINDS; kind++) {
        ht_sync_config_t config = local_config(kind, 2);
        bits_depend_on_the_number_of_replicas_alone(&config);
        one_replica_that_merges_each_step_is_minibatch_descent(kind);
        steps_are_counted_as_they_are_made(kind);
        what_a_dead_worker_has_left_is_wiped(kind, 1);
        a_run_goes_on_with_the_same_bits(&config, 5);
        config = local_with_outer(kind, 2);
        if (kind == SPARSE_FTRL)
            continue; /* it has neither an outer optimizer nor an average */
        bits_depend_on_the_number_of_replicas_alone(&config);
        a_run_goes_on_with_the_same_bits(&config, 11); /* an epoch has 11 batches */
    }
    what_a_dead_worker_has_left_is_wiped(SPARSE_SGD, 0);
    a_worker_may_be_held_anywhere(SPARSE_ADAGRAD);
    a_worker_may_be_held_anywhere(DENSE_RMSPROP);
    a_worker_may_be_slow(SPARSE_FTRL);
    a_worker_of_another_handle_gives_the_same_bits(SPARSE_ADAM);
    a_worker_of_another_handle_gives_the_same_bits(DENSE_ADAGRAD);
    the_velocity_of_the_outer_optimizer_is_saved();
    a_step_is_refused_when_a_change_is_beyond_its_bound();
    a_broken_number_leaves_the_parameters_of_the_step_before((float)INFINITY);
    a_broken_number_leaves_the_parameters_of_the_step_before((float)NAN);
    local_close();
    FINISH();
}
