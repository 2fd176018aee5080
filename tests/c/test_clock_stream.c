/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams whose changes add up, gated by a clock (Async): how far workers run ahead, by the clock
 * and by the rows of others that have entered; and who waits for whom.
 */
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_stream_parts.h"
#include "support/check.h"
#include "support/job.h"

#define MS UINT64_C(1000000)

enum { EVERY = 3, N_WORKERS = 3 };

static void open_adding(job_t *job, ht_optimizer_t optimizer, uint32_t n_workers,
                        uint32_t staleness)
{
    job_open_usual(job, optimizer);
    job_heat(job, JOB_COORDINATES);
    job->config.adds = HT_COMPENSATED;
    job->config.staleness = staleness;
    job->config.n_workers = n_workers;
    job->config.every = EVERY;
}

static void all_coordinates_must_be_hot(void)
{
    job_t job;
    open_adding(&job, HT_SGD, 1, 0);
    CHECK(ht_stream_nbytes(&job.config) > 0);
    job_heat(&job, JOB_FEATURES);
    CHECK(ht_stream_nbytes(&job.config) == 0);
    job_heat(&job, 0);
    CHECK(ht_stream_nbytes(&job.config) == 0);
    job_heat(&job, JOB_COORDINATES);
    job.config.adds = HT_COMPENSATED + 1;
    CHECK(ht_stream_nbytes(&job.config) == 0);
    job_close(&job);
}

/* How changes enter is the same for one worker, and so is every gate. */
static void one_worker_has_the_bits_of_weighted_changes(ht_optimizer_t optimizer)
{
    static float weighted[JOB_COORDINATES], added[JOB_COORDINATES];
    job_t job;
    open_adding(&job, optimizer, 1, 0);
    job.config.adds = HT_WEIGHTED;
    job_train(&job, 2, weighted);
    for (int k = 0; k < 4; k++) {
        job.config.adds = k % 2 == 0 ? HT_ADDED : HT_COMPENSATED;
        job.config.staleness = k < 2 ? 0 : HT_CLOCK_OPEN;
        job_train(&job, 2, added);
        CHECK(memcmp(weighted, added, sizeof added) == 0);
    }
    job_close(&job);
}

/* With one worker 20 times as slow as the others. */
static void no_view_is_older_than_the_bound(uint32_t staleness)
{
    job_t job;
    job_run_t run;
    open_adding(&job, HT_SGD, N_WORKERS, staleness);
    job_start(&run, &job);
    ht_stream_slow(run.stream, 1, 20.0);
    for (uint32_t epoch = 1; epoch <= JOB_EPOCHS; epoch++) {
        job_epoch(&run);
        CHECK(job_trained(&run) == JOB_ROWS);
        for (uint32_t w = 0; w < N_WORKERS; w++) {
            const ht_worker_t *worker = job_worker(&run, w);
            uint64_t most = (N_WORKERS - 1) * (2 * (uint64_t)staleness + 2);
            CHECK(worker->lead <= staleness);
            CHECK(worker->merged.largest <= most * EVERY);
        }
    }
    CHECK(isfinite(job_loss(&run)));
    job_end(&run);
    job_close(&job);
}

static uint32_t largest_ticks(ht_stream_t *stream)
{
    uint32_t most = 0;
    for (uint32_t w = 0; w < N_WORKERS; w++) {
        uint32_t ticks = ht_clock_ticks(stream->clock, w);
        most = ticks > most ? ticks : most;
    }
    return most;
}

/* Opens epochs until worker 1 is held before its first row: it may come too late for a chunk. */
static void hold_one(job_run_t *run)
{
    ht_points_t *points = &ht_stream_roster(run->stream)->points;
    ht_point_arm(points, HT_CHUNK_BEGUN, 1, 0);
    for (;;) {
        job_begin(run);
        uint64_t deadline = ht_now_ns() + 100 * MS;
        ht_err_t err;
        do
            err = ht_roster_await_rest(ht_stream_roster(run->stream), deadline);
        while (err == HT_EINTR);
        if (err == HT_ETIMEOUT && ht_point_is_held(points, HT_CHUNK_BEGUN))
            return;
        job_await(run);
    }
}

static void others_wait_for_a_held_worker_until_the_end_or_a_call_to_stop(int stops)
{
    const uint32_t staleness = 2;
    job_t job;
    job_run_t run;
    open_adding(&job, HT_SGD, N_WORKERS, staleness);
    job_start(&run, &job);
    hold_one(&run);
    uint64_t until = ht_now_ns() + 60 * MS;
    while (largest_ticks(run.stream) < staleness + 1 || ht_now_ns() < until)
        sched_yield();
    CHECK(largest_ticks(run.stream) == staleness + 1); /* and they wait there */
    ht_roster_t *roster = ht_stream_roster(run.stream);
    if (stops) { /* all others rest, while one is still held */
        ht_roster_stop(roster, HT_STOP_EPOCH);
        uint32_t epoch = ht_load_relaxed(&roster->epoch);
        for (uint32_t w = 0; w < N_WORKERS; w += 2)
            while (ht_load_acquire(HT_PAIR_REST, &roster->workers[w].rested) != epoch)
                sched_yield();
    }
    ht_point_release(&roster->points, HT_CHUNK_BEGUN);
    job_await(&run);
    if (stops) {
        CHECK(ht_stream_trained(run.stream) < JOB_ROWS);
        REQUIRE(ht_stream_resume(run.stream) == HT_OK);
        job_await(&run);
    }
    CHECK(ht_stream_trained(run.stream) == JOB_ROWS);
    job_end(&run);
    job_close(&job);
}

/* A worker that loses its core within an exchange holds up nobody where the gate is open. */
static void others_leave_out_what_a_held_worker_exchanges(void)
{
    job_t job;
    job_run_t run;
    open_adding(&job, HT_SGD, N_WORKERS, HT_CLOCK_OPEN);
    job_start(&run, &job);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    ht_point_arm(points, HT_EXCHANGE_LOCKED, HT_ANY_WORKER, 0);
    job_begin(&run);
    const ht_feed_t *feed = ht_stream_feed(run.stream);
    REQUIRE(feed->n_chunks > 2 * N_WORKERS);
    uint64_t deadline = ht_now_ns() + 10000 * MS, n_open;
    do { /* ends: by the deadline, if others wait */
        sched_yield();
        n_open = 0;
        for (uint64_t c = 0; c < feed->n_chunks; c++)
            n_open += !ht_claims_is_done(run.stream->claims, feed, c);
    } while (n_open > 1 && ht_now_ns() < deadline);
    CHECK(n_open == 1); /* its own */
    CHECK(ht_point_is_held(points, HT_EXCHANGE_LOCKED));
    ht_point_release(points, HT_EXCHANGE_LOCKED);
    job_await(&run);
    CHECK(ht_stream_trained(run.stream) == JOB_ROWS);
    job_end(&run);
    job_close(&job);
}

/* Passes that the gate does not let in, while a long chunk is finished, count no row's curvature
 * twice: the published rate is at most that of the largest curvature of the loss, 1/4. */
static void a_call_to_stop_leaves_a_sound_rate(void)
{
    job_t job;
    job_run_t run;
    job_open(&job, 61, 40000, 50, 8, JOB_EPOCHS, 0.1f);
    job_heat(&job, 51);
    job.config.adds = HT_COMPENSATED;
    job.config.n_workers = N_WORKERS;
    job.config.every = EVERY;
    job_start(&run, &job);
    hold_one(&run);
    ht_roster_t *roster = ht_stream_roster(run.stream);
    REQUIRE(ht_feed_n_rows(ht_stream_feed(run.stream), 0) > 100 * EVERY);
    ht_roster_stop(roster, HT_STOP_EPOCH);
    ht_point_release(&roster->points, HT_CHUNK_BEGUN);
    job_await(&run);
    REQUIRE(ht_stream_trained(run.stream) < 40000);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        CHECK(roster->workers[w].rate <= 0.25f * job.lrs[0]);
    job_end(&run);
    job_close(&job);
}

/* A worker that had no chunk in an epoch begins the next one with the others' changes. */
static void a_worker_begins_with_a_fresh_view(int has_clock)
{
    job_t job;
    open_adding(&job, HT_ADAGRAD, 2, 0);
    if (!has_clock)
        job.config.adds = HT_WEIGHTED;
    ht_stream_t *stream;
    float *parameters = calloc(JOB_COORDINATES, sizeof *parameters);
    REQUIRE(parameters != NULL && ht_stream_open(&job.config, &stream) == HT_OK);
    ht_stream_load(stream, parameters);
    REQUIRE(ht_stream_begin(stream, 1) == HT_OK);
    CHECK((stream->clock != NULL) == has_clock);
    if (has_clock)
        ht_clock_leave(stream->clock, 1);
    ht_worker_stream(stream, 0); /* all rows */
    ht_worker_stream(stream, 1); /* none */
    const ht_replica_t *replica = &stream->places[1].replica;
    ht_stream_store(stream, parameters);
    for (int64_t j = 0; j < JOB_COORDINATES; j++)
        CHECK(replica->entries[stream->hot.stride * j] == parameters[j]);
    for (int64_t b = 0; b < stream->hot.n_blocks; b++)
        CHECK(replica->rows_seen[b] == JOB_ROWS && replica->rows_at[b] == 0);
    CHECK(ht_stream_roster(stream)->workers[1].merged.counts[0] == 0);
    ht_stream_close(stream);
    free(parameters);
    job_close(&job);
}

int main(void)
{
    all_coordinates_must_be_hot();
    for (int o = 0; o < JOB_OPTIMIZERS; o++)
        one_worker_has_the_bits_of_weighted_changes(job_optimizers[o]);
    no_view_is_older_than_the_bound(0);
    no_view_is_older_than_the_bound(3);
    others_wait_for_a_held_worker_until_the_end_or_a_call_to_stop(0);
    others_wait_for_a_held_worker_until_the_end_or_a_call_to_stop(1);
    others_leave_out_what_a_held_worker_exchanges();
    a_call_to_stop_leaves_a_sound_rate();
    a_worker_begins_with_a_fresh_view(1);
    a_worker_begins_with_a_fresh_view(0);
    FINISH();
}
