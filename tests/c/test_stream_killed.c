/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream by forked workers that are killed at each of its points, or anywhere: each row
 * is trained once in each epoch, and blocks are not left locked.
 */
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "base/ht_futex.h"
#include "base/ht_process.h"
#include "run/ht_stream_guest.h"
#include "support/check.h"
#include "support/job.h"

enum { MOST_WORKERS = 3, N_FIRINGS = 20, MOST_FIRINGS = 4, MILLISECONDS = 5000, STALENESS = 1 };

typedef struct {
    ht_stream_t *stream;
    uint32_t n_workers, n_deaths, epoch;
    ht_process_t processes[MOST_WORKERS];
} run_t;

static float parameters[JOB_COORDINATES];

static void be_worker(void *argument, uint32_t worker)
{
    ht_stream_t *stream = argument;
    ht_roster_t *roster = ht_stream_roster(stream);
    for (;;) {
        ht_err_t err = ht_roster_await_epoch(roster, worker);
        if (err == HT_ESTOPPED)
            return;
        if (err != HT_OK)
            continue;
        ht_worker_stream(stream, worker);
        ht_roster_rest(roster, worker);
    }
}

static void spawn(run_t *run, uint32_t worker)
{
    REQUIRE(ht_process_start(be_worker, run->stream, worker, &run->processes[worker]) == HT_OK);
}

static void await_death(run_t *run, uint32_t worker, ht_fate_t expected)
{
    ht_fate_t fate;
    int32_t detail;
    REQUIRE(ht_process_reap(&run->processes[worker], MILLISECONDS, &fate, &detail) == HT_OK);
    CHECK(fate == expected);
}

static void kill_and_replace(run_t *run, uint32_t worker)
{
    ht_process_signal(&run->processes[worker], SIGKILL);
    await_death(run, worker, HT_KILLED);
    ht_stream_declare_dead(run->stream, worker);
    run->n_deaths++;
    spawn(run, worker);
}

/* Two workers are one team; of three, two are. */
static const uint32_t teams[MOST_WORKERS] = {0, 0, 1};

static void set_teams(job_t *job, int has_teams)
{
    job->config.team_of = has_teams ? teams : NULL;
    job->config.n_teams = (uint32_t)has_teams;
}

static run_t open_run(job_t *job, uint32_t n_workers, int64_t n_hot)
{
    run_t run = {.n_workers = n_workers};
    job_heat(job, n_hot);
    if (job->config.team_of != NULL)
        job->config.n_teams = teams[n_workers - 1] + 1;
    job->config.n_workers = n_workers;
    job->config.is_shared = 1;
    REQUIRE(ht_stream_open(&job->config, &run.stream) == HT_OK);
    memset(parameters, 0, sizeof parameters);
    ht_stream_load(run.stream, parameters);
    for (uint32_t w = 0; w < n_workers; w++)
        spawn(&run, w);
    return run;
}

static void close_run(run_t *run)
{
    ht_roster_stop(ht_stream_roster(run->stream), HT_LEAVE);
    for (uint32_t w = 0; w < run->n_workers; w++)
        await_death(run, w, HT_EXITED);
    ht_stream_close(run->stream);
}

static int rests(run_t *run, uint64_t nanoseconds)
{
    uint64_t deadline = ht_now_ns() + nanoseconds;
    ht_err_t err;
    do
        err = ht_roster_await_rest(ht_stream_roster(run->stream), deadline);
    while (err == HT_EINTR);
    return err == HT_OK;
}

static double loss_of(run_t *run)
{
    double loss = 0.0;
    for (uint32_t w = 0; w < run->n_workers; w++)
        loss += ht_stream_roster(run->stream)->workers[w].loss;
    return loss;
}

static void check_epoch(run_t *run)
{
    CHECK(ht_stream_trained(run->stream) == JOB_ROWS);
    for (uint32_t w = 0; w < run->n_workers; w++)
        CHECK(ht_stream_roster(run->stream)->workers[w].lead <= STALENESS); /* 0 without a clock */
    ht_stream_store(run->stream, parameters);
    for (int j = 0; j < JOB_COORDINATES; j++)
        CHECK(isfinite(parameters[j]));
}

static uint64_t repeated_of(run_t *run)
{
    uint64_t repeated = 0;
    for (uint32_t w = 0; w < run->n_workers; w++)
        repeated += ht_stream_roster(run->stream)->workers[w].repeated;
    return repeated;
}

/* Kills the worker that is held at a point. */
static uint32_t kill_at(job_t *job, ht_point_t point, uint32_t n_workers)
{
    run_t run = open_run(job, n_workers, JOB_COORDINATES);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    uint32_t n_fired = 0, held = 0, n_deaths = 0;
    double first = 0.0;
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        ht_point_arm(points, point, held, 0);
        REQUIRE(ht_stream_begin(run.stream, epoch) == HT_OK);
        while (!rests(&run, 200000)) {
            if (!ht_point_is_held(points, point))
                continue;
            kill_and_replace(&run, held);
            ht_point_release(points, point);
            held = (held + 1) % n_workers;
            if (++n_fired % MOST_FIRINGS != 0)
                ht_point_arm(points, point, held, 0);
        }
        ht_point_release(points, point);
        check_epoch(&run);
        CHECK(repeated_of(&run) <= job->config.rows_in_flight * (run.n_deaths - n_deaths));
        n_deaths = run.n_deaths;
        first = epoch == 1 ? loss_of(&run) : first;
    }
    CHECK(loss_of(&run) < first);
    close_run(&run);
    return n_fired;
}

static void a_kill_at_any_point_loses_no_row(job_t *job)
{
    static const ht_point_t points[] = {
        HT_POSITION_TAKEN, HT_CHUNK_CLAIMED,   HT_CHUNK_BEGUN,        HT_GROUP_STEPPED,
        HT_GROUP_FINISHED, HT_EXCHANGE_LOCKED, HT_EXCHANGE_COMMITTED, HT_IN_AVERAGING,
    };
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        uint32_t n_fired = 0;
        job->config.averages_per_epoch = points[p] == HT_IN_AVERAGING ? 4 : 0;
        for (uint32_t n = 0; n < 40 && n_fired < N_FIRINGS; n++)
            n_fired += kill_at(job, points[p], 2 + n % (MOST_WORKERS - 1));
        CHECK(n_fired >= N_FIRINGS);
    }
    job->config.averages_per_epoch = 0;
}

/* Likewise where changes add up, and others wait at the gate; also of a team. */
static void a_kill_holds_up_nobody_at_the_gate(job_t *job)
{
    static const ht_point_t points[] = {HT_GROUP_STEPPED, HT_AT_GATE, HT_EXCHANGE_COMMITTED};
    job->config.adds = HT_COMPENSATED;
    job->config.staleness = STALENESS;
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        uint32_t n_fired = 0;
        for (uint32_t n = 0; n < 40 && n_fired < N_FIRINGS; n++)
            n_fired += kill_at(job, points[p], 2 + n % (MOST_WORKERS - 1));
        CHECK(n_fired >= N_FIRINGS);
    }
    job->config.adds = HT_WEIGHTED;
}

/* Of teams: what differs from workers alone. */
static void a_kill_in_an_exchange_loses_no_row(job_t *job)
{
    static const ht_point_t points[] = {HT_EXCHANGE_LOCKED, HT_EXCHANGE_COMMITTED};
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        uint32_t n_fired = 0;
        for (uint32_t n = 0; n < 40 && n_fired < N_FIRINGS; n++)
            n_fired += kill_at(job, points[p], 2 + n % (MOST_WORKERS - 1));
        CHECK(n_fired >= N_FIRINGS);
    }
}

/* Kills at random times, with nothing, a part and all of the coordinates hot. */
static void kills_at_any_time_lose_no_row(job_t *job)
{
    uint32_t n_deaths = 0;
    for (uint32_t n = 0; n < 12 || (n < 60 && n_deaths < N_FIRINGS); n++) {
        run_t run = open_run(job, 1 + n % MOST_WORKERS, job_n_hots[n % JOB_HOTS]);
        for (uint32_t epoch = 1; epoch <= JOB_EPOCHS; epoch++) {
            REQUIRE(ht_stream_begin(run.stream, epoch) == HT_OK);
            for (uint32_t k = 0; k < 3 && !rests(&run, 20000 + 17000 * (n % 7)); k++)
                kill_and_replace(&run, (n + k) % run.n_workers);
            REQUIRE(rests(&run, UINT64_C(20000000000)));
            check_epoch(&run);
        }
        n_deaths += run.n_deaths;
        close_run(&run);
    }
    CHECK(n_deaths >= N_FIRINGS);
}

/* Opens epochs until worker 1 is held in an exchange; it may come too late for the first ones. */
static void hold_one(run_t *run)
{
    ht_points_t *points = &ht_stream_roster(run->stream)->points;
    ht_point_arm(points, HT_EXCHANGE_LOCKED, 1, 0);
    do
        REQUIRE(ht_stream_begin(run->stream, ++run->epoch) == HT_OK);
    while (rests(run, UINT64_C(200000000)));
    REQUIRE(ht_point_is_held(points, HT_EXCHANGE_LOCKED));
}

/* Kills a worker in an epoch that is stopped before the next one of its place has begun, and goes
 * on. Returns whether rows were left: a worker that comes late to the epoch may hold its last. */
static int stop_beside_a_death(job_t *job)
{
    run_t run = open_run(job, 2, JOB_COORDINATES);
    ht_roster_t *roster = ht_stream_roster(run.stream);
    hold_one(&run);
    ht_roster_stop(roster, HT_STOP_EPOCH);
    kill_and_replace(&run, 1);
    ht_point_release(&roster->points, HT_EXCHANGE_LOCKED);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    int is_stopped = ht_stream_trained(run.stream) < JOB_ROWS;
    REQUIRE(ht_stream_resume(run.stream) == HT_OK);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    check_epoch(&run);
    close_run(&run);
    return is_stopped;
}

static void a_stopped_epoch_goes_on_with_the_chunk_of_the_dead(job_t *job)
{
    int is_stopped = 0;
    for (uint32_t n = 0; n < N_FIRINGS && !is_stopped; n++)
        is_stopped = stop_beside_a_death(job);
    CHECK(is_stopped);
}

/* The place of a worker that dies for good rests in all epochs, and the others hold no lock. */
static void an_abandoned_place_keeps_nobody_waiting(job_t *job)
{
    run_t run = open_run(job, 2, JOB_COORDINATES);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    hold_one(&run);
    ht_process_signal(&run.processes[1], SIGKILL);
    await_death(&run, 1, HT_KILLED);
    ht_stream_declare_dead(run.stream, 1);
    ht_err_t err = ht_stream_abandon(run.stream, 1);
    ht_point_release(points, HT_EXCHANGE_LOCKED);
    for (; err == HT_EBUSY; err = ht_stream_abandon(run.stream, 1))
        sched_yield();
    REQUIRE(err == HT_OK);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    uint64_t trained = ht_stream_trained(run.stream);
    CHECK(trained <= JOB_ROWS && trained + HT_CHUNK_ROWS > JOB_ROWS);
    REQUIRE(ht_stream_begin(run.stream, run.epoch + 1) == HT_OK);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    check_epoch(&run);
    run.n_workers = 1;
    close_run(&run);
}

/* A leased chunk of a worker that dies for good can be leased again, or go back. */
static void an_abandoned_chunk_is_leased_again(job_t *job)
{
    job->config.is_leased = 1;
    run_t run = open_run(job, 2, JOB_COORDINATES);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    const uint64_t n = ht_stream_feed(run.stream)->n_chunks;
    static uint8_t states[JOB_ROWS];
    ht_point_arm(points, HT_GROUP_STEPPED, 1, 0);
    for (int is_held = 0; !is_held;) { /* it may come too late for the first epochs */
        REQUIRE(ht_stream_begin(run.stream, ++run.epoch) == HT_OK);
        REQUIRE(rests(&run, UINT64_C(20000000000)));
        ht_stream_set_chunks(run.stream, 0, n, HT_CHUNK_OPEN);
        ht_stream_offer(run.stream, 0, n);
        REQUIRE(ht_stream_resume(run.stream) == HT_OK);
        while (!rests(&run, 200000) && !is_held)
            is_held = ht_point_is_held(points, HT_GROUP_STEPPED);
    }
    ht_process_signal(&run.processes[1], SIGKILL);
    await_death(&run, 1, HT_KILLED);
    ht_stream_declare_dead(run.stream, 1);
    ht_err_t err;
    while ((err = ht_stream_abandon(run.stream, 1)) == HT_EBUSY)
        sched_yield();
    REQUIRE(err == HT_OK);
    ht_point_release(points, HT_GROUP_STEPPED);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    uint64_t left = n;
    ht_stream_chunks(run.stream, 0, n, states);
    for (uint64_t c = 0; c < n; c++) {
        CHECK(states[c] == HT_CHUNK_DONE || (states[c] == HT_CHUNK_AWAY && left == n));
        left = states[c] == HT_CHUNK_AWAY ? c : left;
    }
    REQUIRE(left < n);
    ht_stream_set_chunks(run.stream, left, left + 1, HT_CHUNK_OPEN);
    ht_stream_offer(run.stream, left, left + 1);
    REQUIRE(ht_stream_resume(run.stream) == HT_OK);
    REQUIRE(rests(&run, UINT64_C(20000000000)));
    check_epoch(&run);
    run.n_workers = 1;
    close_run(&run);
    job->config.is_leased = 0;
}

int main(void)
{
    job_t job;
    job_open_usual(&job, HT_SGD);
    a_kill_at_any_point_loses_no_row(&job);
    a_kill_holds_up_nobody_at_the_gate(&job);
    set_teams(&job, 1);
    a_kill_in_an_exchange_loses_no_row(&job);
    a_kill_holds_up_nobody_at_the_gate(&job);
    an_abandoned_place_keeps_nobody_waiting(&job);
    set_teams(&job, 0);
    kills_at_any_time_lose_no_row(&job);
    a_stopped_epoch_goes_on_with_the_chunk_of_the_dead(&job);
    an_abandoned_place_keeps_nobody_waiting(&job);
    an_abandoned_chunk_is_leased_again(&job);
    job_close(&job);
    FINISH();
}
