/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/time.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

#define MS UINT64_C(1000000)

static void time_goes_on(void)
{
    uint64_t before = ht_now_ns();
    delay_sleep_ns((long)(2 * MS));
    CHECK(ht_now_ns() - before >= 2 * MS);
}

static void a_word_that_differs_returns_at_once(void)
{
    ht_word32_t word = 1;
    /* A nap would give HT_EINTR. */
    CHECK(ht_futex_wait(&word, 0, ht_now_ns() + 10000 * MS) == HT_OK);
    CHECK(ht_futex_wait(&word, 2, UINT64_MAX) == HT_OK);
}

static void a_deadline_in_the_past_times_out_without_a_nap(void)
{
    ht_word32_t word = 0;
    CHECK(ht_futex_wait(&word, 0, 0) == HT_ETIMEOUT);
    CHECK(ht_futex_wait(&word, 0, ht_now_ns()) == HT_ETIMEOUT);
}

static void a_near_deadline_ends_the_wait_in_time(void)
{
    ht_word32_t word = 0;
    int in_time = 0;
    for (int attempt = 0; attempt < 20 && !in_time; attempt++) {
        uint64_t deadline = ht_now_ns() + 5 * MS;
        ht_err_t err;
        int waits = 0;
        do {
            err = ht_futex_wait(&word, 0, deadline);
            waits++;
        } while (err == HT_EINTR);
        CHECK(err == HT_ETIMEOUT);
        CHECK(ht_now_ns() >= deadline);
        CHECK(waits <= 3); /* it slept, and did not spin */
        /* One in time is enough: on a busy machine a sleeper wakes up late. */
        in_time = ht_now_ns() < deadline + 20 * MS;
    }
    CHECK(in_time);
}

static void a_nap_ends_a_wait_that_nobody_wakes(void)
{
    ht_word32_t word = 0;
    uint64_t before = ht_now_ns();
    CHECK(ht_futex_wait(&word, 0, UINT64_MAX) == HT_EINTR);
    uint64_t slept = ht_now_ns() - before;
    CHECK(slept >= HT_FUTEX_NAP_NS * UINT64_C(9) / 10);
    CHECK(slept < 100 * (uint64_t)HT_FUTEX_NAP_NS);
}

static void ignore(int signal_number)
{
    (void)signal_number;
}

static void a_signal_ends_a_wait(void)
{
    struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
    struct sigaction old;
    REQUIRE(sigaction(SIGALRM, &action, &old) == 0);
    ht_word32_t word = 0;
    int early = 0;
    for (int attempt = 0; attempt < 20 && !early; attempt++) {
        struct itimerval timer = {.it_value = {.tv_usec = 5000}};
        REQUIRE(setitimer(ITIMER_REAL, &timer, NULL) == 0);
        uint64_t before = ht_now_ns();
        CHECK(ht_futex_wait(&word, 0, UINT64_MAX) == HT_EINTR);
        /* One in time is enough: on a busy machine the timer may be late. */
        early = ht_now_ns() - before < HT_FUTEX_NAP_NS * UINT64_C(9) / 10;
        while (ht_now_ns() - before < 20 * MS)
            delay_sleep_ns((long)MS);
    }
    CHECK(early);
    REQUIRE(sigaction(SIGALRM, &old, NULL) == 0);
}

/* ---- with threads ----------------------------------------------------- */

enum { N_SLEEPERS = 3 };

typedef struct {
    ht_word32_t *word;
    ht_err_t err;
} sleeper_t;

static void *sleep_once(void *argument)
{
    sleeper_t *sleeper = argument;
    sleeper->err = ht_futex_wait(sleeper->word, 0, UINT64_MAX);
    return NULL;
}

/* Sleepers nap once, and are woken once; returns how many were woken. */
static int wake_sleepers(int change)
{
    ht_word32_t word = 0;
    sleeper_t sleepers[N_SLEEPERS];
    crew_t crew;
    int woken = 0;
    for (int i = 0; i < N_SLEEPERS; i++)
        sleepers[i] = (sleeper_t){.word = &word};
    crew_start(&crew, N_SLEEPERS, sleep_once, sleepers, sizeof *sleepers);
    delay_sleep_ns((long)(10 * MS));
    if (change)
        ht_store_relaxed(&word, 1u);
    ht_futex_wake(&word);
    crew_join(&crew);
    for (int i = 0; i < N_SLEEPERS; i++) {
        CHECK(sleepers[i].err == HT_OK || sleepers[i].err == HT_EINTR);
        woken += sleepers[i].err == HT_OK;
    }
    return woken;
}

/* Without a change of the word, only a real wake-up call returns HT_OK. */
static void one_call_wakes_all_sleepers(int change)
{
    int woken = 0;
    /* Repeated, because a sleeper may have been asleep too late or too early. */
    for (int attempt = 0; attempt < 20 && woken < N_SLEEPERS; attempt++)
        woken = wake_sleepers(change);
    CHECK(woken == N_SLEEPERS);
}

enum { N_NAPPERS = 4 };

typedef struct {
    ht_word32_t *word;
    ht_word32_t *done;
    int woken;
} napper_t;

static void *nap_until_woken(void *argument)
{
    napper_t *napper = argument;
    while (!napper->woken)
        (void)ht_futex_nap(napper->word, 0, 1000 * MS, UINT64_MAX, &napper->woken);
    ht_add_seq_cst(HT_PAIR_NONE, napper->done, 1u);
    return NULL;
}

static void as_many_are_woken_as_were_asked_for_and_each_is_told(void)
{
    ht_word32_t word = 0, done = 0;
    napper_t nappers[N_NAPPERS];
    crew_t crew;
    for (int i = 0; i < N_NAPPERS; i++)
        nappers[i] = (napper_t){&word, &done, 0};
    crew_start(&crew, N_NAPPERS, nap_until_woken, nappers, sizeof *nappers);
    uint32_t woken = 0;
    uint64_t deadline = ht_now_ns() + 20000 * MS;
    for (uint32_t n = 1; woken < N_NAPPERS && ht_now_ns() < deadline; n = 1 + woken % 2) {
        uint32_t more = ht_futex_wake_some(&word, n);
        CHECK(more <= n);
        woken += more;
        while (ht_load_seq_cst(HT_PAIR_NONE, &done) < woken && ht_now_ns() < deadline)
            delay_sleep_ns(100000);
        CHECK(ht_load_seq_cst(HT_PAIR_NONE, &done) == woken);
        delay_sleep_ns(1000000);
    }
    CHECK(woken == N_NAPPERS);
    CHECK(ht_futex_wake_some(&word, N_NAPPERS) == 0);
    crew_join(&crew);
}

static void naps_at_rest_grow_with_the_workers(void)
{
    CHECK(ht_futex_rest_ns(0) == HT_FUTEX_NAP_NS);
    CHECK(ht_futex_rest_ns(HT_FUTEX_RESTING) == HT_FUTEX_NAP_NS);
    CHECK(ht_futex_rest_ns(4 * HT_FUTEX_RESTING) == 4 * HT_FUTEX_NAP_NS);
    CHECK(ht_futex_rest_ns(1024) == HT_FUTEX_LONGEST_NS);
}

int main(void)
{
    time_goes_on();
    a_word_that_differs_returns_at_once();
    a_deadline_in_the_past_times_out_without_a_nap();
    a_near_deadline_ends_the_wait_in_time();
    a_nap_ends_a_wait_that_nobody_wakes();
    a_signal_ends_a_wait();
    one_call_wakes_all_sleepers(0);
    one_call_wakes_all_sleepers(1);
    as_many_are_woken_as_were_asked_for_and_each_is_told();
    naps_at_rest_grow_with_the_workers();
    FINISH();
}
