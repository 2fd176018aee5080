/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_batches: which rows the batches of an epoch hold, and how tasks share them.
 *
 * Layer L2.  Pure functions of (seed, epoch, batch, task): any thread, any time; every
 * worker, of any number of workers, finds the same rows.
 *
 * Rows are taken in strips of neighbours.  An epoch permutes the full strips; the
 * strip of the last rows, if it is shorter, comes last.  A batch is a number of
 * strips in that order.  Batches are counted from the start of the run.  A step may take several
 * batches of an epoch together, as one: `together`, which is 1 or more.
 */
#ifndef HT_BATCHES_H
#define HT_BATCHES_H

#include "base/ht_base.h"

/* Constant after init; private to its handle.
 *
 *   n_full == floor(n_rows / strip_rows)    n_strips == ceil(n_rows / strip_rows)
 *   steps_per_epoch == ceil(n_strips / batch_strips)
 */
typedef struct {
    uint64_t n_rows; /* >= 1 */
    uint64_t seed;
    uint32_t strip_rows;   /* >= 1 */
    uint32_t batch_strips; /* >= 1 */
    uint32_t n_shares;     /* tasks of a batch, equal shares of it; 0: each strip is a task */
    /* Set by ht_batches_init from the above: */
    uint64_t n_full; /* strips */
    uint64_t n_strips;
    uint64_t steps_per_epoch;
} ht_batches_t;

/* Sets the last three fields of a struct from the others. */
void ht_batches_init(ht_batches_t *batches);

/* Returns how many batches a step that begins with `batch` takes: `together`, or those that the
 * epoch has left. */
uint64_t ht_batches_taken(const ht_batches_t *batches, uint64_t batch, uint32_t together);

/* Returns the number of tasks of a step that begins with a batch. */
uint32_t ht_batches_tasks(const ht_batches_t *batches, uint64_t batch, uint32_t together);

/* Returns the number of rows of such a step. */
uint64_t ht_batches_rows(const ht_batches_t *batches, uint64_t batch, uint32_t together);

/* Returns the number of rows of all batches before this one. */
uint64_t ht_batches_rows_until(const ht_batches_t *batches, uint64_t batch);

/* Writes the row numbers of a task of such a step to ids; returns how many, at most strip_rows *
 * ceil(batch_strips * together / tasks). */
int ht_batches_task(const ht_batches_t *batches, uint64_t batch, uint32_t together, uint32_t task,
                    int64_t *ids);

#endif
