/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_stream_guest: what one node takes out of its stream for other nodes, and puts into it.
 *
 * Layer L8.  Each node trains chunks of its own, which are leased to it, on parameters of its own.
 * Whenever its workers rest, the guest copies the shared values, and adds what the other nodes have
 * changed meanwhile.  All calls are the supervisor's, while all workers rest.
 *
 * Values stand in compact arrays (w or z, then the optimizer's state), each of
 * ht_stream_n_coordinates values in an order that all nodes share: that of the user's features.
 */
#ifndef HT_STREAM_GUEST_H
#define HT_STREAM_GUEST_H

#include "run/ht_stream.h"
#include "share/ht_claims.h"

/* Returns the coordinates of the run. */
int64_t ht_stream_n_coordinates(const ht_stream_t *stream);

/* Writes what the chunks first .. last-1 of the open epoch are, each an ht_chunk_state_t. */
void ht_stream_chunks(const ht_stream_t *stream, uint64_t first, uint64_t last, uint8_t *states);

/* Sets these chunks, none of which a worker has taken: those that are to be trained here to
 * HT_CHUNK_OPEN. */
void ht_stream_set_chunks(ht_stream_t *stream, uint64_t first, uint64_t last,
                          ht_chunk_state_t state);

/* Lets the workers look for open chunks among first .. last-1; ht_stream_resume wakes them. */
void ht_stream_offer(ht_stream_t *stream, uint64_t first, uint64_t last);

/* Returns the largest pace of the workers: how fast coordinates of curvature 1 relax in a row, as
 * ht_worker_t's rate, also where changes add up. */
float ht_stream_pace(const ht_stream_t *stream);

/* Copies the shared values to the arrays, each at distance `stride` from the one before.  order[k]
 * is the user's number of the run's feature k; NULL: all have the same. */
void ht_stream_look(const ht_stream_t *stream, const int64_t *order, float *arrays, int64_t stride);

/* Sets the shared values, into which other nodes have merged `rows` rows, and lets replicas that
 * are not a team's begin with them. */
void ht_stream_put(ht_stream_t *stream, const int64_t *order, const float *arrays, int64_t stride,
                   uint64_t rows);

/* A merge of arrays of two sides that had the values of `base`: compact arrays as above, of which
 * it merges the coordinates first .. last-1.  Each array has room for whole HT_LANES. */
typedef struct {
    int64_t first, last;
    int64_t stride;
    const float *own, *base, *shared;
    const float *curvature; /* one for each coordinate; NULL: changes add up */
    float *merged;          /* may be `own` or `shared` */
    float pace;             /* of the own rows; 0: changes add up */
    uint64_t rows, others;  /* trained on either side */
    uint64_t epoch_rows;    /* of all nodes so far: a dual optimizer's penalties are of these */
} ht_stream_merge_t;

/* Merges the own changes into the shared values as a worker's (ht_merge_fn_t): weighted, or in
 * full. */
void ht_stream_merge(const ht_stream_t *stream, const ht_stream_merge_t *merge);

#endif
