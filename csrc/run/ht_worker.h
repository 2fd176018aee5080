/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_worker: the two loops: the stream (Hogwild, Hybrid and what lies between)
 * and the round (Sync).
 *
 * Layer L9, the top.  The supervisor opens a stream, loads parameters, starts
 * epochs through the roster and stores parameters while all workers rest.
 * Each worker calls ht_worker_stream once per epoch, all at the same time.
 * In a round it allows batches instead, and workers may come, stay away for
 * any time and leave as they like.
 *
 * The life of a chunk: claim it from the feed; for each group of rows: dot
 * products on the worker's view, losses, steps; every `every` rows exchange the
 * replica of the hot coordinates; count the rows.
 *
 * The life of a step of the round: every worker claims tasks, computes them,
 * commits and adds until none is left, and computes again what takes another
 * too long; whoever sees the work complete opens the merge; blocks are merged
 * in the same way; whoever sees the last one done opens the next step.
 */
#ifndef HT_WORKER_H
#define HT_WORKER_H

#include "run/ht_stream.h"
#include "run/ht_sync.h"

_Static_assert(HT_MAX_WORKERS == HT_ROUND_WORKERS, "as many workers in both loops");

/* Worker number `worker` trains on chunks of the roster's epoch until none is
 * left, exchanges all hot blocks, and fills in its roster entry (the outcome
 * too).  The caller then calls ht_roster_rest. */
void ht_worker_stream(ht_stream_t *stream, uint32_t worker);

/* Worker number `worker` takes part in the steps that are allowed until
 * ht_sync_leave. */
void ht_worker_round(ht_sync_t *sync, uint32_t worker);

#endif
