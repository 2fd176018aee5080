/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot comes from a file.  Its counts are checked; its values are used in sums alone.
 */
#include "run/ht_snapshot.h"

#include <string.h>

#include "run/ht_worker_parts.h"

#define MOST_ROWS (UINT64_C(1) << 52) /* of a worker: sums over all workers do not overflow */

/* The head of a snapshot; the arrays of the place follow. */
typedef struct {
    uint64_t rows_done, progress, trained;
    double loss, chunk_loss;
    uint32_t repeated;
    float rate;
    uint64_t is_done; /* 1: the chunk of `progress` was done */
    ht_staleness_t merged;
    float z[HT_CHUNK_ROWS]; /* outputs of that chunk's rows: their losses are summed at its end */
} head_t;

/* The arrays of a place that a snapshot has. */
static const int saved_parts[] = {ENTRIES, BASE, ROWS_AT, ROWS_SEEN, AVERAGE};
enum { N_SAVED = sizeof saved_parts / sizeof *saved_parts };

static void *place_part(const ht_stream_t *stream, int k, uint32_t worker)
{
    return ht_layout_at(&stream->layout, stream->segment, saved_parts[k], worker);
}

static size_t part_nbytes(const ht_stream_t *stream, int k)
{
    return stream->layout.parts[saved_parts[k]].nbytes;
}

size_t ht_snapshot_nbytes(const ht_stream_t *stream)
{
    size_t nbytes = sizeof(head_t);
    for (int k = 0; k < N_SAVED; k++)
        nbytes += part_nbytes(stream, k);
    return nbytes;
}

/* Finds the position in a worker's progress; returns whether it is one of the open epoch. */
static int position_of(const ht_stream_t *stream, uint64_t progress, uint64_t *position)
{
    *position = progress >> 16 & UINT32_MAX;
    return stream->feed->epoch > 0 && *position < stream->feed->n_chunks &&
           progress >> 16 == ht_progress(stream->feed->epoch, *position, 0) >> 16;
}

void ht_snapshot_take(ht_stream_t *stream, uint32_t worker, unsigned char *snapshot)
{
    ht_worker_t *dead = &stream->roster->workers[worker];
    /* relaxed, all: of a dead worker. */
    head_t head = {
        .rows_done = ht_worker_rows(dead),
        .progress = ht_load_relaxed(&dead->progress),
        .trained = dead->trained,
        .loss = dead->loss,
        .chunk_loss = stream->places[worker].scratch.chunk->loss,
        .repeated = dead->repeated,
        .rate = ht_load_relaxed_f32(&dead->rate),
        .merged = dead->merged,
    };
    uint64_t position;
    head.is_done = position_of(stream, head.progress, &position) &&
                   ht_claims_is_done(stream->claims, stream->feed, position);
    memcpy(head.z, stream->places[worker].scratch.chunk->z, sizeof head.z);
    memcpy(snapshot, &head, sizeof head);
    snapshot += sizeof head;
    for (int k = 0; k < N_SAVED; k++) {
        if (part_nbytes(stream, k) > 0)
            memcpy(snapshot, place_part(stream, k, worker), part_nbytes(stream, k));
        snapshot += part_nbytes(stream, k);
    }
}

/* Finds the sum of the losses of the rows of a chunk that a dead worker has left open. */
static ht_err_t sum_left(ht_stream_t *stream, uint32_t worker, uint64_t progress, double *left_loss)
{
    uint64_t position;
    int n_rows = (int)(progress & 0xffff);
    if (!position_of(stream, progress, &position) || n_rows == 0)
        return HT_OK;
    if (n_rows > ht_feed_rows(stream->feed, position, stream->places[worker].scratch.chunk->ids))
        return HT_EINVAL;
    *left_loss = ht_worker_loss(stream, worker, n_rows);
    return HT_OK;
}

ht_err_t ht_snapshot_restore(ht_stream_t *stream, uint32_t worker, const unsigned char *snapshot,
                             uint64_t *rows_done, double *left_loss)
{
    ht_worker_t *self = &stream->roster->workers[worker];
    chunk_t *chunk = stream->places[worker].scratch.chunk;
    head_t head;
    memcpy(&head, snapshot, sizeof head);
    if (head.rows_done < *rows_done || head.rows_done > MOST_ROWS)
        return HT_EINVAL;
    snapshot += sizeof head;
    for (int k = 0; k < N_SAVED; k++) {
        if (part_nbytes(stream, k) > 0)
            memcpy(place_part(stream, k, worker), snapshot, part_nbytes(stream, k));
        snapshot += part_nbytes(stream, k);
    }
    chunk->loss = head.chunk_loss;
    memcpy(chunk->z, head.z, sizeof head.z);
    ht_store_relaxed(&self->rows_done, head.rows_done);
    ht_store_relaxed(&self->progress, head.progress);
    ht_store_relaxed_f32(&self->rate, head.rate);
    self->trained = head.trained;
    self->loss = head.loss;
    self->repeated = head.repeated;
    self->merged = head.merged;
    *rows_done = head.rows_done;
    *left_loss = 0.0;
    uint64_t position;
    if (!head.is_done)
        return sum_left(stream, worker, head.progress, left_loss);
    if (position_of(stream, head.progress, &position))
        ht_claims_done(stream->claims, stream->feed, position);
    return HT_OK;
}
