/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_attached: a worker of a run that another process has opened.
 *
 * Layer L10, the top.  The segment says of which kind the run is.  One thread makes all calls.
 * Tests: tests/c/test_attached.c.
 */
#ifndef HT_ATTACHED_H
#define HT_ATTACHED_H

#include "run/ht_worker.h"

/* A handle on a run of either kind; of the two, one is not NULL. */
typedef struct {
    ht_stream_t *stream;
    ht_sync_t *sync;
} ht_attached_t;

/* Makes a handle on the run in a segment, as mapped by ht_segment_attach.  Conditions and errors
 * are those of ht_stream_attach. */
ht_err_t ht_attached_open(ht_segment_t *segment, const ht_model_t *model, const ht_rows_t *rows,
                          ht_attached_t *attached);

/* Is worker number `worker`, below the run's number of workers, until the supervisor asks the
 * workers to leave. */
void ht_attached_work(const ht_attached_t *attached, uint32_t worker);

/* Frees the handle. */
void ht_attached_close(ht_attached_t *attached);

#endif
