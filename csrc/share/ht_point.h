/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_point: named places in the core where a test may hold a worker.
 *
 * Layer L3: may include L0 to L2.  Lives in the segment.  Any thread may arm,
 * release and look, and any worker may pass, at the same time.  Unarmed, a
 * point is one relaxed load.  Points are in the shipped build, so that the
 * tested code is the shipped code.
 */
#ifndef HT_POINT_H
#define HT_POINT_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

typedef enum {
    HT_BEFORE_CLAIM = 0,
    HT_IN_COMPUTING,
    HT_AFTER_COMMIT, /* of a task, before its result is added */
    HT_IN_ADDING,
    HT_AFTER_ADD, /* before it is counted */
    HT_IN_MERGING,
    HT_AFTER_BLOCK_COMMIT,
    HT_IN_COPYING,
    HT_AFTER_COPY, /* before the block is done */
    HT_BEFORE_PHASE,
    HT_BEFORE_WAKE,
    HT_EXCHANGE_LOCKED, /* the replica's exchange: under the lock */
    HT_EXCHANGE_COMMITTED,
    HT_POINT_COUNT
} ht_point_t;

#define HT_ANY_WORKER 0x7fffffffu

/* The words of all points; zeroed: none is armed.  Any thread writes armed, the worker that is held
 * adds to fired.
 *
 *   armed == 0                         nobody is held, and nobody will be
 *   armed == worker + 1 or ANY_WORKER  that worker's, or any worker's, next pass is held
 *   otherwise                          a worker is held, see ht_point.c
 */
typedef struct {
    HT_ALIGNED ht_word32_t armed[HT_POINT_COUNT];
    HT_ALIGNED ht_word32_t fired[HT_POINT_COUNT]; /* how often a worker was held */
} ht_points_t;

_Static_assert(sizeof(ht_points_t) == 2 * HT_LINE, "the layout of the segment");

/* Arms a point: the next pass of the worker, or of HT_ANY_WORKER, will be held. */
void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker);

/* Disarms a point, and lets a worker that is held there go on. */
void ht_point_release(ht_points_t *points, ht_point_t point);

/* Returns whether a worker is held at point now. */
int ht_point_is_held(ht_points_t *points, ht_point_t point);

/* Returns how often a worker was held at point. */
uint32_t ht_point_fired(ht_points_t *points, ht_point_t point);

/* Holds the worker until ht_point_release, if the point is armed for it. */
void ht_point_hold(ht_points_t *points, ht_point_t point, uint32_t worker);

/* Passes a point as the worker: returns at once unless it is armed.  points may be NULL. */
HT_INLINE void ht_point_pass(ht_points_t *points, ht_point_t point, uint32_t worker)
{
    /* relaxed: a request without data. */
    if (points != NULL && ht_load_relaxed(&points->armed[point]) != 0)
        ht_point_hold(points, point, worker);
}

#endif
