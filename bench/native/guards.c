/* SPDX-License-Identifier: BSD-3-Clause
 * Guards: are two cores near each other, and are they really two?
 *
 * Compiled by harness.py at run time, -O3 -march=native; needs Linux and
 * compiler vectors (gcc, clang). Each function starts two threads, pins each to
 * one core, and returns when both have ended; the caller's affinity stays as it
 * is. A negative result means that a thread could not be started or pinned.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

typedef float lanes_t __attribute__((vector_size(32)));
enum { CHAINS = 12 };

typedef struct {
    int core, turn, failed;
    long steps;
    double seconds;
} party_t;

static _Alignas(64) atomic_long ball;
static _Alignas(64) atomic_int ready, wanted;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Pin, then wait until every party of this measurement has come as far. */
static void enter(party_t *p)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(p->core, &set);
    p->failed = sched_setaffinity(0, sizeof set, &set);
    atomic_fetch_add(&ready, 1);
    while (atomic_load(&ready) < atomic_load(&wanted)) {
    }
}

static void *play(void *arg)
{
    party_t *p = arg;
    enter(p);
    double started = now();
    for (long i = 0; i < p->steps && !p->failed; i++) {
        long seen;
        while ((seen = atomic_load_explicit(&ball, memory_order_acquire)) != 2 * i + p->turn) {
            if (seen < 0) {
                return 0;
            }
        }
        atomic_store_explicit(&ball, 2 * i + p->turn + 1, memory_order_release);
    }
    if (p->failed) {
        atomic_store(&ball, -1); /* the other one must not wait for ever */
    }
    p->seconds = now() - started;
    return 0;
}

static void *multiply(void *arg)
{
    party_t *p = arg;
    lanes_t x[CHAINS], m, b;
    for (int k = 0; k < 8; k++) {
        m[k] = 0.999f;
        b[k] = 0.001f;
    }
    for (int i = 0; i < CHAINS; i++) {
        x[i] = m + (float)i;
    }
    enter(p);
    double started = now();
    for (long step = 0; step < p->steps; step++) {
        for (int i = 0; i < CHAINS; i++) {
            x[i] = x[i] * m + b;
        }
    }
    p->seconds = now() - started;
    volatile float sum = 0; /* so that the loop is not removed */
    for (int i = 0; i < CHAINS; i++) {
        sum += x[i][0];
    }
    return 0;
}

/* Run 1 or 2 parties to their end. Result: 0, or -1. */
static int run(void *(*body)(void *), party_t *parties, int n)
{
    pthread_t threads[2];
    atomic_store(&ball, 0);
    atomic_store(&ready, 0);
    atomic_store(&wanted, n);
    int started = 0;
    while (started < n && !pthread_create(&threads[started], 0, body, &parties[started])) {
        started++;
    }
    if (started < n) {
        atomic_store(&wanted, started);
        atomic_store(&ball, -1);
    }
    int failed = started < n;
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], 0);
        failed |= parties[i].failed;
    }
    return failed ? -1 : 0;
}

/* Nanoseconds for a cache line to go one way between core a and core b; the
 * shortest of three times. */
double ping_pong_ns(int a, int b, long rounds)
{
    double seconds = 1e9;
    for (int k = 0; k < 3; k++) {
        party_t parties[2] = {{.core = a, .turn = 0, .steps = rounds},
                              {.core = b, .turn = 1, .steps = rounds}};
        if (run(play, parties, 2)) {
            return -1;
        }
        seconds = least(seconds, parties[0].seconds);
    }
    return seconds / (2e-9 * (double)rounds);
}

/* Multiply-adds a second of both cores at once, over those of core a alone; the
 * shortest of three times each. */
double two_over_one(int a, int b, long steps)
{
    double alone = 1e9, both[2] = {1e9, 1e9};
    for (int k = 0; k < 3; k++) {
        party_t one = {.core = a, .steps = steps};
        party_t two[2] = {{.core = a, .steps = steps}, {.core = b, .steps = steps}};
        if (run(multiply, &one, 1) || run(multiply, two, 2)) {
            return -1;
        }
        alone = least(alone, one.seconds);
        both[0] = least(both[0], two[0].seconds);
        both[1] = least(both[1], two[1].seconds);
    }
    return alone / both[0] + alone / both[1];
}
