/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_local: what replicas have of a run of the round, and what their steps share with those
 * of a batch, for ht_sync_work.c, ht_sync_merge.c and ht_sync_local.c only.
 *
 * Layer L8.
 */
#ifndef HT_SYNC_LOCAL_H
#define HT_SYNC_LOCAL_H

#include "run/ht_sync_step.h"

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

/* Sets the bounds of the changes of the next step.  Returns whether a change of the total is beyond
 * the bound of this one: the step is then refused. */
int ht_sync_judge_changes(ht_sync_t *sync, const worker_t *me, const ht_sync_total_t *total,
                          state_t *next);

enum { HT_SYNC_HEADROOM = 4 }; /* a bound over the largest of the step before */

/* Returns the smallest power of two that is not below x. */
double ht_sync_power_above(double x);

/* Computes the outputs of n <= HT_GROUP_ROWS rows at w, and their gradients.  Returns the sum of
 * the rows' losses. */
double ht_sync_gradients(ht_sync_t *sync, worker_t *me, const float *w, const int64_t *ids, int n,
                         float *gradient);

/* Fetches n rows where their file is mapped; *ids are then the ids of the copies.  HT_ECHANGED. */
ht_err_t ht_sync_fetch(ht_sync_t *sync, worker_t *me, const int64_t **ids, int n);

/* Returns the largest |gradient|; infinite when one is infinite or NaN. */
double ht_sync_largest(const float *gradient, int64_t n);

/* Returns an optimizer's step on the mean of n_rows gradients; where to step is left open. */
ht_sums_merge_t ht_sync_step_on(const ht_sync_t *sync, uint64_t n_rows, ht_step_t step);

#endif
