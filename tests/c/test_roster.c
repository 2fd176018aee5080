/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Roster.  `the_orders_of_a_run` also tests the pairs HT_PAIR_EPOCH and
 * HT_PAIR_REST: all threads are created before the first epoch, and nothing
 * but the roster orders the plain data that they exchange.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "share/ht_roster.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

#define MS UINT64_C(1000000)
#define FAR (ht_now_ns() + 60000 * MS)

enum { N_WORKERS = 4, LAST = 2 };

static ht_roster_t *open_roster(uint32_t n_workers)
{
    size_t nbytes = (ht_roster_nbytes(n_workers) + HT_LINE - 1) / HT_LINE * HT_LINE;
    ht_roster_t *roster = aligned_alloc(HT_LINE, nbytes);
    REQUIRE(roster != NULL);
    memset(roster, 0, nbytes);
    REQUIRE(ht_roster_init(roster, n_workers) == HT_OK);
    return roster;
}

static ht_err_t await_rest(ht_roster_t *roster)
{
    uint64_t deadline = FAR;
    ht_err_t err;
    do
        err = ht_roster_await_rest(roster, deadline);
    while (err == HT_EINTR);
    return err;
}

static void staleness_goes_to_buckets_of_powers_of_two(void)
{
    static const struct {
        uint64_t rows;
        int bucket;
    } cases[] = {{0, 0},
                 {1, 1},
                 {2, 2},
                 {3, 2},
                 {4, 3},
                 {7, 3},
                 {8, 4},
                 {1023, 10},
                 {1024, 11},
                 {(UINT64_C(1) << 46) - 1, 46},
                 {UINT64_C(1) << 46, 47},
                 {UINT64_C(1) << 47, 47},
                 {UINT64_C(1) << 63, 47}};
    ht_staleness_t all = {0};
    uint64_t total = 0;
    enum { N_CASES = sizeof cases / sizeof *cases };
    for (int i = 0; i < N_CASES; i++) {
        ht_staleness_t one = {0};
        ht_staleness_add(&one, cases[i].rows);
        for (int b = 0; b < HT_STALENESS_BUCKETS; b++)
            CHECK(one.counts[b] == (b == cases[i].bucket));
        CHECK(one.total == cases[i].rows && one.largest == cases[i].rows);
        ht_staleness_add(&all, cases[i].rows);
        total += cases[i].rows;
    }
    uint64_t n = 0;
    for (int b = 0; b < HT_STALENESS_BUCKETS; b++)
        n += all.counts[b];
    CHECK(n == N_CASES && all.total == total && all.largest == UINT64_C(1) << 63);
}

static void a_roster_has_1_to_1024_workers(void)
{
    _Alignas(HT_LINE) static ht_roster_t roster;
    CHECK(ht_roster_init(&roster, 0) == HT_EINVAL);
    CHECK(ht_roster_init(&roster, HT_MAX_WORKERS + 1) == HT_EINVAL);
    CHECK(ht_roster_init(&roster, UINT32_MAX) == HT_EINVAL);
    CHECK(ht_roster_init(&roster, HT_MAX_WORKERS) == HT_OK);
    CHECK(ht_roster_nbytes(2) - ht_roster_nbytes(1) == sizeof(ht_worker_t));
    CHECK(sizeof(ht_worker_t) % HT_LINE == 0);
}

static void a_new_roster_rests(void)
{
    ht_roster_t *roster = open_roster(2);
    CHECK(ht_roster_await_rest(roster, 0) == HT_OK);
    CHECK(!ht_roster_stopping(roster));
    free(roster);
}

static void waits_nap_and_time_out(void)
{
    ht_roster_t *roster = open_roster(2);
    /* No epoch begins: a nap ends the wait, so that signals can be handled. */
    CHECK(ht_roster_await_epoch(roster, 0) == HT_EINTR);
    ht_roster_start(roster);
    CHECK(ht_roster_await_epoch(roster, 0) == HT_OK);
    /* Nobody rests. */
    CHECK(ht_roster_await_rest(roster, 0) == HT_ETIMEOUT);
    CHECK(ht_roster_await_rest(roster, FAR) == HT_EINTR);
    ht_roster_rest(roster, 0);
    CHECK(ht_roster_await_rest(roster, ht_now_ns()) == HT_ETIMEOUT);
    CHECK(ht_roster_await_rest(roster, FAR) == HT_EINTR);
    CHECK(ht_roster_await_epoch(roster, 0) == HT_EINTR);
    CHECK(ht_roster_await_epoch(roster, 1) == HT_OK); /* late */
    ht_roster_rest(roster, 1);
    CHECK(ht_roster_await_rest(roster, 0) == HT_OK);
    free(roster);
}

static void one_worker_that_rests_twice_does_not_stand_for_two(void)
{
    ht_roster_t *roster = open_roster(2);
    ht_roster_start(roster);
    ht_roster_rest(roster, 1);
    ht_roster_rest(roster, 1);
    CHECK(ht_roster_await_rest(roster, 0) == HT_ETIMEOUT);
    ht_roster_rest(roster, 0);
    CHECK(ht_roster_await_rest(roster, 0) == HT_OK);
    ht_roster_start(roster);
    CHECK(ht_roster_await_rest(roster, 0) == HT_ETIMEOUT);
    free(roster);
}

static void a_stop_lasts_until_the_next_epoch_and_leave_for_good(void)
{
    ht_roster_t *roster = open_roster(1);
    ht_roster_start(roster);
    CHECK(!ht_roster_stopping(roster));
    ht_roster_stop(roster, HT_STOP_EPOCH);
    CHECK(ht_roster_stopping(roster));
    ht_roster_rest(roster, 0);
    CHECK(ht_roster_await_epoch(roster, 0) == HT_EINTR); /* not asked to leave */
    ht_roster_start(roster);
    CHECK(!ht_roster_stopping(roster));
    ht_roster_rest(roster, 0);
    ht_roster_stop(roster, HT_LEAVE);
    CHECK(ht_roster_stopping(roster));
    CHECK(ht_roster_await_epoch(roster, 0) == HT_ESTOPPED);
    free(roster);
}

static void rows_of_others_leave_out_ones_own(void)
{
    ht_roster_t *roster = open_roster(3);
    for (uint32_t w = 0; w < 3; w++)
        ht_store_relaxed(&roster->workers[w].rows_done, UINT64_C(10) << (4 * w));
    CHECK(ht_roster_rows_of_others(roster, 0) == 160 + 2560);
    CHECK(ht_roster_rows_of_others(roster, 1) == 10 + 2560);
    CHECK(ht_roster_rows_of_others(roster, 2) == 10 + 160);
    free(roster);
}

/* ---- with threads ----------------------------------------------------- */

typedef enum { START, REST, LEAVE, N_CALLS } call_t;

typedef struct {
    ht_roster_t *roster;
    call_t call;
    ht_err_t err;
} waiter_t;

/* Waits once, for what the call of another thread brings. */
static void *wait_once(void *argument)
{
    waiter_t *waiter = argument;
    waiter->err = waiter->call == REST ? ht_roster_await_rest(waiter->roster, FAR)
                                       : ht_roster_await_epoch(waiter->roster, LAST);
    return NULL;
}

static ht_err_t outcome_of_waiting(call_t call)
{
    ht_roster_t *roster = open_roster(N_WORKERS);
    waiter_t waiter = {.roster = roster, .call = call};
    crew_t crew;
    ht_roster_start(roster);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        if (w != LAST || call != REST)
            ht_roster_rest(roster, w);
    crew_start(&crew, 1, wait_once, &waiter, sizeof waiter);
    delay_sleep_ns((long)(5 * MS));
    if (call == START)
        ht_roster_start(roster);
    else if (call == REST)
        ht_roster_rest(roster, LAST);
    else
        ht_roster_stop(roster, HT_LEAVE);
    crew_join(&crew);
    free(roster);
    return waiter.err;
}

/* Without the wake-up call, a nap would end the wait with HT_EINTR. */
static void start_rest_and_leave_wake_who_waits(void)
{
    const ht_err_t expected[N_CALLS] = {HT_OK, HT_OK, HT_ESTOPPED};
    for (call_t call = 0; call < N_CALLS; call++) {
        ht_err_t err = HT_EINTR;
        /* Repeated, because on a busy machine this thread may be late. */
        for (int attempt = 0; attempt < 20 && err == HT_EINTR; attempt++)
            err = outcome_of_waiting(call);
        CHECK(err == expected[call]);
    }
}

/* Plain data: the supervisor writes the order, the workers the answers. */
typedef struct {
    ht_roster_t *roster;
    uint64_t order;
} run_t;

typedef struct {
    run_t *run;
    uint32_t number;
    uint32_t n_epochs; /* that this worker saw */
    int until_stopped; /* it works until it is asked to stop */
    uint64_t random;
} worker_t;

static void *work(void *argument)
{
    worker_t *worker = argument;
    ht_roster_t *roster = worker->run->roster;
    ht_worker_t *entry = &roster->workers[worker->number];
    for (;;) {
        ht_err_t err = ht_roster_await_epoch(roster, worker->number);
        if (err == HT_EINTR)
            continue;
        if (err == HT_ESTOPPED)
            return NULL;
        CHECK(err == HT_OK);
        worker->n_epochs++;
        delay_any(&worker->random);
        while (worker->until_stopped && !ht_roster_stopping(roster))
            delay_any(&worker->random);
        entry->trained = worker->run->order + worker->number;
        entry->loss = (double)worker->run->order;
        delay_any(&worker->random);
        ht_roster_rest(roster, worker->number);
    }
}

/* Runs epochs with changing orders and checks every answer. */
static void run_epochs(uint32_t n_epochs, int until_stopped)
{
    run_t run = {.roster = open_roster(N_WORKERS)};
    worker_t workers[N_WORKERS];
    crew_t crew;
    uint64_t random = 5;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        workers[w] =
            (worker_t){.run = &run, .number = w, .until_stopped = until_stopped, .random = w + 1};
    crew_start(&crew, N_WORKERS, work, workers, sizeof *workers);
    for (uint32_t e = 1; e <= n_epochs; e++) {
        run.order = e * 1000;
        ht_roster_start(run.roster);
        if (until_stopped) {
            delay_any(&random);
            CHECK(ht_roster_await_rest(run.roster, 0) == HT_ETIMEOUT);
            ht_roster_stop(run.roster, HT_STOP_EPOCH);
        }
        CHECK(await_rest(run.roster) == HT_OK);
        for (uint32_t w = 0; w < N_WORKERS; w++) {
            CHECK(run.roster->workers[w].trained == e * 1000 + w);
            CHECK(run.roster->workers[w].loss == (double)(e * 1000));
        }
        if (e % 16 == 0)
            delay_any(&random);
    }
    ht_roster_stop(run.roster, HT_LEAVE);
    crew_join(&crew);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        CHECK(workers[w].n_epochs == n_epochs);
    free(run.roster);
}

static void the_orders_of_a_run_arrive_and_the_answers_come_back(void)
{
    run_epochs(300, 0);
}

static void workers_stop_in_mid_epoch_when_asked(void)
{
    run_epochs(50, 1);
}

int main(void)
{
    staleness_goes_to_buckets_of_powers_of_two();
    a_roster_has_1_to_1024_workers();
    a_new_roster_rests();
    waits_nap_and_time_out();
    one_worker_that_rests_twice_does_not_stand_for_two();
    a_stop_lasts_until_the_next_epoch_and_leave_for_good();
    rows_of_others_leave_out_ones_own();
    start_rest_and_leave_wake_who_waits();
    the_orders_of_a_run_arrive_and_the_answers_come_back();
    workers_stop_in_mid_epoch_when_asked();
    FINISH();
}
