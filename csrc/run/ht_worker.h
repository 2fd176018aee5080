/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_worker: the two loops of a worker: the stream (Hogwild, Hybrid and the strategies between
 * them) and the round (Sync).
 *
 * Layer L9.  In a stream, the supervisor opens the stream, loads parameters, starts epochs
 * through the roster and stores parameters while all workers rest.  Each worker calls
 * ht_worker_stream once per epoch, all workers at the same time; ht_worker_epochs does.  In a
 * round, the supervisor allows batches, and workers may come, stay away for any time, and leave.
 *
 * The life of a chunk of the stream:
 *
 *   1. A worker claims the chunk from the feed.
 *   2. For each group of rows it computes outputs and gradients on its own view, makes the steps
 *      and counts the rows.
 *   3. After every `every` rows it exchanges its replica of the hot coordinates.
 *
 * The life of a step of the round:
 *
 *   1. Every worker claims tasks, computes them, commits the results and adds them, until no task
 *      is left.  When another worker takes too long, it computes that worker's task as well.
 *   2. A worker that sees the work complete opens the merge.
 *   3. Workers merge the blocks in the same way: they claim, compute, commit and copy each block.
 *   4. A worker that sees the last block done opens the next step.
 */
#ifndef HT_WORKER_H
#define HT_WORKER_H

#include "run/ht_stream.h"
#include "run/ht_sync.h"

_Static_assert(HT_MAX_WORKERS == HT_ROUND_WORKERS, "as many workers in both loops");

/* Trains on chunks of the open epoch as worker number `worker`, until no chunk is left or the epoch
 * is stopped.  Then exchanges all hot blocks and fills in the worker's roster entry, the outcome
 * included.  The caller then calls ht_roster_rest.  Waits only for hot blocks that other workers
 * are exchanging. */
void ht_worker_stream(ht_stream_t *stream, uint32_t worker);

/* Trains in each epoch that the supervisor opens, as worker number `worker`, until it asks the
 * workers to leave. */
void ht_worker_epochs(ht_stream_t *stream, uint32_t worker);

/* Takes part in all allowed steps as worker number `worker`, until ht_sync_leave.  Waits while no
 * step is allowed. */
void ht_worker_round(ht_sync_t *sync, uint32_t worker);

#endif
