/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * delay: cheap random numbers and random delays of the tests.  The state is
 * the caller's and must not be 0.
 */
#ifndef DELAY_H
#define DELAY_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* Marsaglia's xorshift64; deliberately not ht_random, which is under test. */
static inline uint64_t delay_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Uniform in [0, 1). */
static inline double delay_uniform(uint64_t *state)
{
    return (double)(delay_random(state) >> 11) * 0x1p-53;
}

static inline void delay_sleep_ns(long ns)
{
    struct timespec duration = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&duration, NULL);
}

/* Mostly none, else a busy loop, a yield or a short sleep: each of them moves
 * the threads against each other on another scale of time. */
static inline void delay_any(uint64_t *state)
{
    uint64_t random = delay_random(state) >> 20;
    switch (random % 16) {
    case 0:
        delay_sleep_ns((long)(random / 16 % 20000));
        break;
    case 1:
    case 2:
        sched_yield();
        break;
    case 3:
    case 4:
    case 5:
        for (volatile uint64_t i = random / 16 % 500; i > 0; i--)
            ;
        break;
    default:
        break;
    }
}

#endif
