/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_stream_parts: the parts of a stream, for ht_stream.c, ht_stream_check.c, ht_stream_guest.c,
 * ht_stream_open.c, ht_worker.c, ht_worker_merge.c and ht_worker_parts.h only.
 *
 * Layer L8.
 */
#ifndef HT_STREAM_PARTS_H
#define HT_STREAM_PARTS_H

#include "run/ht_stream.h"
#include "share/ht_claims.h"
#include "share/ht_layout.h"
#include "share/ht_rates.h"

/* The parts of a stream's segment, in this order. */
enum {
    ROSTER,
    FEED,
    CLAIMS,
    CLOCK, /* where changes add up */
    RATES,
    SHARES,       /* c of each row of parameters; when entries hold it */
    L1_FACTOR,    /* c1 of each row of parameters; when it is not 1 */
    COLD,         /* entries of all coordinates; when not all are hot */
    COLD_AVERAGE, /* of all coordinates */
    BLOCKS,       /* this and the next two: of the hot coordinates */
    VALUES,
    CURVATURE,
    HOT_L1_FACTOR, /* c1 of the hot coordinates, for merges of a dual optimizer */
    ENTRIES,       /* this and the next three: of each replica */
    BASE,
    ROWS_AT,
    ROWS_SEEN,
    TEAM_OF, /* of all workers; where there are teams */
    REDO,    /* this and all that follow: of each worker */
    REDO_ROWS,
    TEAM_SLOT, /* where there are teams */
    AVERAGE,
    CHUNK,
    OUTPUTS,
    GRADIENT,
    FETCHED, /* when the rows are those of a mapped file */
    LOG,     /* when the run is recorded */
    N_PARTS
};
_Static_assert(N_PARTS <= HT_LAYOUT_PARTS, "the layout has room");

/* The iterates in a weighted mean (ht_average.h). */
typedef struct {
    uint64_t last; /* number of the iterate taken last, from 1 at the start of the run; 0: none */
    double weight; /* of all iterates taken */
} mean_t;

/* The running means of a worker's iterates.  Written by that worker alone; read by the supervisor
 * at rest.
 *
 *   hot[j] == mean of coordinate j of the worker's replica
 *
 * The means of the worker's cold coordinates (cold_part) stand in COLD_AVERAGE.
 */
typedef struct {
    HT_ALIGNED mean_t of_hot;
    mean_t of_cold;
    HT_ALIGNED float hot[]; /* n_hot coordinates */
} average_t;

_Static_assert(sizeof(average_t) == HT_LINE, "the layout of the segment");

/* A worker's scratch for the chunk in hand; after its death the next worker of its place goes on
 * with it. */
typedef struct {
    int64_t ids[HT_CHUNK_ROWS];
    float z[HT_CHUNK_ROWS], y[HT_CHUNK_ROWS], weight[HT_CHUNK_ROWS];
    double loss; /* of the rows so far, where the model does not sum the losses of a chunk */
} chunk_t;

_Static_assert(sizeof(chunk_t) == 20 * HT_CHUNK_ROWS + 8, "the layout of the segment");

/* A worker's scratch for a group of its rows. */
typedef struct {
    chunk_t *chunk;
    float *z; /* HT_GROUP_ROWS * outputs */
    float *gradient;
    void *fetched; /* memory for a group of mapped rows; NULL: they are not mapped */
} scratch_t;

/* The memory of a worker's place. */
typedef struct {
    ht_replica_t replica; /* unused when nothing is hot */
    ht_view_t view;
    scratch_t scratch;
    average_t *average; /* NULL: the run takes no average */
} place_t;

struct ht_stream {
    /* As it was opened, except for its arrays and its model: rows are the caller's, inverse_share
     * and l1_factor are in the segment, and the other arrays and the model are NULL, since the run
     * has copies. */
    ht_stream_config_t config;
    ht_layout_t layout;
    ht_segment_t *segment;
    int is_creator;     /* else it is attached */
    int32_t segment_fd; /* of a creator; -1: the segment is not shared */
    ht_model_t *model;  /* for steps */
    ht_hot_t hot;
    place_t *places;     /* n_workers */
    float *cold;         /* entries of all coordinates; NULL when all are hot */
    float *cold_average; /* each worker writes the means of its own cold coordinates */
    ht_roster_t *roster;
    ht_feed_t *feed;
    ht_claims_t *claims;
    ht_clock_t *clock; /* NULL: no gate */
    ht_rates_t *rates;
    int64_t n_coordinates;
    int64_t n_hot;       /* coordinates */
    uint32_t most_every; /* rows; at it, a worker makes HT_LEAST_EXCHANGES exchanges an epoch */
};

/* Writes the range first .. last-1 of the cold coordinates whose average the worker keeps. */
HT_INLINE void cold_part(const ht_stream_t *stream, uint32_t worker, int64_t *first, int64_t *last)
{
    int64_t n = stream->n_coordinates - stream->n_hot, of = stream->config.n_workers;
    *first = stream->n_hot + n * worker / of;
    *last = stream->n_hot + n * (worker + 1) / of;
}

/* Returns where an array of the optimizer has its value of a coordinate. */
HT_INLINE float *value_at(const ht_stream_t *stream, int64_t coordinate, int array)
{
    if (coordinate >= stream->n_hot)
        return stream->cold + stream->model->stride * coordinate + array;
    int64_t block = coordinate / HT_BLOCK_COORDINATES;
    return stream->hot.values + (block * stream->hot.arrays + array) * HT_BLOCK_COORDINATES +
           coordinate % HT_BLOCK_COORDINATES;
}

/* Returns whether the settings go together. */
int ht_stream_is_valid(const ht_stream_config_t *config);

/* Take the iterate after `chunks` chunks of the open epoch into the averages of the worker's
 * replica, and of its own cold coordinates, if one is due.  The worker's. */
void ht_stream_average_hot(ht_stream_t *stream, uint32_t worker, uint64_t chunks);
void ht_stream_average_cold(ht_stream_t *stream, uint32_t worker, uint64_t chunks);

#endif
