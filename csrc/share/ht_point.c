/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A test of a delay or a death needs its worker at one place of the code, not somewhere near it:
 * it arms the point, waits until the worker is held there, and does the rest.  `fired` proves that
 * it happened.  Points are in the shipped build, at the price of a relaxed load each.
 *
 * All accesses are relaxed, on purpose: a point that ordered memory would hide a missing order
 * from ThreadSanitizer.  One word holds worker and step, so that a worker never sees the one
 * without the other.  The compare-and-swap decides which of several workers is held, and the turn
 * in the word tells two holds apart, so that a worker that wakes up late, when the next one
 * stands there, goes on.  The wait is made of naps, so a lost wake-up delays and does not hang.
 *
 * A worker that is killed while it is held leaves the point held until ht_point_release.  Tests:
 * tests/c/test_point.c.
 */
#include "share/ht_point.h"

#include "base/ht_futex.h"

/* armed[point] while a worker is held there: step 32, this bit, worker 10, and the turn, which is
 * the number of the hold, 21. */
#define HELD 0x80000000u
enum { WORKER_SHIFT = 21, WORKER_MASK = 0x3ff, TURN_MASK = 0x1fffff };

_Static_assert((HT_ANY_WORKER & HELD) == 0, "armed for any worker is not held");

void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker, uint32_t step)
{
    uint32_t who = worker == HT_ANY_WORKER ? worker : worker + 1;
    /* relaxed: a request without data. */
    ht_store_relaxed(&points->armed[point], (uint64_t)step << 32 | who);
}

void ht_point_release(ht_points_t *points, ht_point_t point)
{
    /* relaxed, both: a request without data. */
    ht_store_relaxed(&points->armed[point], UINT64_C(0));
    ht_add_relaxed(&points->bell, 1u);
    ht_futex_wake(&points->bell);
}

void ht_point_release_all(ht_points_t *points)
{
    for (ht_point_t p = 0; p < HT_POINT_COUNT; p++)
        ht_point_release(points, p);
}

int ht_point_held(ht_points_t *points, ht_point_t point, uint32_t *worker, uint32_t *step)
{
    /* relaxed: a test asks again. */
    uint64_t word = ht_load_relaxed(&points->armed[point]);
    *worker = (uint32_t)word >> WORKER_SHIFT & WORKER_MASK;
    *step = (uint32_t)(word >> 32);
    return (word & HELD) != 0;
}

uint32_t ht_point_fired(ht_points_t *points, ht_point_t point)
{
    /* relaxed: a statistic. */
    return ht_load_relaxed(&points->fired[point]);
}

void ht_point_hold(ht_points_t *points, ht_point_t point, uint32_t worker, uint32_t step)
{
    ht_word64_t *armed = &points->armed[point];
    /* relaxed: a request without data. */
    uint64_t seen = ht_load_relaxed(armed);
    uint32_t who = (uint32_t)seen;
    if ((who != worker + 1 && who != HT_ANY_WORKER) || step < (uint32_t)(seen >> 32))
        return;
    uint32_t turn = (ht_point_fired(points, point) + 1) & TURN_MASK;
    uint64_t mine = (uint64_t)step << 32 | HELD | worker << WORKER_SHIFT | turn;
    if (!ht_cas_acquire(HT_PAIR_NONE, armed, &seen, mine))
        return; /* another worker is held */
    /* relaxed: a statistic. */
    ht_add_relaxed(&points->fired[point], 1u);
    for (;;) {
        /* relaxed: before the look, and a nap ends what it misses. */
        uint32_t bell = ht_load_relaxed(&points->bell);
        if (ht_load_relaxed(armed) != mine)
            return;
        (void)ht_futex_wait(&points->bell, bell, UINT64_MAX);
    }
}
