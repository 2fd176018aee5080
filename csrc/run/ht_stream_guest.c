/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Changes of nodes merge by the same function as those of workers, so that every optimizer has one
 * rule for both.  It takes the entries of a replica; here they are gathered a block at a time from
 * compact arrays.
 *
 * The shared values change while all replicas rest, and all that these had changed is handed in:
 * so a replica takes them over as if another worker had merged (ht_replica_refresh).  A team's
 * replica sees the change at its next exchange.
 *
 * Tests: tests/c/test_stream_guest.c.
 */
#include "run/ht_stream_guest.h"

#include <string.h>

#include "run/ht_stream_parts.h"

int64_t ht_stream_n_coordinates(const ht_stream_t *stream)
{
    return stream->n_coordinates;
}

/* ---- chunks --------------------------------------------------------------- */

void ht_stream_chunks(const ht_stream_t *stream, uint64_t first, uint64_t last, uint8_t *states)
{
    for (uint64_t c = first; c < last; c++)
        states[c - first] = (uint8_t)ht_claims_state(stream->claims, stream->feed, c);
}

void ht_stream_set_chunks(ht_stream_t *stream, uint64_t first, uint64_t last,
                          ht_chunk_state_t state)
{
    for (uint64_t c = first; c < last; c++)
        ht_claims_set(stream->claims, stream->feed, c, state);
}

void ht_stream_offer(ht_stream_t *stream, uint64_t first, uint64_t last)
{
    ht_feed_set_range(stream->feed, first, last);
}

/* ---- values ----------------------------------------------------------------- */

float ht_stream_pace(const ht_stream_t *stream)
{
    float pace = 0.0f;
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        float own = stream->roster->workers[w].pace;
        pace = own > pace ? own : pace;
    }
    return pace;
}

static int64_t users_row(const int64_t *order, int64_t r)
{
    return order == NULL || r == 0 ? r : 1 + order[r - 1];
}

void ht_stream_look(const ht_stream_t *stream, const int64_t *order, float *arrays, int64_t stride)
{
    const int64_t outputs = stream->model->n_outputs;
    for (int k = 0; k < stream->hot.arrays; k++)
        for (int64_t r = 0; r * outputs < stream->n_coordinates; r++) {
            float *to = arrays + k * stride + users_row(order, r) * outputs;
            for (int64_t o = 0; o < outputs; o++)
                to[o] = *value_at(stream, r * outputs + o, k);
        }
}

void ht_stream_put(ht_stream_t *stream, const int64_t *order, const float *arrays, int64_t stride,
                   uint64_t rows)
{
    const int64_t outputs = stream->model->n_outputs;
    ht_hot_t *hot = &stream->hot;
    for (int k = 0; k < hot->arrays; k++)
        for (int64_t r = 0; r * outputs < stream->n_coordinates; r++) {
            const float *from = arrays + k * stride + users_row(order, r) * outputs;
            for (int64_t o = 0; o < outputs; o++)
                *value_at(stream, r * outputs + o, k) = from[o];
        }
    for (int64_t b = 0; b < hot->n_blocks; b++)
        hot->blocks[b].rows += rows;
    for (uint32_t w = 0; hot->n_blocks > 0 && w < stream->config.n_workers; w++)
        for (int64_t b = 0; stream->places[w].replica.slot == NULL && b < hot->n_blocks; b++) {
            /* Whatever it has seen: values may differ although no row was merged into them. */
            stream->places[w].replica.rows_seen[b] = UINT64_MAX;
            (void)ht_replica_refresh(hot, &stream->places[w].replica, b); /* nobody holds it */
        }
}

/* ---- merges ----------------------------------------------------------------- */

static void gather(float *entries, const float *values, int64_t n, int entry_stride)
{
    for (int64_t i = 0; i < n; i++)
        entries[entry_stride * i] = values[i];
}

void ht_stream_merge(const ht_stream_t *stream, const ht_stream_merge_t *merge)
{
    enum { BLOCK = 128, MOST_STRIDE = 4 };
    const ht_stream_config_t *c = &stream->config;
    const int arrays = stream->hot.arrays, entry_stride = ht_optimizer_stride(c->optimizer, 0);
    const ht_merge_fn_t merge_block = ht_optimizer_merge(c->isa, c->optimizer, entry_stride);
    HT_ALIGNED float entries[BLOCK * MOST_STRIDE] = {0};
    HT_ALIGNED float curvature[BLOCK] = {0}, l1_factor[BLOCK] = {0};
    ht_step_t step = stream->hot.step;
    step.l1_sum = (float)((double)step.l1 * (double)merge->epoch_rows);
    step.l2_sum = (float)((double)step.l2 * (double)merge->epoch_rows);
    ht_merge_t block = {
        .array_stride = merge->stride,
        .replica = entries,
        .curvature = curvature,
        .weighing = HT_WEIGHTED,
        .rate = merge->curvature == NULL ? 0.0f : merge->pace,
        .rows = (float)merge->rows,
        .others = (float)merge->others,
        .step = &step,
        .l1_factor = l1_factor,
    };
    for (int k = 0; k < arrays; k++)
        block.kept[k] = ht_optimizer_kept(c->optimizer, k, &step, (double)merge->rows);
    for (int64_t j = merge->first; j < merge->last; j += BLOCK) {
        int64_t n = merge->last - j < BLOCK ? merge->last - j : BLOCK;
        for (int k = 0; k < arrays; k++)
            gather(entries + k, merge->own + k * merge->stride + j, n, entry_stride);
        if (merge->curvature != NULL)
            memcpy(curvature, merge->curvature + j, sizeof *curvature * (size_t)n);
        for (int64_t i = 0; i < n && ht_optimizer_is_dual(c->optimizer); i++) {
            int64_t row = (j + i) / stream->model->n_outputs;
            l1_factor[i] = row == 0 ? 0.0f : c->l1_factor == NULL ? 1.0f : c->l1_factor[row];
        }
        block.n = (n + HT_LANES - 1) / HT_LANES * HT_LANES;
        block.base = merge->base + j;
        block.shared = merge->shared + j;
        block.merged = merge->merged + j;
        merge_block(&block);
    }
}
