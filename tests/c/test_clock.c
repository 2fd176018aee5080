/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clock.  `no_worker_runs_too_far_ahead` also tests the pair HT_PAIR_CLOCK: nothing but the clock
 * orders the plain data that its workers read of each other.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "share/ht_clock.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

#define MS UINT64_C(1000000)

static ht_clock_t *open_clock(uint32_t n_workers, uint32_t staleness)
{
    ht_clock_t *clock = aligned_alloc(HT_LINE, ht_clock_nbytes(n_workers));
    REQUIRE(clock != NULL);
    memset(clock, 0, ht_clock_nbytes(n_workers));
    ht_clock_init(clock, n_workers, staleness);
    ht_clock_start(clock);
    return clock;
}

static void tick(ht_clock_t *clock, uint32_t worker, int n)
{
    for (int i = 0; i < n; i++)
        ht_clock_tick(clock, worker);
}

/* Returns the lead with which the worker passes now; -1: it has to wait. */
static int lead_of(ht_clock_t *clock, uint32_t worker)
{
    uint32_t lead = UINT32_MAX;
    ht_err_t err = ht_clock_await(clock, worker, ht_now_ns() + MS, &lead);
    CHECK(err == HT_OK || err == HT_ETIMEOUT || err == HT_EINTR);
    return err == HT_OK ? (int)lead : -1;
}

static void a_worker_waits_when_it_is_too_far_ahead(void)
{
    for (uint32_t s = 0; s < 4; s++) {
        ht_clock_t *clock = open_clock(3, s);
        for (int round = 0; round < 3; round++) { /* of all workers, one after the other */
            for (uint32_t k = 0; k <= s; k++) {
                CHECK(lead_of(clock, 0) == (int)k);
                ht_clock_tick(clock, 0);
            }
            CHECK(lead_of(clock, 0) == -1);
            CHECK(lead_of(clock, 1) == 0); /* behind */
            tick(clock, 1, (int)s + 1);
            CHECK(lead_of(clock, 0) == -1 && lead_of(clock, 1) == -1); /* worker 2 is at 0 */
            ht_clock_tick(clock, 2);
            CHECK(lead_of(clock, 0) == (int)s && lead_of(clock, 1) == (int)s);
            CHECK(lead_of(clock, 2) == 0);
            tick(clock, 2, (int)s);
            CHECK(ht_clock_ticks(clock, 2) == (s + 1) * (uint32_t)(round + 1));
        }
        free(clock);
    }
}

static void an_open_gate_lets_everybody_pass(void)
{
    ht_clock_t *clock = open_clock(2, HT_CLOCK_OPEN);
    tick(clock, 0, 1000);
    CHECK(lead_of(clock, 0) == 1000 && lead_of(clock, 1) == 0);
    free(clock);
}

static void who_rests_or_is_dead_holds_up_nobody(void)
{
    ht_clock_t *clock = open_clock(3, 1);
    tick(clock, 0, 5);
    CHECK(lead_of(clock, 0) == -1);
    ht_clock_leave(clock, 1);
    CHECK(lead_of(clock, 0) == -1);
    ht_clock_bury(clock, 2);
    CHECK(lead_of(clock, 0) == 0); /* alone */
    ht_clock_start(clock);         /* the dead one stays out */
    tick(clock, 0, 1);
    CHECK(lead_of(clock, 0) == 1 && ht_clock_ticks(clock, 1) == 0);
    tick(clock, 0, 1);
    CHECK(lead_of(clock, 0) == -1);
    tick(clock, 1, 1);
    CHECK(lead_of(clock, 0) == 1);
    free(clock);
}

static void a_successor_takes_up_the_clock_of_the_slowest(void)
{
    ht_clock_t *clock = open_clock(3, 2);
    tick(clock, 0, 2);
    ht_clock_bury(clock, 0);
    tick(clock, 1, 7);
    tick(clock, 2, 6);
    ht_clock_enter(clock, 0);
    CHECK(ht_clock_ticks(clock, 0) == 6 && lead_of(clock, 1) == 1);
    ht_clock_bury(clock, 0); /* its own ticks are kept where they are more */
    ht_clock_leave(clock, 1);
    ht_clock_start(clock);
    CHECK(ht_clock_ticks(clock, 0) == 6 && ht_clock_ticks(clock, 1) == 0);
    ht_clock_enter(clock, 0);
    CHECK(ht_clock_ticks(clock, 0) == 6 && lead_of(clock, 0) == -1);
    ht_clock_enter(clock, 1); /* it is in: nothing changes */
    CHECK(ht_clock_ticks(clock, 1) == 0);
    free(clock);
}

static void ticks_may_wrap_around(void)
{
    ht_clock_t *clock = open_clock(2, 1);
    for (uint32_t w = 0; w < 2; w++) /* two ticks before the word is full */
        ht_store_relaxed(&clock->places[w].word,
                         ht_load_relaxed(&clock->places[w].word) - UINT32_C(8));
    tick(clock, 0, 3);
    CHECK(ht_clock_ticks(clock, 0) == 1 && lead_of(clock, 0) == -1);
    tick(clock, 1, 1);
    CHECK(lead_of(clock, 0) == -1 && lead_of(clock, 1) == 0);
    tick(clock, 1, 1);
    CHECK(lead_of(clock, 0) == 1);
    free(clock);
}

/* ---- waiting ----------------------------------------------------------------- */

typedef struct {
    ht_clock_t *clock;
    ht_word32_t has_passed;
    int n_naps;
} waiter_t;

static void *await_gate(void *argument)
{
    waiter_t *waiter = argument;
    uint32_t lead;
    ht_err_t err;
    while ((err = ht_clock_await(waiter->clock, 0, UINT64_MAX, &lead)) == HT_EINTR)
        waiter->n_naps++;
    CHECK(err == HT_OK);
    ht_store_relaxed(&waiter->has_passed, 1u);
    return NULL;
}

static void tick_slowest(ht_clock_t *clock)
{
    ht_clock_tick(clock, 1);
}
static void leave_slowest(ht_clock_t *clock)
{
    ht_clock_leave(clock, 1);
}
static void bury_slowest(ht_clock_t *clock)
{
    ht_clock_bury(clock, 1);
}

static void a_wait_naps_until_the_slowest_ticks_leaves_or_dies(void)
{
    void (*const ends[])(ht_clock_t *) = {tick_slowest, leave_slowest, bury_slowest};
    for (int e = 0; e < 3; e++) {
        waiter_t waiter = {.clock = open_clock(2, 0)};
        crew_t crew;
        ht_clock_tick(waiter.clock, 0);
        crew_start(&crew, 1, await_gate, &waiter, sizeof waiter);
        uint64_t until = ht_now_ns() + 120 * MS; /* two naps and more */
        while (ht_now_ns() < until)
            sched_yield();
        CHECK(ht_load_relaxed(&waiter.has_passed) == 0);
        ends[e](waiter.clock);
        crew_join(&crew);
        CHECK(ht_load_relaxed(&waiter.has_passed) == 1);
        CHECK(waiter.n_naps >= 1);
        free(waiter.clock);
    }
}

/* ---- with threads ------------------------------------------------------------- */

enum { N_WORKERS = 4, N_MERGES = 2500, VICTIM = 3, DEATH = N_MERGES / 3 };

/* What a worker has merged; by it alone, without atomics: the clock hands it over. */
typedef struct {
    HT_ALIGNED uint32_t seen[N_MERGES + 1]; /* k + 1 where merge k, from 1, was made */
} log_t;

typedef struct {
    ht_clock_t *clock;
    log_t *logs; /* of all workers */
    ht_word32_t *n_waits;
    uint32_t worker, staleness;
    int first, last; /* its merges */
    int dies;        /* after the last one, without a word */
} part_t;

/* Makes merges first .. last, and checks before each what the gate promises. */
static void *merge_many(void *argument)
{
    part_t *part = argument;
    uint64_t random = part->worker + 1;
    ht_clock_enter(part->clock, part->worker);
    for (int m = part->first; m <= part->last; m++) {
        /* Workers differ by up to 20 times, and take turns at being slow. */
        int n = (part->worker + (uint32_t)m / 500) % N_WORKERS == 0 ? 20 : 1;
        for (int i = 0; i < n; i++)
            delay_any(&random);
        ht_clock_tick(part->clock, part->worker);
        uint32_t lead = 0;
        uint32_t mine = ht_clock_ticks(part->clock, part->worker);
        for (ht_err_t err = HT_EINTR; err != HT_OK;) {
            err = ht_clock_await(part->clock, part->worker, ht_now_ns() + MS, &lead);
            if (err != HT_OK)
                (void)ht_add_relaxed(part->n_waits, 1u);
        }
        CHECK(lead <= part->staleness);
        int least = (int)mine - (int)part->staleness - 1; /* merged by all that are in */
        for (uint32_t w = 0; w < N_WORKERS; w++)
            if (w != VICTIM && part->worker != VICTIM && least >= 1)
                CHECK(part->logs[w].seen[least] == (uint32_t)least + 1);
        part->logs[part->worker].seen[m] = (uint32_t)m + 1;
    }
    if (!part->dies)
        ht_clock_leave(part->clock, part->worker);
    return NULL;
}

static void no_worker_runs_too_far_ahead(uint32_t staleness)
{
    static log_t logs[N_WORKERS];
    memset(logs, 0, sizeof logs);
    ht_clock_t *clock = open_clock(N_WORKERS, staleness);
    ht_word32_t n_waits = 0;
    part_t parts[N_WORKERS];
    crew_t crew, victim, successor;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        parts[w] = (part_t){clock, logs, &n_waits, w, staleness, 1, N_MERGES, 0};
    part_t begun = parts[VICTIM], rest = parts[VICTIM];
    begun.last = DEATH;
    begun.dies = 1;
    rest.first = DEATH + 1;
    crew_start(&victim, 1, merge_many, &begun, sizeof begun);
    crew_start(&crew, N_WORKERS - 1, merge_many, parts, sizeof *parts);
    crew_join(&victim);
    uint32_t at = ht_clock_ticks(clock, VICTIM);
    CHECK(at == DEATH);
    for (int look = 0; look < 1000; look++)
        for (uint32_t w = 0; w < VICTIM; w++) /* who waits is one tick further */
            CHECK(ht_clock_ticks(clock, w) <= at + staleness + 1);
    while (ht_load_relaxed(&n_waits) == 0) /* the gate is closed to somebody, for a whole wait */
        sched_yield();
    ht_clock_bury(clock, VICTIM);
    while (ht_clock_ticks(clock, 0) < at + staleness + 50) /* they go on */
        sched_yield();
    crew_start(&successor, 1, merge_many, &rest, sizeof rest);
    crew_join(&successor);
    crew_join(&crew);
    for (uint32_t w = 0; w < VICTIM; w++)
        CHECK(ht_clock_ticks(clock, w) == N_MERGES);
    free(clock);
}

int main(void)
{
    a_worker_waits_when_it_is_too_far_ahead();
    an_open_gate_lets_everybody_pass();
    who_rests_or_is_dead_holds_up_nobody();
    a_successor_takes_up_the_clock_of_the_slowest();
    ticks_may_wrap_around();
    a_wait_naps_until_the_slowest_ticks_leaves_or_dies();
    no_worker_runs_too_far_ahead(0);
    no_worker_runs_too_far_ahead(4);
    FINISH();
}
