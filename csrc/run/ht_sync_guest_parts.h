/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_guest_parts: a node's share of the tasks, and what a guest leaves for the merge of a
 * step, for ht_sync.c, ht_sync_guest.c, ht_sync_merge.c, ht_sync_open.c and ht_sync_work.c only.
 *
 * Layer L8.
 */
#ifndef HT_SYNC_GUEST_PARTS_H
#define HT_SYNC_GUEST_PARTS_H

#include "run/ht_sync_guest.h"
#include "run/ht_sync_parts.h"

/* What becomes of a step: its sums are merged; it counts for nothing; or it was merged
 * elsewhere, and the state after it is here. */
typedef enum { HT_MERGES = 0, HT_REPEATS, HT_REPLACES } ht_sync_verdict_t;

/* Written by the guest in a step's exchange.  Relaxed: handed over by the phase, as is what the
 * guest has put into its sums. */
struct ht_sync_guest {
    tally_t total;                  /* of all nodes */
    control_t state;                /* that replaces this node's */
    HT_ALIGNED ht_word64_t verdict; /* ht_sync_verdict_t */
    ht_word64_t share;              /* of this node in the next step */
};

_Static_assert(sizeof(struct ht_sync_guest) == 3 * HT_LINE, "the layout of the segment");

/* Returns the number of a step's tasks before a bound of a share: the nearest, so that equal
 * shares of few tasks are equal. */
HT_INLINE uint32_t tasks_before(const ht_sync_t *sync, const state_t *state, uint32_t bound)
{
    return (uint32_t)(((uint64_t)tasks_of(sync, state) * bound + HT_SHARES / 2) / HT_SHARES);
}

/* Returns the first of this node's tasks of a step, and their number. */
HT_INLINE uint32_t first_task(const ht_sync_t *sync, const state_t *state)
{
    return tasks_before(sync, state, state->share.first);
}

HT_INLINE uint32_t own_tasks(const ht_sync_t *sync, const state_t *state)
{
    return tasks_before(sync, state, state->share.last) - first_task(sync, state);
}

/* Returns the sums of a lane of the guest: of n coordinates, and up to a whole group. */
HT_INLINE int64_t guest_lane(int64_t n)
{
    return (n + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP * HT_SUMS_GROUP;
}

/* Tells the guest that a step may be in its exchange. */
void ht_sync_call_guest(ht_sync_t *sync);

/* Returns the total of the workers that count in self's step. */
ht_sync_total_t ht_sync_sum_tallies(ht_sync_t *sync, const ht_round_self_t *self);

/* Returns the total of all nodes. */
ht_sync_total_t ht_sync_read_total(const ht_sync_t *sync);

/* Returns whether nothing is left to merge in the step whose state is *next; sets there what the
 * guest says of the next step. */
int ht_sync_passes_over(const ht_sync_t *sync, state_t *next);

#endif
