/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Minibatch steps by forked workers that are killed at every point: the bits are those of a run
 * that nobody disturbed.  A worker is held at a point, SIGKILLed there, and replaced.  The same of
 * replicas.
 */
#include <signal.h>
#include <string.h>

#include "base/ht_futex.h"
#include "base/ht_process.h"
#include "model/ht_linear.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/problem.h"

enum {
    N_ROWS = 240,
    N_FEATURES = 60,
    MOST_WORKERS = 3,
    N_EPOCHS = 1,
    N_LRS = 4,
    N_FIRINGS = 20,
    N_FIRINGS_OF_REPLICAS = 4,
    MOST_FIRINGS = 4,
    REPLICAS = 4
};

static problem_t problem;
static uint32_t replicas; /* 0: a step merges gradients */
static ht_linear_t squared;
static float start[N_FEATURES + 1], undisturbed[N_FEATURES + 1];
static const ht_point_t points[] = {
    HT_BEFORE_CLAIM, HT_AFTER_CLAIM,        HT_IN_COMPUTING, HT_AFTER_COMMIT, HT_IN_ADDING,
    HT_AFTER_ADD,    HT_IN_MERGING,         HT_IN_JUDGING,   HT_IN_COPYING,   HT_AFTER_COPY,
    HT_BEFORE_PHASE, HT_AFTER_BLOCK_COMMIT, HT_BEFORE_WAKE,
};

static ht_sync_config_t config_of(uint32_t n_workers)
{
    static float lrs[N_LRS];
    for (int k = 0; k < N_LRS; k++)
        lrs[k] = 0.05f / (float)(1 + k);
    return (ht_sync_config_t){
        .rows = problem.rows,
        .model = &squared.model,
        .optimizer = HT_SGD,
        .isa = HT_BASELINE,
        .n_workers = n_workers,
        .is_exact = 1,
        .intercept = 1,
        .is_shared = 1,
        .seed = 5,
        .task_rows = 2,
        .batch_tasks = 6,
        .replicas = replicas,
        .every = 2,
        .most_together = 1,
        .local_rows = 2,
        .lrs_per_epoch = N_LRS,
        .n_epochs = N_EPOCHS,
        .lrs = lrs,
        .largest_value = 64.0,
        .bound = 64.0f,
    };
}

typedef struct {
    ht_sync_t *sync;
    uint32_t n_workers, n_deaths;
    ht_process_t processes[MOST_WORKERS];
} run_t;

static void be_worker(void *sync, uint32_t worker)
{
    ht_worker_round(sync, worker);
}

static void spawn(run_t *run, uint32_t worker)
{
    REQUIRE(ht_process_start(be_worker, run->sync, worker, &run->processes[worker]) == HT_OK);
}

static uint32_t firings(void)
{
    return replicas > 0 ? N_FIRINGS_OF_REPLICAS : N_FIRINGS;
}

/* What the supervisor does after a death. */
static void bury(run_t *run, uint32_t worker)
{
    ht_fate_t fate;
    int32_t detail;
    REQUIRE(ht_process_reap(&run->processes[worker], 5000, &fate, &detail) == HT_OK);
    CHECK(fate == HT_KILLED && detail == SIGKILL);
    ht_sync_declare_dead(run->sync, worker);
    run->n_deaths++;
    spawn(run, worker);
    int takes_part = 0;
    for (uint32_t w = 0; w < run->n_workers; w++)
        takes_part |= ht_sync_takes_part(run->sync, w);
    if (!takes_part)
        ht_sync_revive(run->sync, worker);
}

static run_t open_run(uint32_t n_workers)
{
    run_t run = {.n_workers = n_workers};
    const ht_sync_config_t config = config_of(n_workers);
    REQUIRE(ht_sync_open(&config, &run.sync) == HT_OK);
    ht_sync_load(run.sync, start);
    return run;
}

static void close_run(run_t *run)
{
    ht_sync_leave(run->sync);
    for (uint32_t w = 0; w < run->n_workers; w++) {
        ht_fate_t fate;
        int32_t detail;
        REQUIRE(ht_process_reap(&run->processes[w], 5000, &fate, &detail) == HT_OK);
        CHECK(fate == HT_EXITED && detail == 0);
    }
    ht_sync_close(run->sync);
}

/* Returns whether the run rests within a time. */
static int rests(run_t *run, uint64_t nanoseconds)
{
    uint64_t deadline = ht_now_ns() + nanoseconds;
    ht_err_t err;
    do
        err = ht_sync_await_rest(run->sync, deadline);
    while (err == HT_EINTR);
    return err == HT_OK;
}

static void check_bits(run_t *run)
{
    static float found[N_FEATURES + 1];
    uint64_t rows = 0;
    ht_sync_store(run->sync, found);
    CHECK(memcmp(found, undisturbed, sizeof found) == 0);
    for (uint32_t w = 0; w < run->n_workers; w++)
        rows += ht_sync_rows(run->sync, w);
    CHECK(rows == N_ROWS);
}

/* Kills the worker that is held at a point, or everybody at that moment; returns how often. */
static uint32_t kill_at(ht_point_t point, uint32_t n_workers, int everybody)
{
    run_t run = open_run(n_workers);
    ht_points_t *of_run = ht_round_points(ht_sync_round(run.sync));
    for (uint32_t w = 0; w < n_workers; w++)
        spawn(&run, w);
    uint32_t n_fired = 0, held = 0;
    ht_point_arm(of_run, point, held, 0);
    ht_sync_allow(run.sync, ht_sync_steps_per_epoch(run.sync));
    while (!rests(&run, 200000)) {
        if (!ht_point_is_held(of_run, point))
            continue;
        for (uint32_t w = 0; w < n_workers; w++)
            if (everybody || w == held)
                ht_process_signal(&run.processes[w], SIGKILL);
        n_fired++;
        for (uint32_t w = 0; w < n_workers; w++)
            if (everybody || w == held)
                bury(&run, w);
        ht_point_release(of_run, point);
        held = (held + 1) % n_workers;
        if (n_fired < MOST_FIRINGS)
            ht_point_arm(of_run, point, held, 0);
    }
    ht_point_release(of_run, point);
    check_bits(&run);
    close_run(&run);
    return n_fired;
}

static void a_kill_at_any_point_changes_no_bit(void)
{
    for (size_t p = 0; p < sizeof points / sizeof *points; p++)
        for (int everybody = 0; everybody < 2; everybody++) {
            uint32_t n_fired = 0;
            for (uint32_t n = 0; n < 40 && n_fired < firings(); n++)
                n_fired += kill_at(points[p], 1 + n % MOST_WORKERS, everybody);
            CHECK(n_fired >= firings());
        }
}

/* Returns the first step that changes parameters: that of replicas is refused. */
static uint32_t first_step(void)
{
    return replicas > 0 ? 2 : 1;
}

static void kill_one(run_t *run, uint32_t worker)
{
    ht_process_signal(&run->processes[worker], SIGKILL);
    bury(run, worker);
}

/* Kills the owner of a committed block, and then each heir that copies it: the next one, or the
 * supervisor, does it again.  Returns how many heirs died. */
static uint32_t kill_heirs(uint32_t n_workers)
{
    run_t run = open_run(n_workers);
    ht_points_t *of_run = ht_round_points(ht_sync_round(run.sync));
    uint32_t n_fired = 0, held, step;
    ht_point_arm(of_run, HT_AFTER_BLOCK_COMMIT, HT_ANY_WORKER, first_step());
    ht_point_arm(of_run, HT_HEIR_COPYING, HT_ANY_WORKER, 0);
    for (uint32_t w = 0; w < n_workers; w++)
        spawn(&run, w);
    ht_sync_allow(run.sync, ht_sync_steps_per_epoch(run.sync));
    while (!rests(&run, 200000)) {
        if (ht_point_held(of_run, HT_AFTER_BLOCK_COMMIT, &held, &step)) {
            kill_one(&run, held);
            ht_point_release(of_run, HT_AFTER_BLOCK_COMMIT);
        }
        if (!ht_point_held(of_run, HT_HEIR_COPYING, &held, &step))
            continue;
        kill_one(&run, held);
        ht_point_arm(of_run, HT_HEIR_COPYING, HT_ANY_WORKER, 0);
        if (++n_fired < MOST_FIRINGS)
            ht_point_arm(of_run, HT_AFTER_BLOCK_COMMIT, HT_ANY_WORKER, step + 1);
    }
    ht_point_release_all(of_run);
    check_bits(&run);
    close_run(&run);
    return n_fired;
}

static void a_kill_of_an_heir_changes_no_bit(void)
{
    uint32_t n_fired = 0;
    for (uint32_t n = 0; n < 40 && n_fired < firings(); n++)
        n_fired += kill_heirs(2 + n % (MOST_WORKERS - 1));
    CHECK(n_fired >= firings());
}

/* The parameters are those of whole steps when nobody is left. */
static void a_run_without_workers_is_settled(ht_point_t point)
{
    static float found[N_FEATURES + 1], expected[N_FEATURES + 1];
    ht_fate_t fate;
    int32_t detail;
    run_t run = open_run(1), sound = open_run(1);
    ht_points_t *of_run = ht_round_points(ht_sync_round(run.sync));
    spawn(&run, 0);
    ht_point_arm(of_run, point, 0, first_step());
    ht_sync_allow(run.sync, 3);
    while (!ht_point_is_held(of_run, point))
        delay_sleep_ns(20000);
    ht_process_signal(&run.processes[0], SIGKILL);
    REQUIRE(ht_process_reap(&run.processes[0], 5000, &fate, &detail) == HT_OK);
    ht_sync_declare_dead(run.sync, 0);
    ht_point_release(of_run, point);
    ht_sync_settle(run.sync);
    uint64_t batches = ht_sync_progress(run.sync).batches;
    ht_sync_store(run.sync, found);
    CHECK(batches == (point == HT_IN_COMPUTING ? 0 : 1));
    ht_sync_close(run.sync);
    spawn(&sound, 0);
    ht_sync_allow(sound.sync, batches);
    REQUIRE(rests(&sound, UINT64_C(5000000000)));
    ht_sync_store(sound.sync, expected);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    close_run(&sound);
}

static void kills_change_no_bit(void)
{
    run_t run = open_run(2);
    spawn(&run, 0);
    spawn(&run, 1);
    ht_sync_allow(run.sync, ht_sync_steps_per_epoch(run.sync));
    REQUIRE(rests(&run, UINT64_C(5000000000)));
    ht_sync_store(run.sync, undisturbed);
    close_run(&run);
    a_kill_at_any_point_changes_no_bit();
    a_kill_of_an_heir_changes_no_bit();
    a_run_without_workers_is_settled(HT_IN_COMPUTING);
    a_run_without_workers_is_settled(HT_IN_COPYING);
    a_run_without_workers_is_settled(HT_AFTER_COPY);
}

int main(void)
{
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    problem_open(&problem, 7, N_ROWS, N_FEATURES, 30, 1, 1);
    for (replicas = 0; replicas <= REPLICAS; replicas += REPLICAS)
        kills_change_no_bit();
    problem_close(&problem);
    FINISH();
}
