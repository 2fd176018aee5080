/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_snapshot: what a dead worker of a recorded stream has left in its place.
 *
 * Layer L10.  The supervisor of the recorded stream takes snapshots; a replay (ht_replay.h)
 * restores them.
 */
#ifndef HT_SNAPSHOT_H
#define HT_SNAPSHOT_H

#include "run/ht_worker.h"

/* Returns the bytes of a snapshot of a worker's place. */
size_t ht_snapshot_nbytes(const ht_stream_t *stream);

/* Copies the place of a worker that was declared dead, before the next one of the place begins. */
void ht_snapshot_take(ht_stream_t *stream, uint32_t worker, unsigned char *snapshot);

/* Makes a place that of the dead worker.  Sets its rows_done, which never decrease, and the sum of
 * the losses of the rows in its open chunk.  HT_EINVAL: no worker has left this. */
ht_err_t ht_snapshot_restore(ht_stream_t *stream, uint32_t worker, const unsigned char *snapshot,
                             uint64_t *rows_done, double *left_loss);

#endif
