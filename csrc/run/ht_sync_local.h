/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_local: the part of a run of the round that replicas have, for ht_sync_work.c,
 * ht_sync_merge.c and ht_sync_local.c only.
 *
 * Layer L8.
 */
#ifndef HT_SYNC_LOCAL_H
#define HT_SYNC_LOCAL_H

#include "run/ht_sync_parts.h"

/* Makes the steps of a replica, on the rows of the task in hand.  Returns the sum of their losses,
 * each before its step; notes the largest |gradient|, and whether all are finite, in the slot. */
double ht_sync_train_replica(ht_sync_t *sync, worker_t *me);

/* Sets the sum of a local step to 0, after a worker died within one. */
void ht_sync_wipe_local(ht_sync_t *sync, worker_t *me);

/* Adds what the replica has changed to the worker's sums and tally. */
void ht_sync_add_changes(ht_sync_t *sync, worker_t *me);

/* Merges the replicas' changes of a block into the worker's redo slot. */
void ht_sync_merge_changes(ht_sync_t *sync, worker_t *me, int64_t first, int64_t last,
                           float average_share);

/* Sets the bounds of the changes of the next step.  Returns whether a change that counts is beyond
 * the bound of this one: the step is then refused. */
int ht_sync_judge_changes(ht_sync_t *sync, const worker_t *me, state_t *next);

#endif
