/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A test of a delay or a death needs its worker at one place of the code, not somewhere near it:
 * it arms the point, waits until the worker is held there, and does the rest.  `fired` proves that
 * it happened.  Points are in the shipped build, at the price of a relaxed load each.
 *
 * All accesses are relaxed, on purpose: a point that ordered memory would hide a missing order
 * from ThreadSanitizer.  The compare-and-swap decides which of several workers is held, and the
 * turn in the word tells two holds apart, so that a worker that wakes up late, when the next one
 * stands there, goes on.  The wait is made of naps, so a lost wake-up delays and does not hang.
 *
 * A worker that is killed while it is held leaves the point held until ht_point_release.  Tests:
 * tests/c/test_point.c.
 */
#include "share/ht_point.h"

#include "base/ht_futex.h"

/* armed[point] while a worker is held there: this bit and the turn, the number of the hold. */
#define HELD 0x80000000u

_Static_assert((HT_ANY_WORKER & HELD) == 0, "armed for any worker is not held");

void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker)
{
    /* relaxed: a request without data. */
    ht_store_relaxed(&points->armed[point], worker == HT_ANY_WORKER ? worker : worker + 1);
}

void ht_point_release(ht_points_t *points, ht_point_t point)
{
    /* relaxed: a request without data. */
    ht_store_relaxed(&points->armed[point], 0u);
    ht_futex_wake(&points->armed[point]);
}

int ht_point_is_held(ht_points_t *points, ht_point_t point)
{
    /* relaxed: a test asks again. */
    return (ht_load_relaxed(&points->armed[point]) & HELD) != 0;
}

uint32_t ht_point_fired(ht_points_t *points, ht_point_t point)
{
    /* relaxed: a statistic. */
    return ht_load_relaxed(&points->fired[point]);
}

void ht_point_hold(ht_points_t *points, ht_point_t point, uint32_t worker)
{
    ht_word32_t *armed = &points->armed[point];
    /* relaxed: a request without data. */
    uint32_t seen = ht_load_relaxed(armed);
    if (seen != worker + 1 && seen != HT_ANY_WORKER)
        return;
    uint32_t turn = HELD | (ht_point_fired(points, point) + 1);
    if (!ht_cas_acquire(HT_PAIR_NONE, armed, &seen, turn))
        return; /* another worker is held */
    /* relaxed: a statistic. */
    ht_add_relaxed(&points->fired[point], 1u);
    while (ht_load_relaxed(armed) == turn)
        (void)ht_futex_wait(armed, turn, UINT64_MAX);
}
