/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One node's part of a stream: leased chunks, values out and in, and merges of two sides.
 */
#include "run/ht_stream_guest.h"

#include <string.h>

#include "base/ht_random.h"
#include "support/check.h"
#include "support/job.h"

/* Room for whole lanes. */
enum { STRIDE = (JOB_COORDINATES + HT_LANES - 1) / HT_LANES * HT_LANES, ARRAYS = 3 };

static float values[ARRAYS * STRIDE], others[ARRAYS * STRIDE], merged[ARRAYS * STRIDE];

static uint64_t n_in(const ht_stream_t *stream, uint64_t n_chunks, ht_chunk_state_t state)
{
    static uint8_t states[JOB_ROWS];
    uint64_t n = 0;
    ht_stream_chunks(stream, 0, n_chunks, states);
    for (uint64_t c = 0; c < n_chunks; c++)
        n += states[c] == state;
    return n;
}

/* Lets the workers train the chunks first .. last-1, and awaits them. */
static void train(job_run_t *run, uint64_t first, uint64_t last)
{
    ht_stream_set_chunks(run->stream, first, last, HT_CHUNK_OPEN);
    ht_stream_offer(run->stream, first, last);
    REQUIRE(ht_stream_resume(run->stream) == HT_OK);
    job_await(run);
}

/* ---- chunks --------------------------------------------------------------- */

static void workers_train_the_chunks_that_are_leased_alone(uint32_t n_workers)
{
    job_t job;
    job_run_t run;
    job_open_usual(&job, HT_SGD);
    job_heat(&job, JOB_COORDINATES);
    job.config.n_workers = n_workers;
    job.config.is_leased = 1;
    job_start(&run, &job);
    const uint64_t n = ht_stream_feed(run.stream)->n_chunks, half = n / 2;
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        job_epoch(&run); /* without a lease nobody trains */
        CHECK(n_in(run.stream, n, HT_CHUNK_AWAY) == n);
        CHECK(job_trained(&run) == 0);
        train(&run, 3, half);
        CHECK(n_in(run.stream, n, HT_CHUNK_DONE) == half - 3);
        CHECK(n_in(run.stream, n, HT_CHUNK_AWAY) == n - (half - 3));
        uint64_t rows = 0;
        for (uint64_t c = 3; c < half; c++)
            rows += (uint64_t)ht_feed_n_rows(ht_stream_feed(run.stream), c);
        CHECK(ht_stream_trained(run.stream) == rows);
        /* What is done is not trained again, and what is taken back not at all. */
        ht_stream_set_chunks(run.stream, half, n, HT_CHUNK_OPEN);
        ht_stream_set_chunks(run.stream, half, half + 2, HT_CHUNK_AWAY);
        train(&run, 0, 3);
        CHECK(n_in(run.stream, n, HT_CHUNK_OPEN) == n - half - 2);
        ht_stream_offer(run.stream, 0, n);
        REQUIRE(ht_stream_resume(run.stream) == HT_OK);
        job_await(&run);
        CHECK(n_in(run.stream, n, HT_CHUNK_DONE) == n - 2);
        CHECK(n_in(run.stream, n, HT_CHUNK_AWAY) == 2);
        ht_stream_set_chunks(run.stream, half, half + 2, HT_CHUNK_DONE); /* by another node */
        CHECK(ht_stream_trained(run.stream) == JOB_ROWS);
    }
    CHECK(ht_stream_pace(run.stream) > 0.0f);
    job_end(&run);
    job_close(&job);
}

/* ---- values ----------------------------------------------------------------- */

static void what_is_put_is_seen_and_trained_on(ht_optimizer_t optimizer, int64_t n_hot,
                                               int is_ordered)
{
    static int64_t numbers[JOB_COORDINATES - 1]; /* of the features: the intercept stays first */
    for (int64_t k = 0; k < JOB_COORDINATES - 1; k++)
        numbers[k] = JOB_COORDINATES - 2 - k;
    const int64_t *order = is_ordered ? numbers : NULL;
    job_t job;
    job_run_t run;
    job_open_usual(&job, optimizer);
    if (n_hot > 0)
        job_heat(&job, n_hot);
    job.config.is_leased = 1;
    job_start(&run, &job);
    CHECK(ht_stream_n_coordinates(run.stream) == JOB_COORDINATES);
    const int arrays = ht_optimizer_arrays(optimizer);
    const uint64_t n = ht_stream_feed(run.stream)->n_chunks;
    job_epoch(&run);
    train(&run, 0, n / 2);
    ht_stream_look(run.stream, order, values, STRIDE);
    ht_stream_look(run.stream, NULL, others, STRIDE);
    for (int k = 0; k < arrays; k++)
        for (int64_t r = 0; r < JOB_COORDINATES; r++)
            CHECK(values[k * STRIDE + (is_ordered && r > 0 ? JOB_COORDINATES - r : r)] ==
                  others[k * STRIDE + r]);
    /* Two runs that are put to the same values, one of them with another past, go on alike. */
    job_run_t twin;
    job_start(&twin, &job);
    job_epoch(&twin);
    ht_stream_put(twin.stream, order, values, STRIDE, 0);
    ht_stream_put(run.stream, order, values, STRIDE, 0);
    ht_stream_look(twin.stream, order, others, STRIDE);
    CHECK(memcmp(values, others, sizeof(float) * (size_t)(arrays * STRIDE)) == 0);
    train(&run, n / 2, n);
    train(&twin, n / 2, n);
    ht_stream_look(run.stream, NULL, values, STRIDE);
    ht_stream_look(twin.stream, NULL, others, STRIDE);
    CHECK(memcmp(values, others, sizeof(float) * (size_t)(arrays * STRIDE)) == 0);
    job_end(&twin);
    job_end(&run);
    job_close(&job);
}

/* ---- merges ----------------------------------------------------------------- */

/* Writes values as an optimizer has them: sums and means of squares are not negative. */
static void fill(float *array, int arrays, uint64_t seed)
{
    for (int k = 0; k < arrays; k++)
        for (int64_t j = 0; j < JOB_COORDINATES; j++) {
            float x = (float)(ht_random_u64(seed, (uint64_t)(k * STRIDE + j)) % 2001) / 1000.0f;
            array[k * STRIDE + j] = k == 0 ? x - 1.0f : 1.0f + x;
        }
}

typedef struct {
    job_t job;
    job_run_t run;
    int arrays;
    ht_stream_merge_t merge;
    float own[ARRAYS * STRIDE], base[ARRAYS * STRIDE], shared[ARRAYS * STRIDE];
} sides_t;

/* Opens a run for its merges, of two sides that have changed every value. */
static void open_sides(sides_t *sides, ht_optimizer_t optimizer, int is_weighted)
{
    memset(sides, 0, sizeof *sides);
    job_open_usual(&sides->job, optimizer);
    if (ht_optimizer_is_dense(optimizer)) {
        problem_close(&sides->job.problem);
        problem_open_dense(&sides->job.problem, 61, 40, JOB_FEATURES, 0);
        sides->job.config.rows = sides->job.problem.rows;
        job_heat(&sides->job, JOB_COORDINATES);
    }
    job_penalise(&sides->job, ht_optimizer_is_dense(optimizer) ? 0.0f : 1e-4f, 1e-3f);
    sides->job.config.is_leased = 1;
    job_start(&sides->run, &sides->job);
    sides->arrays = ht_optimizer_arrays(optimizer);
    fill(sides->base, sides->arrays, 1);
    fill(sides->own, sides->arrays, 2);
    fill(sides->shared, sides->arrays, 3);
    for (int k = 1; k < sides->arrays; k++) /* sums of squares grow */
        for (int64_t j = 0; j < JOB_COORDINATES; j++) {
            sides->own[k * STRIDE + j] += sides->base[k * STRIDE + j];
            sides->shared[k * STRIDE + j] += sides->base[k * STRIDE + j];
        }
    sides->merge = (ht_stream_merge_t){
        .last = JOB_COORDINATES,
        .stride = STRIDE,
        .own = sides->own,
        .base = sides->base,
        .shared = sides->shared,
        .curvature = is_weighted ? sides->job.curvature : NULL,
        .merged = merged,
        .pace = is_weighted ? 0.2f : 0.0f,
        .rows = 300,
        .others = 500,
        .epoch_rows = 800,
    };
}

static void close_sides(sides_t *sides)
{
    job_end(&sides->run);
    job_close(&sides->job);
}

static size_t nbytes(const sides_t *sides)
{
    return sizeof(float) * (size_t)(sides->arrays * STRIDE);
}

/* A node alone gets its own bits back, and one that has done nothing those of the others. */
static void one_side_alone_keeps_its_bits(ht_optimizer_t optimizer, int is_weighted)
{
    static sides_t sides;
    open_sides(&sides, optimizer, is_weighted);
    ht_stream_merge_t merge = sides.merge;
    merge.shared = sides.base;
    merge.others = 0;
    ht_stream_merge(sides.run.stream, &merge);
    for (int k = 0; k < sides.arrays; k++)
        CHECK(memcmp(merged + k * STRIDE, sides.own + k * STRIDE,
                     sizeof(float) * JOB_COORDINATES) == 0);
    close_sides(&sides);
}

/* The result does not depend on whether it is written in place, nor on the stretches in which it
 * is computed. */
static void places_and_stretches_are_no_matter(ht_optimizer_t optimizer, int is_weighted)
{
    static sides_t sides;
    open_sides(&sides, optimizer, is_weighted);
    ht_stream_merge(sides.run.stream, &sides.merge);
    static float expected[ARRAYS * STRIDE];
    memcpy(expected, merged, nbytes(&sides));
    for (int in_place = 0; in_place < 3; in_place++) {
        memcpy(values, sides.own, sizeof values);
        memcpy(others, sides.shared, sizeof others);
        memset(merged, 0, sizeof merged);
        ht_stream_merge_t merge = sides.merge;
        merge.own = values;
        merge.shared = others;
        merge.merged = in_place == 0 ? merged : in_place == 1 ? values : others;
        for (int64_t first = 0; first < JOB_COORDINATES; first += 7 * HT_LANES) {
            merge.first = first;
            merge.last =
                first + 7 * HT_LANES < JOB_COORDINATES ? first + 7 * HT_LANES : JOB_COORDINATES;
            ht_stream_merge(sides.run.stream, &merge);
        }
        for (int k = 0; k < sides.arrays; k++)
            CHECK(memcmp(merge.merged + k * STRIDE, expected + k * STRIDE,
                         sizeof(float) * JOB_COORDINATES) == 0);
    }
    close_sides(&sides);
}

/* In full, w is what both have changed; weighted, it lies between the two sides or what they have
 * changed together. */
static void changes_add_up_or_are_weighted(ht_optimizer_t optimizer)
{
    static sides_t sides;
    for (int is_weighted = 0; is_weighted < 2; is_weighted++) {
        open_sides(&sides, optimizer, is_weighted);
        ht_stream_merge(sides.run.stream, &sides.merge);
        int64_t n_less = 0;
        for (int64_t j = 0; j < JOB_COORDINATES; j++) {
            float base = sides.base[j], own = sides.own[j], shared = sides.shared[j];
            float in_full = own + shared - base;
            float least = own < shared ? own : shared, most = own < shared ? shared : own;
            least = in_full < least ? in_full : least;
            most = in_full > most ? in_full : most;
            CHECK(merged[j] >= least - 1e-5f && merged[j] <= most + 1e-5f);
            if (!is_weighted)
                CHECK_CLOSE(merged[j], in_full, 1e-5f);
            n_less += merged[j] < in_full - 1e-3f || merged[j] > in_full + 1e-3f;
        }
        CHECK(is_weighted ? n_less > 0 : n_less == 0);
        for (int64_t j = 0; optimizer == HT_ADAGRAD && j < JOB_COORDINATES; j++)
            CHECK_CLOSE(merged[STRIDE + j],
                        sides.own[STRIDE + j] + sides.shared[STRIDE + j] - sides.base[STRIDE + j],
                        1e-5f);
        close_sides(&sides);
    }
}

int main(void)
{
    static const ht_optimizer_t all[] = {HT_SGD, HT_ADAGRAD, HT_FTRL, HT_MOMENTUM, HT_ADAM};
    workers_train_the_chunks_that_are_leased_alone(1);
    workers_train_the_chunks_that_are_leased_alone(3);
    for (int k = 0; k < JOB_OPTIMIZERS; k++)
        for (int h = 0; h < JOB_HOTS; h++)
            what_is_put_is_seen_and_trained_on(job_optimizers[k], job_n_hots[h], h % 2);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        for (int is_weighted = 0; is_weighted < 2; is_weighted++) {
            one_side_alone_keeps_its_bits(all[k], is_weighted);
            places_and_stretches_are_no_matter(all[k], is_weighted);
        }
    changes_add_up_or_are_weighted(HT_SGD);
    changes_add_up_or_are_weighted(HT_ADAGRAD);
    FINISH();
}
