/* SPDX-License-Identifier: BSD-3-Clause */
/* Sync: the parameters of a run, bit for bit, whoever works and however slowly. */
#include "run/ht_sync.h"

#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/problem.h"

#define MS UINT64_C(1000000)

enum { N_ROWS = 1005, N_FEATURES = 3000, LONGEST = 30, N = N_FEATURES + 1 };
enum { N_BATCHES = 24, FIRST_BATCHES = 3, MOST_WORKERS = 8 };

static problem_t problem;
static ht_linear_t logistic, squared;
static float start[N], inverse_share[N];
static const float lrs[] = {0.5f, 0.3f};
static double scales[N / HT_SUMS_SCALE + 1];

/* A way to disturb a run. */
typedef struct {
    double slow;      /* the factor for worker 0; 0: none */
    int parks;        /* holds whoever first comes to `point` */
    ht_point_t point; /* after FIRST_BATCHES batches */
} fault_t;

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

typedef struct {
    float parameters[N];
    ht_sync_progress_t progress;
} result_t;

static ht_sync_config_t usual(uint32_t n_workers)
{
    return (ht_sync_config_t){
        .rows = problem.rows,
        .model = &logistic.model,
        .optimizer = HT_SGD,
        .isa = ht_vector_best_isa(),
        .n_workers = n_workers,
        .is_exact = 1,
        .intercept = 1,
        .seed = 5,
        .task_rows = 16,
        .batch_tasks = 8,
        .lrs_per_epoch = 1,
        .n_epochs = 2,
        .lrs = lrs,
        .largest_value = 1.0,
        .bound = 1.5f, /* no weight is larger */
        .is_bounded = 1,
    };
}

/* Another loss, optimizer and grid, with a penalty. */
static ht_sync_config_t unusual(uint32_t n_workers)
{
    ht_sync_config_t config = usual(n_workers);
    config.model = &squared.model;
    config.optimizer = HT_ADAGRAD;
    config.step.l1 = 1e-4f;
    config.step.l2 = 1e-3f;
    config.inverse_share = inverse_share;
    config.scales = scales;
    config.largest_value = 4.0;
    config.bound = 16.0f;
    config.is_bounded = 0;
    return config;
}

static void *take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

static ht_err_t await_rest(ht_sync_t *sync)
{
    uint64_t deadline = ht_now_ns() + 20000 * MS;
    ht_err_t err;
    do
        err = ht_sync_await_rest(sync, deadline);
    while (err == HT_EINTR);
    return err;
}

static uint32_t step_of(ht_sync_t *sync)
{
    ht_phase_t phase;
    return ht_round_now(ht_sync_round(sync), &phase, NULL);
}

/* Points at which a worker has the only right to go on. */
static int holds_the_step(ht_point_t point)
{
    return point == HT_AFTER_BLOCK_COMMIT || point == HT_IN_COPYING || point == HT_AFTER_COPY;
}

/* Sees a worker held in step `step`; lets it go two steps later, or after 50 ms. */
static void release_late(ht_sync_t *sync, ht_point_t point, uint32_t step)
{
    ht_points_t *points = ht_round_points(ht_sync_round(sync));
    uint64_t deadline = ht_now_ns() + 5000 * MS;
    while (!ht_point_is_held(points, point) && ht_now_ns() < deadline)
        delay_sleep_ns(20000);
    CHECK(ht_point_is_held(points, point));
    if (holds_the_step(point)) {
        delay_sleep_ns((long)(50 * MS));
        CHECK(step_of(sync) == step);
    } else {
        while (step_of(sync) < step + 2 && ht_now_ns() < deadline)
            delay_sleep_ns(20000);
        CHECK(step_of(sync) >= step + 2);
    }
    CHECK(ht_point_is_held(points, point));
    ht_point_release(points, point);
    CHECK(ht_point_fired(points, point) == 1);
}

static void check_reports(ht_sync_t *sync, const ht_sync_progress_t *progress, uint32_t n_workers)
{
    uint64_t rows = 0;
    for (uint32_t w = 0; w < n_workers; w++)
        rows += ht_sync_rows(sync, w);
    CHECK(rows == ht_sync_rows_until(sync, progress->batches));
    CHECK(progress->step ==
          1 + progress->batches + progress->refused + (progress->outcome == HT_ENONFINITE));
}

static void train(const ht_sync_config_t *config, uint64_t n_batches, const fault_t *fault,
                  result_t *result)
{
    ht_sync_t *sync;
    part_t parts[MOST_WORKERS];
    crew_t crew;
    REQUIRE(ht_sync_open(config, &sync) == HT_OK);
    ht_sync_load(sync, start);
    for (uint32_t w = 0; w < config->n_workers; w++)
        parts[w] = (part_t){sync, w};
    if (fault != NULL && fault->slow != 0.0)
        ht_sync_slow(sync, 0, fault->slow);
    crew_start(&crew, (int)config->n_workers, take_part, parts, sizeof *parts);
    uint64_t first = n_batches < FIRST_BATCHES ? n_batches : FIRST_BATCHES;
    ht_sync_allow(sync, first);
    CHECK(await_rest(sync) == HT_OK);
    CHECK(ht_sync_progress(sync).batches == first || ht_sync_progress(sync).outcome != HT_OK);
    uint32_t step = step_of(sync); /* every point is passed in every step */
    if (fault != NULL && fault->parks)
        ht_point_arm(ht_round_points(ht_sync_round(sync)), fault->point, HT_ANY_WORKER, 0);
    ht_sync_allow(sync, n_batches);
    if (fault != NULL && fault->parks)
        release_late(sync, fault->point, step);
    CHECK(await_rest(sync) == HT_OK);
    result->progress = ht_sync_progress(sync);
    ht_sync_store(sync, result->parameters);
    ht_sync_leave(sync);
    crew_join(&crew);
    check_reports(sync, &result->progress, config->n_workers);
    ht_sync_close(sync);
}

static void check_same(const result_t *found, const result_t *expected)
{
    CHECK(memcmp(found->parameters, expected->parameters, sizeof found->parameters) == 0);
    CHECK(found->progress.batches == expected->progress.batches);
    CHECK(found->progress.refused == expected->progress.refused);
    CHECK(found->progress.loss == expected->progress.loss);
    CHECK(found->progress.outcome == expected->progress.outcome);
}

static int n_changed(const result_t *result)
{
    int n = 0;
    for (int at = 0; at < N; at++)
        n += result->parameters[at] != start[at];
    return n;
}

/* ---- the same bits -------------------------------------------------------------- */

static void exact_bits_do_not_depend_on_the_workers(ht_sync_config_t (*make)(uint32_t))
{
    static result_t expected, found;
    const uint32_t n_workers[] = {1, 2, 3, 5, MOST_WORKERS};
    ht_sync_config_t config = make(1);
    train(&config, N_BATCHES, NULL, &expected);
    CHECK(expected.progress.batches == N_BATCHES && expected.progress.outcome == HT_OK);
    CHECK(expected.progress.loss > 0.0 && n_changed(&expected) > 500);
    for (size_t i = 0; i < sizeof n_workers / sizeof *n_workers; i++)
        for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
            config = make(n_workers[i]);
            config.isa = isa;
            train(&config, N_BATCHES, NULL, &found);
            check_same(&found, &expected);
        }
    config = make(3);
    train(&config, N_BATCHES, &(fault_t){.slow = 5.0}, &found);
    check_same(&found, &expected);
    config.seed++;
    train(&config, N_BATCHES, NULL, &found);
    CHECK(memcmp(found.parameters, expected.parameters, sizeof found.parameters) != 0);
}

static void a_worker_may_be_held_anywhere(void)
{
    static result_t expected, found;
    ht_sync_config_t config = usual(3);
    train(&config, N_BATCHES, NULL, &expected);
    for (ht_point_t point = HT_BEFORE_CLAIM; point <= HT_BEFORE_WAKE; point++) {
        if (point != HT_HEIR_COPYING) /* nobody dies here */
            train(&config, N_BATCHES, &(fault_t){.parks = 1, .point = point}, &found);
        check_same(&found, &expected);
    }
}

static void plain_sums_give_the_same_bits_for_the_same_number_of_workers(void)
{
    static result_t exact, first, second;
    for (uint32_t n_workers = 1; n_workers <= 5; n_workers += 2) {
        ht_sync_config_t config = usual(n_workers);
        train(&config, N_BATCHES, NULL, &exact);
        config.is_exact = 0;
        train(&config, N_BATCHES, NULL, &first);
        train(&config, N_BATCHES, &(fault_t){.parks = n_workers > 1, .point = HT_IN_ADDING},
              &second);
        check_same(&second, &first);
        for (int at = 0; at < N; at++)
            CHECK_CLOSE(first.parameters[at], exact.parameters[at], 1e-5);
        CHECK_CLOSE(first.progress.loss, exact.progress.loss, 1e-3);
    }
}

/* ---- refused steps, broken numbers --------------------------------------------- */

static void a_step_beyond_the_bound_is_refused_and_done_again(void)
{
    static result_t generous, expected, found;
    const float bounds[] = {0.5f, 0.3f, 0.1f, 0.02f, 1e-6f};
    ht_sync_config_t config = usual(2);
    config.model = &squared.model;
    config.is_bounded = 0;
    config.bound = 64.0f;
    train(&config, N_BATCHES, NULL, &generous);
    CHECK(generous.progress.refused == 0);
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        config.bound = bounds[i];
        config.n_workers = 1;
        train(&config, N_BATCHES, NULL, &expected);
        CHECK(expected.progress.refused > 0 && expected.progress.batches == N_BATCHES);
        for (int at = 0; at < N; at++)
            CHECK_CLOSE(expected.parameters[at], generous.parameters[at], 1e-6);
        for (config.n_workers = 2; config.n_workers <= 5; config.n_workers += 3) {
            train(&config, N_BATCHES, NULL, &found);
            check_same(&found, &expected);
        }
        train(&config, N_BATCHES, &(fault_t){.parks = 1, .point = HT_AFTER_COMMIT}, &found);
        check_same(&found, &expected);
    }
}

static void a_broken_number_leaves_the_parameters_of_the_batch_before(float target)
{
    static result_t broken, before;
    ht_sync_config_t config = usual(3);
    config.model = &squared.model;
    config.bound = 16.0f;
    config.is_bounded = 0;
    float kept = problem.targets[700];
    for (config.is_exact = 0; config.is_exact < 2; config.is_exact++) {
        problem.targets[700] = target;
        train(&config, N_BATCHES, NULL, &broken);
        problem.targets[700] = kept;
        CHECK(broken.progress.outcome == HT_ENONFINITE);
        CHECK(broken.progress.batches < N_BATCHES);
        train(&config, broken.progress.batches, NULL, &before);
        CHECK(before.progress.outcome == HT_OK);
        CHECK(memcmp(broken.parameters, before.parameters, sizeof before.parameters) == 0);
        CHECK(broken.progress.loss == before.progress.loss);
    }
}

/* ---- the supervisor -------------------------------------------------------------- */

static void a_bad_configuration_is_refused(void)
{
    ht_sync_t *sync = NULL;
    for (int i = 0; i < 9; i++) {
        ht_sync_config_t config = usual(2);
        config.n_workers = i == 0 ? 0 : i == 1 ? HT_ROUND_WORKERS + 1 : 2;
        config.task_rows = i == 2 ? 0 : i == 3 ? HT_SYNC_TASK_ROWS + 1 : 16;
        config.batch_tasks = i == 4 ? 0 : i == 5 ? HT_ROUND_TASKS + 1 : 8;
        config.bound = i == 6 ? 0.0f : 1.0f;
        config.step.l2 = i == 7 ? 1.0f : 0.0f; /* without shares */
        ht_err_t err = ht_sync_open(&config, &sync);
        CHECK(err == (i == 8 ? HT_OK : HT_EINVAL));
    }
    CHECK(ht_sync_steps_per_epoch(sync) == 8); /* 63 strips by 8 */
    CHECK(ht_sync_rows_until(sync, 1) == 128);
    CHECK(ht_sync_rows_until(sync, 8) == N_ROWS);
    CHECK(ht_sync_rows_until(sync, 17) == 2 * N_ROWS + 128);
    ht_sync_close(sync);
    ht_sync_close(NULL);
}

static void a_task_is_claimed_computed_and_committed_in_this_order(void)
{
    ht_sync_t *sync;
    ht_sync_config_t config = usual(2);
    uint32_t task;
    REQUIRE(ht_sync_open(&config, &sync) == HT_OK);
    ht_sync_load(sync, start);
    CHECK(ht_sync_claim(sync, 0, &task) == HT_EEND); /* nothing is allowed yet */
    CHECK(ht_sync_compute(sync, 0, 0) == HT_EINVAL);
    CHECK(ht_sync_commit(sync, 0) == HT_EINVAL);
    ht_sync_allow(sync, 1);
    CHECK(ht_sync_claim(sync, 0, &task) == HT_OK);
    CHECK(ht_sync_commit(sync, 0) == HT_EINVAL);
    CHECK(ht_sync_compute(sync, 0, task + 1) == HT_EINVAL);
    CHECK(ht_sync_compute(sync, 0, task) == HT_OK);
    CHECK(ht_sync_commit(sync, 0) == HT_OK);
    CHECK(ht_sync_commit(sync, 0) == HT_EINVAL);
    CHECK(ht_sync_compute(sync, 0, task) == HT_EINVAL);
    CHECK(ht_sync_rows(sync, 0) == 0); /* the step is not merged */
    ht_sync_close(sync);
}

static void a_target_that_is_no_class_is_refused(void)
{
    ht_sync_t *sync;
    ht_sync_config_t config = usual(2);
    ht_linear_t softmax;
    REQUIRE(ht_linear_init(&softmax, (ht_loss_t){HT_LOGISTIC, 0.0f}, 3) == HT_OK);
    config.model = &softmax.model;
    CHECK(ht_sync_nbytes(&config) > 0);
    CHECK(ht_sync_open(&config, &sync) == HT_EINVAL); /* -1 */
}

static void a_stop_ends_after_the_open_step(void)
{
    ht_sync_t *sync;
    ht_sync_config_t config = usual(2);
    crew_t crew;
    REQUIRE(ht_sync_open(&config, &sync) == HT_OK);
    ht_sync_load(sync, start);
    part_t parts[2] = {{sync, 0}, {sync, 1}};
    CHECK(ht_sync_await_rest(sync, 0) == HT_OK); /* nothing is allowed yet */
    crew_start(&crew, 2, take_part, parts, sizeof *parts);
    ht_sync_allow(sync, UINT64_C(1) << 40);
    while (step_of(sync) < 5)
        delay_sleep_ns(20000);
    CHECK(ht_sync_await_rest(sync, ht_now_ns()) == HT_ETIMEOUT);
    ht_sync_stop(sync);
    CHECK(await_rest(sync) == HT_OK);
    uint64_t batches = ht_sync_progress(sync).batches;
    CHECK(batches >= 5);
    delay_sleep_ns((long)(20 * MS));
    CHECK(ht_sync_progress(sync).batches == batches);
    ht_sync_leave(sync);
    crew_join(&crew);
    ht_sync_close(sync);
}

int main(void)
{
    REQUIRE(ht_linear_init(&logistic, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    uint64_t random = 3;
    problem_open(&problem, 7, N_ROWS, N_FEATURES, LONGEST, 1, 1);
    for (int at = 0; at < N; at++) {
        start[at] = 0.1f * (float)delay_uniform(&random);
        inverse_share[at] = 1.0f + 10.0f * (float)delay_uniform(&random);
    }
    for (int s = 0; s < N / HT_SUMS_SCALE + 1; s++)
        scales[s] = ldexp(1.0, s % 5 - 2); /* 4 at most */
    a_bad_configuration_is_refused();
    exact_bits_do_not_depend_on_the_workers(usual);
    exact_bits_do_not_depend_on_the_workers(unusual);
    a_worker_may_be_held_anywhere();
    plain_sums_give_the_same_bits_for_the_same_number_of_workers();
    a_step_beyond_the_bound_is_refused_and_done_again();
    a_broken_number_leaves_the_parameters_of_the_batch_before((float)INFINITY);
    a_broken_number_leaves_the_parameters_of_the_batch_before((float)NAN);
    a_task_is_claimed_computed_and_committed_in_this_order();
    a_target_that_is_no_class_is_refused();
    a_stop_ends_after_the_open_step();
    problem_close(&problem);
    FINISH();
}
