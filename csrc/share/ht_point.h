/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_point: named places in the core where a test, or a rehearsed fault, may hold a worker.
 *
 * Layer L3: may include L0 to L2.  Lives in the segment.  Any thread may arm,
 * release and look, and any worker may pass, at the same time.  Unarmed, a
 * point is one relaxed load.  Points are in the shipped build, so that the
 * tested code is the shipped code.
 *
 * A worker passes a point in a step: of the round, its step; of the stream, the number of the chunk
 * that it has in hand (ht_feed_step).  The supervisor passes no point.
 */
#ifndef HT_POINT_H
#define HT_POINT_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

typedef enum {
    HT_BEFORE_CLAIM = 0, /* of a task; this and those up to HT_BEFORE_WAKE: of the round */
    HT_AFTER_CLAIM,
    HT_IN_COMPUTING,
    HT_AFTER_COMMIT, /* of a task, before its result is added */
    HT_IN_ADDING,
    HT_AFTER_ADD, /* before it is counted */
    HT_IN_MERGING,
    HT_IN_JUDGING,
    HT_AFTER_BLOCK_COMMIT,
    HT_IN_COPYING,   /* a part of the block is copied */
    HT_HEIR_COPYING, /* likewise, by the heir of a dead worker */
    HT_AFTER_COPY,   /* before the block is done */
    HT_BEFORE_PHASE,
    HT_BEFORE_WAKE,
    HT_POSITION_TAKEN, /* from the feed, before the chunk's word; this and all that follow: of the
                        * stream */
    HT_CHUNK_CLAIMED,  /* before the worker's progress names the chunk */
    HT_CHUNK_BEGUN,    /* before its first row */
    HT_GROUP_STEPPED,  /* rows are trained, and the progress does not say so */
    HT_GROUP_FINISHED, /* the progress says so */
    HT_AT_GATE,        /* the merge is counted, and the gate was not looked at */
    HT_EXCHANGE_LOCKED,
    HT_EXCHANGE_COMMITTED,
    HT_IN_AVERAGING, /* the weight of an average is raised, and its mean is not */
    HT_POINT_COUNT
} ht_point_t;

#define HT_ANY_WORKER 0x7fffffffu

/* The words of all points; zeroed: none is armed.  Any thread writes armed and adds to bell, the
 * worker that is held adds to fired.
 *
 *   armed == 0            nobody is held, and nobody will be
 *   armed, low half       worker + 1 or ANY_WORKER: that worker's, or any worker's, next pass in a
 *                         step not before the one in the high half is held
 *   otherwise             a worker is held, see ht_point.c
 */
typedef struct {
    HT_ALIGNED ht_word64_t armed[HT_POINT_COUNT];
    HT_ALIGNED ht_word32_t fired[HT_POINT_COUNT]; /* how often a worker was held */
    ht_word32_t bell;                             /* raised by a release */
} ht_points_t;

_Static_assert(sizeof(ht_points_t) == 3 * HT_LINE, "the layout of the segment");

/* Arms a point: the next pass of the worker, or of HT_ANY_WORKER, in `step` or later is held. */
void ht_point_arm(ht_points_t *points, ht_point_t point, uint32_t worker, uint32_t step);

/* Disarms a point, and lets a worker that is held there go on. */
void ht_point_release(ht_points_t *points, ht_point_t point);

/* Disarms all points. */
void ht_point_release_all(ht_points_t *points);

/* Returns whether a worker is held at point now; then writes which one, and its step. */
int ht_point_held(ht_points_t *points, ht_point_t point, uint32_t *worker, uint32_t *step);

/* Returns whether a worker is held at point now. */
HT_INLINE int ht_point_is_held(ht_points_t *points, ht_point_t point)
{
    uint32_t worker, step;
    return ht_point_held(points, point, &worker, &step);
}

/* Returns how often a worker was held at point. */
uint32_t ht_point_fired(ht_points_t *points, ht_point_t point);

/* Holds the worker until ht_point_release, if the point is armed for it and its step. */
void ht_point_hold(ht_points_t *points, ht_point_t point, uint32_t worker, uint32_t step);

/* Returns whether a point is armed, or a worker is held there. */
HT_INLINE int ht_point_is_armed(ht_points_t *points, ht_point_t point)
{
    /* relaxed: a request without data. */
    return ht_load_relaxed(&points->armed[point]) != 0;
}

/* Passes a point as the worker: returns at once unless it is armed.  points may be NULL. */
HT_INLINE void ht_point_pass(ht_points_t *points, ht_point_t point, uint32_t worker, uint32_t step)
{
    if (points != NULL && ht_point_is_armed(points, point))
        ht_point_hold(points, point, worker, step);
}

#endif
