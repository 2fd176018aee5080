/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_stream_parts: the parts of a stream, for ht_stream.c and ht_worker.c only.
 *
 * Layer L8.
 */
#ifndef HT_STREAM_PARTS_H
#define HT_STREAM_PARTS_H

#include "run/ht_stream.h"
#include "share/ht_rates.h"
#include "share/ht_segment.h"

/* The running mean of a worker's iterates; its own, read at rest, and changed so seldom
 * that it need not be alone on its line. */
typedef struct {
    float *hot; /* n_hot coordinates */
    uint32_t count;
    uint32_t last; /* the number, from the start, of the one averaged last */
} average_t;

/* A worker's scratch for the chunk in hand; nobody else reads it. */
typedef struct {
    int64_t ids[HT_CHUNK_ROWS];
    float z[HT_CHUNK_ROWS], y[HT_CHUNK_ROWS], weight[HT_CHUNK_ROWS];
} chunk_t;

/* A worker's scratch for a group of its rows. */
typedef struct {
    chunk_t *chunk;
    float *z; /* HT_GROUP_ROWS * outputs */
    float *gradient;
    void *fetched; /* memory for a group of mapped rows; NULL: they are not mapped */
} scratch_t;

struct ht_stream {
    ht_stream_config_t config;
    ht_linear_t linear;
    ht_hot_t hot;
    ht_replica_t *replicas; /* n_workers; NULL when nothing is hot */
    ht_view_t *views;       /* n_workers */
    scratch_t *scratch;     /* n_workers */
    float *cold;            /* entries of all coordinates; NULL when all are hot */
    average_t *averages;    /* n_workers */
    float *cold_average;    /* each worker means a part of the cold coordinates */
    ht_roster_t *roster;
    ht_feed_t *feed;
    ht_rates_t *rates;
    ht_segment_t *segment;
    int64_t n_coordinates;
    int64_t n_hot;       /* coordinates */
    uint32_t most_every; /* HT_LEAST_EXCHANGES exchanges a worker and epoch */
};

/* The cold coordinates of whose average a worker takes care: first .. last-1. */
HT_INLINE void cold_part(const ht_stream_t *stream, uint32_t worker, int64_t *first, int64_t *last)
{
    int64_t n = stream->n_coordinates - stream->n_hot, of = stream->config.n_workers;
    *first = stream->n_hot + n * worker / of;
    *last = stream->n_hot + n * (worker + 1) / of;
}

#endif
