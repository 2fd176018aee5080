/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_worker_parts: a worker's state in the stream, for ht_worker.c, ht_worker_merge.c,
 * ht_snapshot.c and ht_replay.c only.
 *
 * Layer L9.
 */
#ifndef HT_WORKER_PARTS_H
#define HT_WORKER_PARTS_H

#include "run/ht_stream_parts.h"

/* A worker's state during one epoch. */
typedef struct {
    ht_stream_t *stream;
    ht_worker_t *self;
    ht_replica_t *replica; /* NULL: nothing is hot */
    const ht_view_t *view;
    /* Measures the curvature of the loss, for merges; NULL: it is not measured. */
    ht_second_fn_t *second;
    uint32_t number;
    uint64_t rows_done;    /* of all epochs */
    uint64_t began_at;     /* rows_done when this worker began the epoch */
    uint64_t exchanged_at; /* rows_done at the last pass of exchanges */
    uint64_t exchange_ns;  /* of this epoch */
    uint64_t gate_ns;      /* likewise, waiting at the gate */
    uint64_t epoch_ns;     /* when the epoch began */
    uint64_t sample_at;    /* rows_done at which the next staleness is sampled */
    float curved;          /* sum of the second derivatives of the rows since the last pass */
    float curvature;       /* of the loss, in the rows before the last pass */
    float folded_lr;       /* the rate of the penalty that hot entries hold folded; NaN: none yet */
    int row;               /* of the chunk in hand: those before it are finished; 0: no chunk */
    int n_rows;            /* of the chunk in hand */
    int is_watched;        /* whether a point within its groups is armed */
    ht_step_t step;
    scratch_t scratch;
    const ht_rows_t *rows; /* the stream's, or those of `fetched` */
    ht_fetched_t fetched;  /* the group in hand of mapped rows */
} run_t;

/* Begins an epoch, or goes on with it, as a worker. */
void ht_worker_begin(run_t *run, ht_stream_t *stream, uint32_t worker);

/* Begins a chunk, at row `first` of it: a dead worker of this place may have begun it. */
void ht_worker_begin_chunk(run_t *run, uint64_t position, int first);

/* Trains the next n <= rows_in_flight rows of the chunk in hand.  HT_ECHANGED: no step was made. */
ht_err_t ht_worker_train_group(run_t *run, uint64_t position, int n);

/* Returns the sum of the losses of the first n_rows of a worker's chunk in hand, which are
 * finished. */
double ht_worker_loss(const ht_stream_t *stream, uint32_t worker, int n_rows);

/* Ends the chunk in hand.  HT_ENONFINITE: its loss is not finite. */
ht_err_t ht_worker_end_chunk(run_t *run, uint64_t position);

/* Waits until the log of a recorded run has room, unless the worker is called to leave. */
void ht_worker_await_room(const run_t *run);

/* Takes the curvature of the loss from the rows since the last pass. */
void ht_worker_take_curvature(run_t *run);

/* Publishes the rate at which coordinates of curvature 1 relax; 0 where changes add up. */
void ht_worker_publish_rate(run_t *run);

/* Makes the view that a worker begins with a fresh one: takes over the shared values.  Where a
 * clock bounds how old views are, what a dead worker of this place has left is handed in before. */
void ht_worker_take_view(run_t *run);

/* Exchanges the hot blocks, `every` rows after the last time.  Waits at the gate where there is a
 * clock. */
void ht_worker_exchange(run_t *run);

/* Exchanges what is left, at the end of the epoch, and rests from the clock. */
void ht_worker_exchange_rest(run_t *run);

#endif
