/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recorded streams of forked workers, killed at each point, and their replay: the same bits after
 * each epoch.  Entries that no stream has made are refused.
 */
#include "run/ht_replay.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "base/ht_process.h"
#include "run/ht_snapshot.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/job.h"

enum { MOST_WORKERS = 3, N_EPOCHS = 2, N_FIRINGS = 4, MILLISECONDS = 5000, EVERY = 30 };
enum { N_RUINED = 200 };
#define PATIENCE_NS UINT64_C(20000000000)

/* What one worker did since the last rest. */
typedef struct {
    uint64_t *entries;
    size_t n, room;
} deeds_t;

typedef struct {
    ht_stream_t *stream, *second; /* the recorded one, and its replay's */
    ht_replay_t *replay;
    uint32_t n_workers, n_deaths;
    ht_process_t processes[MOST_WORKERS];
    deeds_t deeds[MOST_WORKERS];
    unsigned char *snapshots;
    size_t n_snapshots;
} run_t;

static float parameters[JOB_COORDINATES], others[JOB_COORDINATES];

static void be_worker(void *argument, uint32_t worker)
{
    ht_worker_epochs(argument, worker);
}

static void spawn(run_t *run, uint32_t worker)
{
    REQUIRE(ht_process_start(be_worker, run->stream, worker, &run->processes[worker]) == HT_OK);
}

static void add(deeds_t *deeds, const uint64_t *entries, size_t n)
{
    if (n == 0)
        return;
    if (deeds->n + n > deeds->room) {
        deeds->room = 2 * (deeds->n + n);
        deeds->entries = realloc(deeds->entries, sizeof *entries * deeds->room);
        REQUIRE(deeds->entries != NULL);
    }
    memcpy(deeds->entries + deeds->n, entries, sizeof *entries * n);
    deeds->n += n;
}

static void drain(run_t *run, uint32_t worker)
{
    ht_log_t *log = ht_stream_log(run->stream, worker);
    uint64_t *entries = malloc(sizeof *entries * log->capacity);
    REQUIRE(entries != NULL);
    add(&run->deeds[worker], entries, ht_log_drain(log, entries));
    CHECK(ht_load_relaxed(&log->lost) == 0);
    free(entries);
}

static int rests(run_t *run, uint64_t nanoseconds)
{
    uint64_t deadline = ht_now_ns() + nanoseconds;
    ht_err_t err;
    do {
        err = ht_roster_await_rest(ht_stream_roster(run->stream), deadline);
        for (uint32_t w = 0; w < run->n_workers; w++)
            drain(run, w);
    } while (err == HT_EINTR);
    return err == HT_OK;
}

static void kill_and_replace(run_t *run, uint32_t worker)
{
    ht_fate_t fate;
    int32_t detail;
    ht_process_signal(&run->processes[worker], SIGKILL);
    REQUIRE(ht_process_reap(&run->processes[worker], MILLISECONDS, &fate, &detail) == HT_OK);
    CHECK(fate == HT_KILLED);
    ht_stream_declare_dead(run->stream, worker);
    size_t nbytes = ht_snapshot_nbytes(run->stream);
    run->snapshots = realloc(run->snapshots, nbytes * (run->n_snapshots + 1));
    REQUIRE(run->snapshots != NULL);
    ht_snapshot_take(run->stream, worker, run->snapshots + nbytes * run->n_snapshots);
    drain(run, worker);
    uint64_t entry = ht_log_entry(HT_LOG_DIED, 0, (uint32_t)run->n_snapshots++);
    add(&run->deeds[worker], &entry, 1);
    run->n_deaths++;
    spawn(run, worker);
}

static run_t open_run(job_t *job, uint32_t n_workers)
{
    run_t run = {.n_workers = n_workers};
    job_heat(job, JOB_COORDINATES);
    job->config.n_workers = n_workers;
    job->config.every = EVERY;
    job->config.is_shared = job->config.is_recorded = 1;
    REQUIRE(ht_stream_open(&job->config, &run.stream) == HT_OK);
    job->config.is_shared = job->config.is_recorded = 0;
    REQUIRE(ht_stream_open(&job->config, &run.second) == HT_OK);
    REQUIRE(ht_replay_open(run.second, &run.replay) == HT_OK);
    memset(parameters, 0, sizeof parameters);
    ht_stream_load(run.stream, parameters);
    ht_stream_load(run.second, parameters);
    for (uint32_t w = 0; w < n_workers; w++)
        spawn(&run, w);
    return run;
}

static void close_run(run_t *run)
{
    ht_fate_t fate;
    int32_t detail;
    ht_roster_stop(ht_stream_roster(run->stream), HT_LEAVE);
    for (uint32_t w = 0; w < run->n_workers; w++) {
        REQUIRE(ht_process_reap(&run->processes[w], MILLISECONDS, &fate, &detail) == HT_OK);
        free(run->deeds[w].entries);
    }
    free(run->snapshots);
    ht_replay_close(run->replay);
    ht_stream_close(run->second);
    ht_stream_close(run->stream);
}

static void give(run_t *run)
{
    for (uint32_t w = 0; w < run->n_workers; w++)
        ht_replay_set_entries(run->replay, w, run->deeds[w].entries, run->deeds[w].n);
    ht_replay_set_snapshots(run->replay, run->snapshots, run->n_snapshots);
}

/* Replays what the workers did since the last rest. */
static void check_replay(run_t *run)
{
    give(run);
    uint64_t rows = ht_replay_rows(run->replay);
    ht_err_t err;
    /* ends: entries are used up, one at least for a chunk. */
    while ((err = ht_replay_go_on(run->replay, rows += 17)) == HT_OK)
        CHECK(run->n_snapshots > 0 || ht_replay_rows(run->replay) < rows + HT_GROUP_ROWS);
    CHECK(err == HT_EEND);
    ht_stream_store(run->stream, parameters);
    ht_stream_store(run->second, others);
    CHECK(memcmp(parameters, others, sizeof parameters) == 0);
    CHECK(ht_stream_trained(run->stream) == ht_stream_trained(run->second));
    const ht_worker_t *first = ht_stream_roster(run->stream)->workers;
    const ht_worker_t *again = ht_stream_roster(run->second)->workers;
    for (uint32_t w = 0; w < run->n_workers; w++) {
        CHECK(memcmp(&first[w].loss, &again[w].loss, sizeof(double)) == 0);
        CHECK(first[w].repeated == again[w].repeated);
        CHECK(memcmp(&first[w].merged, &again[w].merged, sizeof first[w].merged) == 0);
        run->deeds[w].n = 0;
    }
    run->n_snapshots = 0;
}

static void begin(run_t *run, uint32_t epoch)
{
    REQUIRE(ht_stream_begin(run->stream, epoch) == HT_OK);
    REQUIRE(ht_stream_begin(run->second, epoch) == HT_OK);
}

/* Kills the worker that is held at a point, stops the epoch and goes on with it. */
static uint32_t kill_at(job_t *job, ht_point_t point, uint32_t n_workers)
{
    run_t run = open_run(job, n_workers);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    uint32_t n_fired = 0;
    for (uint32_t epoch = 1; epoch <= N_EPOCHS; epoch++) {
        ht_point_arm(points, point, HT_ANY_WORKER, 0);
        begin(&run, epoch);
        uint32_t held, step;
        while (!rests(&run, 200000)) {
            if (!ht_point_held(points, point, &held, &step))
                continue;
            kill_and_replace(&run, held);
            ht_point_release(points, point);
            if (++n_fired % 2 != 0)
                ht_point_arm(points, point, HT_ANY_WORKER, step + 1);
            else
                ht_roster_stop(ht_stream_roster(run.stream), HT_STOP_EPOCH);
        }
        ht_point_release(points, point);
        check_replay(&run);
        REQUIRE(ht_stream_resume(run.stream) == HT_OK);
        REQUIRE(ht_stream_resume(run.second) == HT_OK);
        REQUIRE(rests(&run, PATIENCE_NS));
        CHECK(ht_stream_trained(run.stream) == JOB_ROWS);
        check_replay(&run);
    }
    close_run(&run);
    return n_fired;
}

static void kills_are_replayed(job_t *job, const ht_point_t *points, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        uint32_t n_fired = 0;
        job->config.averages_per_epoch = points[p] == HT_IN_AVERAGING ? 4 : 0;
        for (uint32_t k = 0; k < 10 && n_fired < N_FIRINGS; k++)
            n_fired += kill_at(job, points[p], 1 + (k + 1) % MOST_WORKERS);
        CHECK(n_fired >= N_FIRINGS);
    }
    job->config.averages_per_epoch = 0;
}

static void kills_at_each_point_are_replayed(job_t *job)
{
    static const ht_point_t weighted[] = {
        HT_POSITION_TAKEN, HT_CHUNK_CLAIMED,   HT_CHUNK_BEGUN,        HT_GROUP_STEPPED,
        HT_GROUP_FINISHED, HT_EXCHANGE_LOCKED, HT_EXCHANGE_COMMITTED, HT_IN_AVERAGING,
    };
    static const ht_point_t adding[] = {HT_GROUP_STEPPED, HT_AT_GATE, HT_EXCHANGE_LOCKED,
                                        HT_EXCHANGE_COMMITTED};
    kills_are_replayed(job, weighted, sizeof weighted / sizeof *weighted);
    job->config.adds = 1;
    job->config.staleness = 2;
    kills_are_replayed(job, adding, sizeof adding / sizeof *adding);
    job->config.adds = 0;
}

static void kills_at_any_time_are_replayed(job_t *job)
{
    uint32_t n_deaths = 0;
    for (uint32_t n = 0; n < 4 || (n < 40 && n_deaths < N_FIRINGS); n++) {
        run_t run = open_run(job, 1 + n % MOST_WORKERS);
        for (uint32_t epoch = 1; epoch <= N_EPOCHS; epoch++) {
            begin(&run, epoch);
            for (uint32_t k = 0; k < 3 && !rests(&run, 20000 + 17000 * (n % 7)); k++)
                kill_and_replace(&run, (n + k) % run.n_workers);
            REQUIRE(rests(&run, PATIENCE_NS));
            check_replay(&run);
        }
        n_deaths += run.n_deaths;
        close_run(&run);
    }
    CHECK(n_deaths >= N_FIRINGS);
}

/* A place whose worker dies for good hands in its replica: in the replay likewise. */
static void an_abandoned_place_is_replayed(job_t *job)
{
    run_t run = open_run(job, 2);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    ht_point_arm(points, HT_GROUP_STEPPED, 1, 0);
    uint32_t epoch = 0;
    do { /* it may come too late for an epoch */
        begin(&run, ++epoch);
        while (!rests(&run, 1000000) && !ht_point_is_held(points, HT_GROUP_STEPPED))
            ;
        if (!ht_point_is_held(points, HT_GROUP_STEPPED))
            check_replay(&run);
    } while (!ht_point_is_held(points, HT_GROUP_STEPPED));
    kill_and_replace(&run, 1);
    ht_process_signal(&run.processes[1], SIGKILL); /* before it can get far */
    kill_and_replace(&run, 1);
    ht_process_signal(&run.processes[1], SIGSTOP);
    kill_and_replace(&run, 1);
    ht_point_release(points, HT_GROUP_STEPPED);
    REQUIRE(rests(&run, PATIENCE_NS));
    check_replay(&run);
    ht_fate_t fate;
    int32_t detail;
    ht_process_signal(&run.processes[1], SIGKILL);
    REQUIRE(ht_process_reap(&run.processes[1], MILLISECONDS, &fate, &detail) == HT_OK);
    run.n_deaths++;
    begin(&run, ++epoch);
    size_t nbytes = ht_snapshot_nbytes(run.stream);
    run.snapshots = realloc(run.snapshots, nbytes);
    REQUIRE(run.snapshots != NULL);
    ht_stream_declare_dead(run.stream, 1);
    ht_snapshot_take(run.stream, 1, run.snapshots);
    run.n_snapshots = 1;
    drain(&run, 1);
    uint64_t entry = ht_log_entry(HT_LOG_DIED, 0, 0);
    add(&run.deeds[1], &entry, 1);
    while (ht_stream_abandon(run.stream, 1) == HT_EBUSY)
        sched_yield();
    REQUIRE(rests(&run, PATIENCE_NS));
    check_replay(&run);
    spawn(&run, 1); /* for close_run */
    close_run(&run);
}

/* Entries and snapshots that are changed at random end with an answer, and touch nothing outside
 * (AddressSanitizer would say so). */
static void ruined_entries_are_refused(job_t *job)
{
    run_t run = open_run(job, 2);
    ht_points_t *points = &ht_stream_roster(run.stream)->points;
    ht_point_arm(points, HT_GROUP_STEPPED, HT_ANY_WORKER, 0);
    begin(&run, 1);
    uint32_t held, step;
    while (!rests(&run, 200000))
        if (ht_point_held(points, HT_GROUP_STEPPED, &held, &step)) {
            kill_and_replace(&run, held);
            ht_point_release(points, HT_GROUP_STEPPED);
        }
    REQUIRE(run.n_deaths == 1);
    uint64_t random = 5;
    uint32_t n_refused = 0;
    for (uint32_t n = 0; n < N_RUINED; n++) {
        deeds_t *deeds = &run.deeds[delay_random(&random) % 2];
        size_t at = delay_random(&random) % deeds->n;
        uint64_t whole = deeds->entries[at];
        uint64_t bits = UINT64_C(1) << delay_random(&random) % 64;
        deeds->entries[at] = n % 2 ? whole ^ bits : delay_random(&random);
        size_t byte = delay_random(&random) % 64;
        run.snapshots[byte] ^= n % 5 == 0 ? 0x80 : 0;
        ht_replay_t *replay;
        ht_stream_t *second;
        REQUIRE(ht_stream_open(&job->config, &second) == HT_OK);
        REQUIRE(ht_replay_open(second, &replay) == HT_OK);
        memset(parameters, 0, sizeof parameters);
        ht_stream_load(second, parameters);
        for (uint32_t w = 0; w < 2; w++)
            ht_replay_set_entries(replay, w, run.deeds[w].entries, run.deeds[w].n);
        ht_replay_set_snapshots(replay, run.snapshots, run.n_snapshots);
        CHECK(ht_replay_go_on(replay, 1) == HT_EINVAL); /* no epoch is open */
        REQUIRE(ht_stream_begin(second, 1) == HT_OK);
        ht_err_t err = ht_replay_go_on(replay, UINT64_MAX);
        CHECK(err == HT_EINVAL || err == HT_EEND);
        n_refused += err == HT_EINVAL;
        ht_replay_close(replay);
        ht_stream_close(second);
        deeds->entries[at] = whole;
        run.snapshots[byte] ^= n % 5 == 0 ? 0x80 : 0;
    }
    CHECK(n_refused > N_RUINED / 4);
    check_replay(&run);
    close_run(&run);
}

static void a_stream_with_cold_coordinates_is_refused(job_t *job)
{
    ht_stream_t *stream;
    ht_replay_t *replay = NULL;
    job_heat(job, job_n_hots[2]);
    job->config.is_recorded = 1;
    CHECK(ht_stream_open(&job->config, &stream) == HT_EINVAL);
    job->config.is_recorded = 0;
    REQUIRE(ht_stream_open(&job->config, &stream) == HT_OK);
    CHECK(ht_replay_open(stream, &replay) == HT_EINVAL && replay == NULL);
    ht_replay_close(NULL);
    ht_stream_close(stream);
}

int main(void)
{
    for (int k = 0; k < JOB_OPTIMIZERS; k++) {
        job_t job;
        job_open_usual(&job, job_optimizers[k]);
        if (k == 0)
            kills_at_each_point_are_replayed(&job);
        kills_at_any_time_are_replayed(&job);
        if (k == 0) {
            an_abandoned_place_is_replayed(&job);
            ruined_entries_are_refused(&job);
            a_stream_with_cold_coordinates_is_refused(&job);
        }
        job_close(&job);
    }
    FINISH();
}
