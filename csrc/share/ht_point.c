/* SPDX-License-Identifier: BSD-3-Clause */
#include "share/ht_point.h"

#include "base/ht_futex.h"

/* armed[point] while a worker stands there: this bit and the worker's turn, so
 * that a worker that wakes up late does not take the next one's hold for its own. */
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
