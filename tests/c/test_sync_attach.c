/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sync: a second handle finds everything in the segment of the first, also where the segment has
 * another address, as in another process; workers there go on with the same bits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_stream.h"
#include "run/ht_sync_parts.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/problem.h"

enum { N_ROWS = 1005, N_FEATURES = 3000, N = N_FEATURES + 1, N_WORKERS = 3 };
enum { HALF = 6, WHOLE = 13 }; /* batches */

static problem_t problem;
static ht_linear_t squared;
static float inverse_share[N], start[N], parameters[N], others[N];
static double scales[N / HT_SUMS_SCALE + 1];
static const float lrs[] = {0.5f, 0.3f};

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

/* A run that has every part but those of a mapped file, of replicas and of a guest. */
static ht_sync_config_t whole(int is_exact)
{
    return (ht_sync_config_t){
        .rows = problem.rows,
        .model = &squared.model,
        .optimizer = HT_ADAGRAD,
        .step = {.l1 = 1e-4f, .l2 = 1e-3f, .beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = N_WORKERS,
        .is_exact = is_exact,
        .intercept = 1,
        .seed = 5,
        .task_rows = 16,
        .batch_tasks = 8,
        .averages_per_epoch = 2,
        .lrs_per_epoch = 1,
        .n_epochs = 2,
        .lrs = lrs,
        .inverse_share = inverse_share,
        .scales = scales,
        .largest_value = 4.0,
        .bound = 0.5f, /* so that steps are refused */
    };
}

static void *take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

static void await_rest(ht_sync_t *sync)
{
    ht_err_t err;
    do
        err = ht_sync_await_rest(sync, ht_now_ns() + UINT64_C(20000000000));
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
}

/* Trains until `batches` have been done since the start, with all workers but one, which then
 * leave; with N_WORKERS for the one, with all. */
static void train_until(ht_sync_t *sync, uint64_t batches, uint32_t without)
{
    part_t parts[N_WORKERS];
    crew_t crew;
    int n = 0;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        if (w != without)
            parts[n++] = (part_t){sync, w};
    ht_store_relaxed(&sync->words->leaving, 0u); /* those before have left */
    crew_start(&crew, n, take_part, parts, sizeof *parts);
    ht_sync_allow(sync, batches);
    await_rest(sync);
    ht_sync_leave(sync);
    crew_join(&crew);
}

/* Copies words that a held worker has written.  race: with nobody, as the worker is held; the
 * point where it is hands over nothing. */
HT_RACY static void copy_words(volatile uint64_t *to, const volatile uint64_t *from, size_t n)
{
    for (size_t k = 0; k < n; k++)
        to[k] = from[k];
}

static ht_segment_t *copy_of(ht_sync_t *sync)
{
    ht_segment_t *segment = ht_sync_segment(sync);
    ht_segment_t *copy = aligned_alloc(HT_LINE, segment->nbytes);
    REQUIRE(copy != NULL);
    copy_words((uint64_t *)copy, (const uint64_t *)segment, segment->nbytes / sizeof(uint64_t));
    return copy;
}

static ht_sync_t *attach(ht_segment_t *segment)
{
    ht_sync_t *sync = NULL;
    REQUIRE(ht_sync_attach(segment, segment->nbytes, &squared.model, &problem.rows, &sync) ==
            HT_OK);
    return sync;
}

static void every_part_is_where_the_first_handle_has_it(void)
{
    ht_sync_config_t config = whole(0);
    ht_sync_t *first;
    REQUIRE(ht_sync_open(&config, &first) == HT_OK);
    ht_segment_t *segment = ht_sync_segment(first), *copy = copy_of(first);
    ht_sync_t *second = attach(segment), *third = attach(copy);
    for (int p = 0; p < N_PARTS; p++)
        for (size_t i = 0; i < first->layout.parts[p].count; i++) {
            char *at = ht_layout_at(&first->layout, segment, p, i);
            char *there = ht_layout_at(&third->layout, copy, p, i);
            int is_of_replicas = p >= REPLICA && p <= LOCAL_GROUPS;
            int is_of_guest = p >= GUEST && p <= GUEST_MARKS;
            int is_absent = is_of_replicas || is_of_guest || p == FETCHED || p == TASK_SUM ||
                            p == L1_FACTOR; /* the rows are sparse */
            CHECK((at == NULL) == is_absent);
            CHECK(ht_layout_at(&second->layout, segment, p, i) == at);
            CHECK(at == NULL ? there == NULL : there - (char *)copy == at - (char *)segment);
        }
    for (uint32_t k = 0; k < N_WORKERS * first->n_lanes; k++)
        CHECK((char *)third->sums[k].sums - (char *)copy ==
              (char *)first->sums[k].sums - (char *)segment);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        CHECK(third->workers[w].redo - third->workers[0].redo ==
              first->workers[w].redo - first->workers[0].redo);
    CHECK(first->config.inverse_share == NULL && first->config.lrs == NULL);
    CHECK(first->config.scales != scales &&
          memcmp(third->config.scales, scales, sizeof scales) == 0);
    ht_sync_close(second);
    ht_sync_close(third);
    ht_sync_close(first);
    free(copy);
}

static void workers_of_another_handle_go_on_with_the_same_bits(int is_exact)
{
    const float rates[] = {0.2f, 0.1f};
    ht_sync_config_t config = whole(is_exact);
    ht_sync_t *first;
    REQUIRE(ht_sync_open(&config, &first) == HT_OK);
    ht_sync_load(first, start);
    train_until(first, HALF, N_WORKERS);
    ht_sync_set_rates(first, 1, rates);
    ht_segment_t *copy = copy_of(first);
    ht_sync_t *second = attach(copy);
    CHECK(ht_sync_progress(second).batches == HALF);
    for (uint32_t w = 0; w < N_WORKERS; w++) {
        ht_sync_report_t a = ht_sync_report(first, w), b = ht_sync_report(second, w);
        CHECK(memcmp(&a, &b, sizeof a) == 0 && b.generation == 0);
        CHECK(ht_sync_rows(second, w) == ht_sync_rows(first, w));
    }
    ht_sync_store(first, parameters);
    ht_sync_store(second, others);
    CHECK(memcmp(parameters, others, sizeof others) == 0);
    train_until(first, WHOLE, N_WORKERS);
    train_until(second, WHOLE, N_WORKERS);
    ht_sync_store(first, parameters);
    ht_sync_store(second, others);
    CHECK(memcmp(parameters, others, sizeof others) == 0);
    ht_sync_progress_t a = ht_sync_progress(first), b = ht_sync_progress(second);
    CHECK(a.batches == WHOLE && b.batches == WHOLE && a.loss == b.loss && a.refused == b.refused);
    CHECK(a.outcome == HT_OK && (a.refused > 0) == is_exact);
    ht_sync_close(second);
    ht_sync_close(first);
    free(copy);
}

/* A worker is held with a block that it has committed and not copied.  In a copy of the segment
 * it is dead: there the others copy what it left. */
static void an_heir_finds_what_a_dead_worker_has_committed(uint32_t dead)
{
    ht_sync_config_t config = whole(1);
    ht_sync_t *first;
    crew_t crew;
    REQUIRE(ht_sync_open(&config, &first) == HT_OK);
    ht_sync_load(first, start);
    ht_points_t *points = ht_round_points(ht_sync_round(first));
    ht_point_arm(points, HT_AFTER_BLOCK_COMMIT, dead, 0);
    part_t part = {first, dead};
    crew_start(&crew, 1, take_part, &part, sizeof part);
    ht_sync_allow(first, HALF);
    while (!ht_point_is_held(points, HT_AFTER_BLOCK_COMMIT))
        delay_sleep_ns(20000);
    ht_segment_t *copy = copy_of(first);
    ht_point_release(points, HT_AFTER_BLOCK_COMMIT);
    await_rest(first);
    ht_sync_leave(first);
    crew_join(&crew);
    ht_sync_store(first, parameters);
    ht_sync_t *second = attach(copy);
    CHECK(ht_sync_progress(second).batches == 0);
    ht_round_declare_dead(ht_sync_round(second), dead);
    train_until(second, HALF, dead);
    ht_sync_store(second, others);
    CHECK(memcmp(parameters, others, sizeof others) == 0);
    ht_sync_progress_t a = ht_sync_progress(first), b = ht_sync_progress(second);
    CHECK(a.batches == HALF && b.batches == HALF && a.loss == b.loss && a.refused == b.refused);
    uint64_t rows = 0;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        rows += ht_sync_rows(second, w);
    CHECK(rows == ht_sync_rows_until(second, HALF));
    ht_sync_close(second);
    ht_sync_close(first);
    free(copy);
}

static void what_does_not_fit_is_refused(void)
{
    ht_sync_config_t config = whole(1);
    const ht_model_t *model = config.model;
    ht_sync_t *first, *second = NULL;
    REQUIRE(ht_sync_open(&config, &first) == HT_OK);
    ht_segment_t *segment = ht_sync_segment(first);
    const ht_segment_t sound = *segment;
    for (int i = 0; i < 5; i++) {
        segment->magic ^= i == 0;
        segment->layout ^= i == 1;
        segment->build ^= i == 2;
        segment->nbytes += i == 3 ? (uint64_t)2 << 20 : 0;
        segment->record[0] = i == 4 ? 1 : segment->record[0]; /* a run of another kind */
        CHECK(ht_sync_attach(segment, sound.nbytes, model, &problem.rows, &second) == HT_EINVAL);
        *segment = sound;
    }
    for (int i = 0; i < 4; i++) {
        ht_rows_t broken = problem.rows;
        broken.n_rows -= i == 0;
        broken.n_features += i == 1;
        broken.targets = i == 2 ? NULL : broken.targets;
        broken.values = i == 3 ? NULL : broken.values;
        CHECK(ht_sync_attach(segment, sound.nbytes, model, &broken, &second) == HT_EINVAL);
    }
    ht_linear_t other;
    REQUIRE(ht_linear_init(&other, (ht_loss_t){HT_HUBER, 1.0f}, 0) == HT_OK);
    CHECK(ht_sync_attach(segment, sound.nbytes, &other.model, &problem.rows, &second) == HT_EINVAL);
    ht_stream_t *stream = NULL;
    CHECK(ht_stream_attach(segment, sound.nbytes, model, &problem.rows, &stream) == HT_EINVAL);
    CHECK(second == NULL && stream == NULL);
    ht_sync_close(first);
}

int main(void)
{
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    problem_open(&problem, 7, N_ROWS, N_FEATURES, 30, 1, 1);
    for (int at = 0; at < N; at++) {
        start[at] = 0.1f * (float)(at % 7 - 3);
        inverse_share[at] = 1.0f + (float)(at % 10);
    }
    for (int s = 0; s < N / HT_SUMS_SCALE + 1; s++)
        scales[s] = ldexp(1.0, s % 5 - 2); /* 4 at most */
    every_part_is_where_the_first_handle_has_it();
    workers_of_another_handle_go_on_with_the_same_bits(0);
    workers_of_another_handle_go_on_with_the_same_bits(1);
    an_heir_finds_what_a_dead_worker_has_committed(0);             /* a block of parameters */
    an_heir_finds_what_a_dead_worker_has_committed(N_WORKERS - 1); /* the control */
    what_does_not_fit_is_refused();
    problem_close(&problem);
    FINISH();
}
