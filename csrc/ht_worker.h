/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_worker: the stream loop: Hogwild, Hybrid and what lies between.
 *
 * Layer L8, the top.  The supervisor opens a stream, loads parameters, starts
 * epochs through the roster and stores parameters while all workers rest.
 * Each worker calls ht_worker_stream once per epoch, all at the same time.
 *
 * The life of a chunk: claim it from the feed; for each group of rows: dot
 * products on the worker's view, losses, steps; every `every` rows exchange the
 * replica of the hot coordinates; count the rows.
 */
#ifndef HT_WORKER_H
#define HT_WORKER_H

#include "ht_stream.h"

/* Worker number `worker` trains on chunks of the roster's epoch until none is
 * left, exchanges all hot blocks, and fills in its roster entry (the outcome
 * too).  The caller then calls ht_roster_rest. */
void ht_worker_stream(ht_stream_t *stream, uint32_t worker);

#endif
